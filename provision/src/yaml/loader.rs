//! Events into a tree. The parser does not recurse and neither does this; the depth of the tree is bounded.
use super::{Entry, Loaded, Node, Style, Value, join, syntax};
use crate::mistake::{Mark, Mistake};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// `rtcd.api.security.session_cache.expiration_minutes` is 5 deep; nothing that is known is deeper than 6.
pub const MAX_DEPTH: usize = 16;
/// Keys, values and list entries of one text: a hundred times what all keys together need.
pub const MAX_NODES: usize = 20_000;

/// Reads a text whose first character stands at `first` in what the admin wrote.
pub fn load(text: &str, first: Mark) -> Loaded {
    let mut loader = Loader { first, stack: Vec::new(), root: None, mistakes: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => loader.event(event, span.start),
            Err(error) => Err(syntax::explain(&error, text, loader.mark(error.marker()))),
        };
        if let Err(last) = step {
            return Loaded { root: None, mistakes: vec![last] };
        }
    }
    Loaded { root: loader.root, mistakes: loader.mistakes }
}

struct Loader {
    first: Mark,
    stack: Vec<Frame>,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
    nodes: usize,
}

/// A list or mapping that is not yet closed.
enum Frame {
    List(Mark, Vec<Node>),
    Mapping(Mapping),
    /// A list or mapping that stands where a key should be: everything in it is dropped.
    Key,
}

struct Mapping {
    mark: Mark,
    entries: Vec<Entry>,
    /// The keys so far, with the lines that they are in.
    seen: BTreeMap<String, usize>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// Whether some key was none.
    broken: bool,
}

enum Key {
    Good(String, Mark),
    /// Reported; its value is dropped.
    Bad,
}

