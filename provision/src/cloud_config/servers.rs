//! `rtcd.rtc.ice_servers`: each entry is looked at with its place, then read by rtcd's own reader.
use super::Reader;
use crate::nearest;
use crate::yaml::{Entry, Node, Value as Yaml, join};
use rtcd_config::keys::Key;
use rtcd_config::servers;
use rtcd_config::source::{Origin, Value};
use serde_json::Value as Json;

const FIELDS: [&str; 3] = ["urls", "username", "credential"];

impl Reader {
    pub(super) fn servers(&mut self, key: &'static Key, shown: &str, entry: &Entry) {
        let read = match &entry.value.value {
            Yaml::List(items) => Ok(items),
            _ => Err(entry.value.not("a list of URLs or of {urls, username, credential}")),
        };
        let Some(items) = self.log.take_entry(entry, shown, read) else { return };
        let before = self.log.out.mistakes.len();
        let json = items.iter().enumerate().filter_map(|(index, item)| self.server(&format!("{shown}[{index}]"), item));
        let json = Json::Array(json.collect());
        let read = servers::read(&json, &Origin::Default);
        for problem in read.problems {
            self.log.mistake(entry.value.mark, shown, problem.what, problem.allowed);
        }
        if self.log.out.mistakes.len() == before {
            self.keep(key, Value::Servers(read.servers), entry.value.mark);
        }
    }

    fn server(&mut self, shown: &str, item: &Node) -> Option<Json> {
        match &item.value {
            Yaml::Scalar(..) => self.text(shown, item),
            Yaml::Mapping(fields) => {
                let fields = fields.iter().filter_map(|field| {
                    let path = join(shown, &field.key);
                    match (field.key.to_ascii_lowercase().as_str(), &field.value.value) {
                        ("urls", Yaml::List(urls)) => {
                            let urls = urls.iter().enumerate();
                            let urls = urls.filter_map(|(index, url)| self.text(&format!("{path}[{index}]"), url));
                            Some(("urls".to_owned(), Json::Array(urls.collect())))
                        }
                        (name, _) if FIELDS.contains(&name) => {
                            let read = field.value.line().map(Json::from);
                            let text = self.log.take_entry(field, &path, read)?;
                            Some((name.to_owned(), text))
                        }
                        (name, _) => {
                            let nearest = nearest::nearest(name, FIELDS.into_iter().chain(["url", "user", "password"]));
                            let hint = match nearest {
                                Some("url" | "urls") => "did you mean urls?".to_owned(),
                                Some("user" | "username") => "did you mean username?".to_owned(),
                                Some(_) => "did you mean credential?".to_owned(),
                                None => format!("known are {}", FIELDS.join(", ")),
                            };
                            self.log.mistake(field.mark, &path, "unknown key", hint);
                            None
                        }
                    }
                });
                Some(Json::Object(fields.collect()))
            }
            _ => self.log.take(item, shown, Err(item.not("a URL or {urls, username, credential}"))),
        }
    }

    fn text(&mut self, shown: &str, node: &Node) -> Option<Json> {
        self.log.take(node, shown, node.line().map(Json::from))
    }
}
