//! Lays what was said over each other: defaults < image < metadata < user data. Every value keeps its origin.
mod machine;

use crate::cloud_config::usable_name;
use crate::cloud_config::variables::{self, Variable};
use crate::cloud_config::{File, FileKind, Placed, Wanted};
use crate::metadata::{Metadata, Sourced};
use crate::mistake::{Mark, Mistake};
use rtcd_config::keys::{self, Key};
use rtcd_config::source::{Layer, Merged, Origin, RawServer, Setting, Value};
use rtcd_config::{Problem, ReadFile, Warning};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::{fs, io};

/// Where the certificate and the key are written, as rtcd sees it; see [`crate::plan`].
pub const TLS_PREFIX: &str = "/run/rtcd/tls-";
/// Where an admin says that they are.
const TLS_DIRECTORY: &str = "/etc/rtcd/tls/";

/// Everything that has a say, the weakest first.
pub struct Layers<'a> {
    /// What the image ships.
    pub image: Layer,
    /// The source as people know it: `EC2`.
    pub source: &'a str,
    /// The metadata of the source.
    pub metadata: &'a Metadata,
    /// What the admin said.
    pub wanted: &'a Wanted,
    /// The machine's files; `None` where there is no machine yet, and a file is what `write_files` writes.
    pub root: Option<&'a Path>,
}

/// The outcome: valid, as rtcd's own validation has it.
pub struct Settled {
    /// Every value that somebody set, with its origin.
    pub settings: Layer,
    /// The name of the machine.
    pub hostname: Option<Sourced<String>>,
    /// What was read and has no effect.
    pub notices: Vec<Mistake>,
}

/// Merges and validates; reports all mistakes at once.
pub fn merge(layers: Layers<'_>) -> Result<Settled, Vec<Mistake>> {
    let mut merger = Merger { layers: &layers, places: BTreeMap::new(), mistakes: Vec::new(), notices: Vec::new() };
    let user_data = merger.user_data();
    let metadata = merger.metadata();
    let mut settings = appliance();
    settings.extend(layers.image.clone());
    settings.extend(metadata);
    settings.extend(user_data);
    merger.validate(&settings);
    merger.look_at_addresses(&settings);
    merger.look_at_paths(&settings);
    let hostname = match &layers.wanted.hostname {
        Some(name) => Some(Sourced::new(name.value.clone(), said_by_admin(name))),
        None => merger.metadata_name(),
    };
    let Merger { mistakes, notices, .. } = merger;
    if mistakes.is_empty() {
        return Ok(Settled { settings, hostname, notices });
    }
    Err(mistakes)
}

/// What holds on every appliance: its state survives a boot, and its log is the journal.
fn appliance() -> Layer {
    let value = |value| Setting { value, origin: Origin::Stated("appliance".into()) };
    Layer::from([
        (keys::DATA_SOURCE.path, value(Value::Text("/var/lib/rtcd/db".to_owned()))),
        (keys::ENABLE_FILE.path, value(Value::Bool(false))),
    ])
}

/// What the image ships in `usr/lib/rtcd/rtcd.toml.d`, in the order of the names, the last one winning.
pub fn read_image(root: &Path) -> Result<Layer, Vec<Mistake>> {
    const DIRECTORY: &str = "usr/lib/rtcd/rtcd.toml.d";
    let failed =
        |path: &Path, error: io::Error| vec![Mistake::whole(format!("{} cannot be read: {error}", path.display()), "")];
    let directory = root.join(DIRECTORY);
    let mut paths = match fs::read_dir(&directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
    .map_err(|error| failed(&directory, error))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let (mut layer, mut mistakes) = (Layer::new(), Vec::new());
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let shown = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
        let read = rtcd_config::file::read(&shown, &text);
        layer.extend(read.layer);
        mistakes.extend(read.problems.iter().map(|problem| Mistake::whole(problem.to_string(), "")));
    }
    if mistakes.is_empty() { Ok(layer) } else { Err(mistakes) }
}

struct Merger<'a> {
    layers: &'a Layers<'a>,
    /// Which place in the user data an origin stands for.
    places: BTreeMap<Origin, Placed<()>>,
    mistakes: Vec<Mistake>,
    notices: Vec<Mistake>,
}

