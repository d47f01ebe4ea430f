//! YAML as metadata services write it, into the same tree as their JSON. Scalars stay text, whatever they look like: an
//! instance id `0123` is not a number.
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Deeper than any network configuration.
const DEPTH_LIMIT: usize = 24;
/// More scalars and collections than any metadata has.
const NODE_LIMIT: usize = 10_000;

/// The first document of `text`. The error says where it broke, and quotes nothing.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("line {}", error.marker().line()))?;
        let line = span.start.line();
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => tree.add(Value::Null),
            Event::Scalar(text, ..) => tree.add(Value::String(text.into_owned())),
            Event::SequenceStart(..) => tree.open(Value::Array(Vec::new())),
            Event::MappingStart(..) => tree.open(Value::Object(Map::new())),
            Event::SequenceEnd | Event::MappingEnd => tree.close(),
            Event::Alias(_) => Err("aliases are not read"),
            Event::DocumentEnd => break,
            _ => Ok(()),
        }
        .map_err(|why| format!("line {line}: {why}"))?;
    }
    Ok(tree.done.unwrap_or(Value::Null))
}

/// The tree as it grows.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    done: Option<Value>,
    nodes: usize,
}

/// A collection that has not ended, and in a mapping the key whose value comes next.
struct Open {
    value: Value,
    key: Option<String>,
}

impl Tree {
    fn open(&mut self, value: Value) -> Result<(), &'static str> {
        if self.open.len() == DEPTH_LIMIT {
            return Err("it is nested too deeply");
        }
        self.open.push(Open { value, key: None });
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        match self.open.pop() {
            Some(ended) => self.add(ended.value),
            None => Ok(()),
        }
    }

    fn add(&mut self, value: Value) -> Result<(), &'static str> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err("it has too many values");
        }
        let Some(Open { value: parent, key }) = self.open.last_mut() else {
            self.done = Some(value);
            return Ok(());
        };
        match (parent, key.take(), value) {
            (Value::Array(list), _, value) => list.push(value),
            (Value::Object(map), Some(name), value) => {
                if map.insert(name, value).is_some() {
                    return Err("a key is there twice");
                }
            }
            (Value::Object(_), None, Value::String(name)) => *key = Some(name),
            _ => return Err("a key is not a text"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_become_a_tree_of_texts() {
        let text = "instance-id: 0123\npublic-keys:\n  - k1\n  - \"k2\"\nnet: {a: [1, {b: ~}]}\n---\nother: x\n";
        let expected = json!({"instance-id": "0123", "public-keys": ["k1", "k2"], "net": {"a": ["1", {"b": null}]}});
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Value::Null));
        assert_eq!(parse("{\"instance-id\": \"json\"}"), Ok(json!({"instance-id": "json"})));
    }

    #[test]
    fn what_is_odd_is_refused_with_its_line() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        let many = "- a\n".repeat(NODE_LIMIT + 1);
        for (text, expected) in [
            ("a: 1\na: 2\n", "line 2: a key is there twice"),
            ("a: &x 1\nb: *x\n", "line 2: aliases are not read"),
            ("? [a]\n: b\n", "line 1: a key is not a text"),
            (deep.as_str(), "line 1: it is nested too deeply"),
            (many.as_str(), "line 10001: it has too many values"),
            ("a: [secret\n", "line 2"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}, expected {expected}");
            assert!(!error.contains("secret"));
        }
    }
}
