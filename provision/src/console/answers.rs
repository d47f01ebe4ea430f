//! What the keys do. Each is done beside the panel, in a time of its own; nothing of it is logged.
use super::keys::{TO_CONFIRM, WORD, Wish};
use super::look::{PATIENCE, journal};
use super::{bounded, daemon, text, units};
use std::path::Path;
use std::time::Duration;

/// Longer than anything that is asked may take, one after the other.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Somebody else's: it erases what the machine keeps and restarts it.
const RESET: &str = "rtcd-factory-reset.service";

/// The lines of an answer, harmless. `store`: rtcd's, as far as it is configured; `is_real`: this is the machine's own root.
pub fn answer(wish: Wish, store: Option<&Path>, is_real: bool) -> Vec<String> {
    match wish {
        Wish::Link => link(store),
        Wish::Errors => errors(is_real),
        Wish::Check => check(is_real),
        Wish::Reset => reset(is_real),
        Wish::AskReset | Wish::KeepAll | Wish::Panel => at_once(wish),
    }
}

/// The same for what needs nobody.
pub fn at_once(wish: Wish) -> Vec<String> {
    match wish {
        Wish::AskReset => vec![
            "Factory reset: everything that this machine keeps is erased (clients, certificates, what".into(),
            "its source has said, the journal), and it restarts as on its first day. Calls end.".into(),
            format!(
                "Type the word {WORD} and Enter within {} s. Any other key: nothing happens.",
                TO_CONFIRM.as_secs()
            ),
        ],
        Wish::KeepAll => vec!["Nothing has been erased.".into()],
        _ => vec![],
    }
}

fn link(store: Option<&Path>) -> Vec<String> {
    let Some(store) = store else { return vec!["rtcd is not configured yet: there is no link.".into()] };
    match daemon::link(store, PATIENCE) {
        Err(error) => vec![format!("There is no link: {}", text::harmless(&error.to_string()))],
        Ok(daemon::Link { path, urls, valid_seconds, uses }) => {
            let mut all = vec![
                "Whoever cannot connect opens this, on the device and in the network where calls fail:".to_owned(),
            ];
            all.extend(urls.iter().map(|url| format!("  {}", text::harmless(url))));
            all.push(format!("  https://YOUR-PROXY{}    where a proxy publishes the API", text::harmless(&path)));
            let minutes = valid_seconds.div_ceil(60);
            all.push(format!("It ends in {minutes} min, after {uses} tests, or when rtcd is restarted."));
            all
        }
    }
}

fn errors(is_real: bool) -> Vec<String> {
    let lines = ["--priority=err", "--lines=20", "--output=short-iso", "--no-hostname"];
    titled("The last errors since the start:", if is_real { journal(&lines) } else { vec![] })
}

fn check(is_real: bool) -> Vec<String> {
    let unit = format!("--unit={}", units::CHECK);
    let lines = ["--lines=30", "--output=cat", &unit];
    titled("The last health check:", if is_real { journal(&lines) } else { vec![] })
}

fn titled(title: &str, lines: Vec<String>) -> Vec<String> {
    let nothing = lines.is_empty().then(|| "  nothing".to_owned());
    [title.to_owned()].into_iter().chain(lines.into_iter().map(|line| format!("  {line}"))).chain(nothing).collect()
}

fn reset(is_real: bool) -> Vec<String> {
    if !is_real {
        return vec!["Nothing has been erased: this is not the machine's own root.".into()];
    }
    match bounded::output("systemctl", &["start", "--no-block", RESET], PATIENCE) {
        Ok(_) => vec!["Everything is being erased; the machine restarts.".into()],
        Err(error) if error.to_string().contains("not found") => {
            vec!["Nothing has been erased: this version has no factory reset.".into()]
        }
        Err(error) => vec![format!("Nothing has been erased: {}", text::harmless(&error.to_string()))],
    }
}
