//! `#cloud-config-archive`: a YAML list of texts, or of `{type, content, filename}`.
use super::{Opener, Place, forms};
use crate::yaml::{self, Entry, Node, Style, Value, Wrong, join};

impl Opener {
    /// Opens the entries of an archive.
    pub(super) fn archive(&mut self, text: &str, place: &Place, depth: usize) {
        let loaded = yaml::load(text, place.first);
        let part = place.name.clone().filter(|_| place.own_lines);
        self.out.parts.extend(loaded.mistakes.into_iter().map(|mistake| Err(mistake.in_part(part.clone()))));
        let Some(root) = loaded.root else { return };
        match root.list() {
            Ok(items) => {
                for (index, item) in items.iter().enumerate() {
                    if !self.next_part(&Place { first: item.mark, ..place.clone() }) {
                        return;
                    }
                    self.entry(item, &format!("[{index}]"), text, place, depth);
                }
            }
            Err(wrong) => self.wrong(place, &root, "#cloud-config-archive", wrong),
        }
    }

    fn entry(&mut self, item: &Node, path: &str, text: &str, place: &Place, depth: usize) {
        let plain = Entry { key: "content".into(), mark: item.mark, value: item.clone() };
        let fields = match &item.value {
            Value::Scalar(..) => std::slice::from_ref(&plain),
            _ => match item.entries() {
                Ok(entries) => entries,
                Err(wrong) => return self.wrong(place, item, path, wrong),
            },
        };
        let (mut mime, mut file, mut content) = ("text/cloud-config", None, None);
        for Entry { key, mark, value } in fields {
            let read = match key.as_str() {
                "type" => value.line().map(|text| mime = text),
                "filename" => value.line().map(|text| file = Some(text)),
                "content" => value.text().map(|text| content = Some((text, value))),
                "launch-index" => Ok(()),
                _ => {
                    let mistake = place.mistake(
                        *mark,
                        format!("{}: unknown key", join(path, key)),
                        "allowed: type, content, filename",
                    );
                    return self.out.parts.push(Err(mistake));
                }
            };
            if let Err(wrong) = read {
                return self.wrong(place, value, &join(path, key), wrong);
            }
        }
        let Some((content, node)) = content else {
            return self.fail(
                place,
                item.mark,
                format!("{path}: there is no content"),
                "write content: | and the text below it",
            );
        };
        let name = if place.own_lines { place.name.clone() } else { Some(self.name(file)) };
        let stands_there = Place { name: name.clone(), own_lines: place.own_lines, first: node.mark };
        let mime = mime.to_ascii_lowercase();
        if self.is_usable(&mime, &stands_there) {
            let at = if is_literal(node, content, text, place) { stands_there } else { stands_there.unpacked() };
            // A first line says more than the type that is assumed when there is none.
            let form = Some(forms::by_first_line(content)).filter(|form| *form != forms::Form::Unknown);
            self.open(content.as_bytes(), &at, form.or_else(|| forms::by_mime_type(&mime)), depth);
        }
    }

    fn wrong(&mut self, place: &Place, node: &Node, key: &str, wrong: Wrong) {
        if let Wrong::Type(what, hint) = wrong {
            self.fail(place, node.mark, format!("{key}: {what}"), hint);
        }
    }
}

/// Whether the lines of the content are lines of the text, all indented alike.
fn is_literal(node: &Node, content: &str, text: &str, place: &Place) -> bool {
    let line = text.lines().nth(node.mark.line.saturating_sub(place.first.line)).unwrap_or_default();
    let skipped = node.mark.column.saturating_sub(place.first.column);
    let rest = line.chars().skip(skipped);
    let is_block = matches!(node.value, Value::Scalar(_, Style::Literal));
    is_block && rest.eq(content.lines().next().unwrap_or_default().chars())
}