impl Merger<'_> {
    /// The addresses that the source told.
    fn metadata(&mut self) -> Layer {
        let Metadata { public_ipv4, private_ipv4, .. } = self.layers.metadata;
        let (value, fields) = match (public_ipv4, private_ipv4) {
            (Some(public), Some(private)) if public.value != private.value => {
                (format!("{}/{}", public.value, private.value), format!("{} and {}", public.field, private.field))
            }
            (Some(public), _) => (public.value.to_string(), public.field.clone()),
            (None, _) => return Layer::new(),
        };
        let origin = Origin::Stated(format!("{}, {fields}", self.layers.source).into());
        Layer::from([(keys::ICE_HOST_OVERRIDE.path, Setting { value: Value::Text(value), origin })])
    }

    fn user_data(&mut self) -> Layer {
        let wanted = self.layers.wanted;
        let mut layer = Layer::new();
        for (path, placed) in &wanted.rtcd {
            let Some(key) = keys::find(path) else { continue };
            let value = self.expanded(key, placed);
            self.set(&mut layer, key, value, placed.place());
        }
        for file in wanted.files.iter().filter(|file| file.kind == FileKind::TurnSecret) {
            self.turn_secret(&mut layer, file);
        }
        layer
    }

    fn set(&mut self, layer: &mut Layer, key: &Key, value: Value, place: Placed<()>) {
        let origin = Origin::Stated(said_by_admin(&place).into());
        self.places.insert(origin.clone(), place);
        layer.insert(key.path, Setting { value, origin });
    }

    /// The value with its variables replaced and its files where they will be. A secret stays as it is.
    fn expanded(&mut self, key: &Key, placed: &Placed<Value>) -> Value {
        match &placed.value {
            Value::Text(text) if !key.secret => {
                let text = self.expand(key, text, placed);
                let is_file = [keys::TLS_CERT_FILE.path, keys::TLS_CERT_KEY.path].contains(&key.path);
                Value::Text(if is_file { as_written(&text) } else { text })
            }
            Value::Servers(servers) => {
                let expand = |raw: &RawServer| RawServer {
                    urls: raw.urls.iter().map(|url| self.expand(key, url, placed)).collect(),
                    ..raw.clone()
                };
                Value::Servers(servers.iter().map(expand).collect())
            }
            value => value.clone(),
        }
    }

    fn expand(&mut self, key: &Key, text: &str, placed: &Placed<Value>) -> String {
        let Layers { metadata, wanted, .. } = self.layers;
        let address = |said: &Option<Sourced<Ipv4Addr>>| said.as_ref().map(|said| said.value.to_string());
        let value = |variable| match variable {
            Variable::PublicIpv4 => address(&metadata.public_ipv4),
            Variable::PrivateIpv4 => address(&metadata.private_ipv4),
            Variable::PublicIpv6 => metadata.public_ipv6.as_ref().map(|said| said.value.to_string()),
            Variable::Hostname => match &wanted.hostname {
                Some(name) => Some(name.value.clone()),
                None => metadata.hostname.as_ref().and_then(|said| usable_name(&said.value)),
            },
        };
        variables::expand(text, &value).unwrap_or_else(|what| {
            self.mistakes.push(placed.mistake(format!("rtcd.{}", key.path), what, ""));
            text.to_owned()
        })
    }

    /// coturn's secret in a file of its own is the same as in its key.
    fn turn_secret(&mut self, layer: &mut Layer, file: &File) {
        let key = &keys::TURN_SECRET;
        let mut fail =
            |what: &str, hint: &str| self.mistakes.push(file.path.mistake(file.path.value.clone(), what, hint));
        match std::str::from_utf8(&file.content).map(str::trim) {
            Ok(secret) if secret.is_empty() || secret.contains(char::is_control) => {
                fail("is not one line of text", "it holds the secret and nothing else");
            }
            Err(_) => fail("is not UTF-8 text", "it holds the secret and nothing else"),
            Ok(_) if layer.contains_key(key.path) => fail(
                "is a second value of rtcd.rtc.turn.static_auth_secret",
                "give the secret in the file or in the key, not in both",
            ),
            Ok(secret) => {
                let value = Value::Text(secret.to_owned());
                self.set(layer, key, value, file.path.place());
            }
        }
    }

    /// rtcd's own last stage, so that nothing is written which it would refuse.
    fn validate(&mut self, settings: &Layer) {
        let files: BTreeMap<_, _> =
            self.layers.wanted.files.iter().map(|file| (as_written(&file.path.value), &file.content)).collect();
        let read: ReadFile<'_> = &|path| match (files.get(path.to_string_lossy().as_ref()), self.layers.root) {
            (Some(content), _) => Ok(content.to_vec()),
            (None, Some(root)) => fs::read(root.join(path.strip_prefix("/").unwrap_or(path))),
            (None, None) => Err(io::Error::new(io::ErrorKind::NotFound, "write_files does not write it")),
        };
        match rtcd_config::validate(Merged::new([settings.clone()]), read) {
            Ok(loaded) => {
                let placed = |warning: &Warning| self.placed(&warning.origin, &warning.key, &warning.what, "");
                let odd: Vec<_> = loaded.warnings.iter().map(placed).collect();
                self.notices.extend(odd);
            }
            Err(problems) => {
                let placed = |Problem { origin, key, what, allowed }: &Problem| {
                    let hint = if allowed.is_empty() { String::new() } else { format!("allowed: {allowed}") };
                    self.placed(origin, key, &admins_words(what), &hint)
                };
                let wrong: Vec<_> = problems.0.iter().map(placed).collect();
                self.mistakes.extend(wrong);
            }
        }
        let named = |path: &str| settings.values().any(|setting| setting.value == Value::Text(as_written(path)));
        for file in self.layers.wanted.files.iter().filter(|file| file.kind == FileKind::Tls) {
            if !named(&file.path.value) {
                let hint = "name it in rtcd.api.http.tls.cert_file or cert_key";
                self.notices.push(file.path.mistake(file.path.value.clone(), "nothing uses this file", hint));
            }
        }
    }

    fn placed(&self, origin: &Origin, key: &str, what: &str, hint: &str) -> Mistake {
        match self.places.get(origin) {
            Some(place) => place.mistake(format!("rtcd.{key}"), what, hint),
            None => Mistake { key: key.to_owned(), ..Mistake::whole(format!("{what} ({origin})"), hint) },
        }
    }
}

/// Where a file of `write_files` is when rtcd reads it.
pub fn as_written(path: &str) -> String {
    path.strip_prefix(TLS_DIRECTORY).map_or_else(|| path.to_owned(), |name| format!("{TLS_PREFIX}{name}"))
}

/// A message of rtcd, about the path that the admin knows.
fn admins_words(what: &str) -> String {
    what.replace(TLS_PREFIX, TLS_DIRECTORY)
}

fn said_by_admin<T>(placed: &Placed<T>) -> String {
    let Mark { line, column } = placed.mark;
    let part = placed.part.as_ref().map(|part| format!(" {part},")).unwrap_or_default();
    format!("user data,{part} line {line}, column {column}")
}
