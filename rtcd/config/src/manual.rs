//! Sample and handbook, made from the list of keys; a test keeps both files current.
use super::keys::{self, Key};
use super::print;
use std::fmt::Write;

/// The text of `rtcd.toml`: every key with its manual and its default.
pub fn sample() -> String {
    let mut out = String::from(
        "# Configuration of rtcd. Every value here is the default; delete what you do not change.\n\
         # A variable of the environment (named in brackets) overrides the file.\n\
         # Made from the source (rtcd/config/src/keys.rs); `rtcd --print-config` shows what is in effect.\n",
    );
    let mut section = "";
    for key in keys::ALL {
        if key.section() != section {
            section = key.section();
            let _ = writeln!(out, "\n[{section}]");
        }
        key.doc.iter().for_each(|line| {
            let _ = writeln!(out, "# {}", line.trim());
        });
        let _ = writeln!(out, "# [{}]", key.env);
        let _ = match default(key) {
            Some(value) => writeln!(out, "{} = {value}", key.name()),
            None => writeln!(out, "#{} = 4", key.name()),
        };
    }
    out
}

/// The text of `CONFIGURATION.md`: one table of everything.
pub fn handbook() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         `rtcd --config PATH` reads a TOML file (default `config/config.toml`, else `/rtcd/config/config.toml`, where the\n\
         setup guide mounts it into the container; neither there: defaults and a warning), lays the environment over it and\n\
         validates. All mistakes are reported at once, with exit status 78 and nothing opened\n\
         or written. `rtcd --check-config` does only that; `rtcd --print-config` shows each effective value with where it\n\
         came from. Dotted keys and tables are the same thing. Unknown keys are ignored with a warning.\n\n\
         Booleans in variables: `1 t T true TRUE True`, `0 f F false FALSE False`. `rtcd.toml` has the same texts as a file\n\
         to start from. This page is made from the source (`rtcd/config/src/keys.rs`).\n\n\
         | key | default | variable | meaning |\n|---|---|---|---|\n",
    );
    for key in keys::ALL {
        let default = default(key).map_or_else(|| "by CPUs".to_owned(), |value| format!("`{value}`"));
        let doc: Vec<_> = key.doc.iter().map(|line| line.trim()).collect();
        let _ = writeln!(out, "| `{}` | {default} | `{}` | {} |", key.path, key.env, doc.join(" "));
    }
    for (path, why) in keys::WITHOUT_EFFECT {
        let _ = writeln!(out, "| `{path}` | | | {why}. |");
    }
    out
}

fn default(key: &Key) -> Option<String> {
    print::value(key, &key.default.value())
}