impl Loader {
    /// The error is the last that is said about the text.
    fn event(&mut self, event: Event<'_>, at: Marker) -> Result<(), Mistake> {
        let mark = self.mark(&at);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                let what = "a second YAML document starts here, and only one is read";
                return Err(Mistake::at(mark, "", what, "put everything into one, and delete the line --- or ..."));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(mark)?;
                let refused = self.refuse(mark, anchor, tag.is_some());
                let text = text.into_owned();
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Folded => Style::Quoted,
                };
                if self.expects_key() {
                    self.key(text, mark);
                } else {
                    self.value(Node { mark, value: if refused { Value::Broken } else { Value::Scalar(text, style) } });
                }
            }
            Event::Alias(_) => {
                self.count(mark)?;
                // The merge key itself has been reported.
                if !matches!(self.stack.last(), Some(Frame::Mapping(Mapping { key: Some(Key::Bad), .. }))) {
                    self.refuse_anchor(mark);
                }
                if self.expects_key() {
                    self.bad_key();
                } else {
                    self.value(Node { mark, value: Value::Broken });
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(mark, anchor, tag.is_some(), Frame::List(mark, Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let mapping = Mapping { mark, entries: Vec::new(), seen: BTreeMap::new(), key: None, broken: false };
                self.open(mark, anchor, tag.is_some(), Frame::Mapping(mapping))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn mark(&self, at: &Marker) -> Mark {
        Mark { line: at.line() + self.first.line - 1, column: at.col() + self.first.column }
    }

    fn count(&mut self, mark: Mark) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Mistake::at(mark, "", format!("there are more than {MAX_NODES} keys and values"), "nothing needs so many"))
    }

    fn open(&mut self, mark: Mark, anchor: usize, tag: bool, frame: Frame) -> Result<(), Mistake> {
        self.count(mark)?;
        if self.stack.len() >= MAX_DEPTH {
            let what = format!("keys and lists are nested more than {MAX_DEPTH} levels deep");
            return Err(Mistake::at(mark, "", what, "nothing needs so many"));
        }
        let inside_key = matches!(self.stack.last(), Some(Frame::Key));
        if self.expects_key() {
            let what = "a list or a mapping stands where a key should be";
            let hint = "if this is {{ ... }} of a template, it was not filled in";
            self.mistakes.push(Mistake::at(mark, self.path(), what, hint));
            self.stack.push(Frame::Key);
        } else if inside_key {
            self.stack.push(Frame::Key);
        } else {
            self.refuse(mark, anchor, tag);
            self.stack.push(frame);
        }
        Ok(())
    }

    fn close(&mut self) {
        match self.stack.pop() {
            Some(Frame::List(mark, items)) => self.value(Node { mark, value: Value::List(items) }),
            // A template that was not filled in: its type is not worth another message.
            Some(Frame::Mapping(mapping)) if mapping.broken && mapping.entries.is_empty() => {
                self.value(Node { mark: mapping.mark, value: Value::Broken });
            }
            Some(Frame::Mapping(mapping)) => {
                self.value(Node { mark: mapping.mark, value: Value::Mapping(mapping.entries) });
            }
            Some(Frame::Key) => self.bad_key(),
            None => {}
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Mapping(Mapping { key: None, .. })))
    }

    fn value(&mut self, node: Node) {
        match self.stack.last_mut() {
            Some(Frame::List(_, items)) => items.push(node),
            Some(Frame::Mapping(mapping)) => {
                if let Some(Key::Good(key, mark)) = mapping.key.take() {
                    mapping.entries.push(Entry { key, mark, value: node });
                }
            }
            Some(Frame::Key) => {}
            None => self.root = Some(node),
        }
    }

    /// A key whose mistake has been reported.
    fn bad_key(&mut self) {
        if let Some(Frame::Mapping(mapping)) = self.stack.last_mut() {
            mapping.key = Some(Key::Bad);
            mapping.broken = true;
        }
    }

    fn key(&mut self, text: String, mark: Mark) {
        let path = self.path();
        let Some(Frame::Mapping(mapping)) = self.stack.last_mut() else { return };
        let wrong = if text == "<<" {
            let hint = "write the keys themselves";
            Some(Mistake::at(mark, path, "merge keys (<<) are not supported", hint))
        } else if text.is_empty() {
            Some(Mistake::at(mark, path, "a key is missing before the colon", "write key: value"))
        } else if text.chars().any(syntax::is_invisible) {
            let hint = "delete the white space around the key and type it again";
            Some(Mistake::at(mark, path, format!("the key holds {}", syntax::INVISIBLE), hint))
        } else if let Some(line) = mapping.seen.get(&text) {
            let hint = "remove one of the two, or join them";
            Some(Mistake::at(mark, join(&path, &text), format!("is there twice, first in line {line}"), hint))
        } else {
            mapping.seen.insert(text.clone(), mark.line);
            None
        };
        mapping.key = Some(if wrong.is_none() { Key::Good(text, mark) } else { Key::Bad });
        self.mistakes.extend(wrong);
    }

    /// Whether there was something to refuse.
    fn refuse(&mut self, mark: Mark, anchor: usize, tag: bool) -> bool {
        if anchor > 0 {
            self.refuse_anchor(mark);
        } else if tag {
            let what = "tags (!) are not supported";
            self.mistakes.push(Mistake::at(
                mark,
                self.path(),
                what,
                "remove the tag, or put a text that starts with ! in quotes",
            ));
        }
        anchor > 0 || tag
    }

    fn refuse_anchor(&mut self, mark: Mark) {
        let what = "anchors (&) and aliases (*) are not supported";
        let hint = "write the value itself, or put a text that starts with & or * in quotes";
        self.mistakes.push(Mistake::at(mark, self.path(), what, hint));
    }

    /// The path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.stack {
            match frame {
                Frame::List(_, items) => path += &format!("[{}]", items.len()),
                Frame::Mapping(Mapping { key: Some(Key::Good(key, _)), .. }) => path = join(&path, key),
                Frame::Mapping(_) | Frame::Key => {}
            }
        }
        path
    }
}
