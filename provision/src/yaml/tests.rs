use super::*;
use std::fmt::Write;

const START: Mark = Mark { line: 1, column: 1 };

/// The tree as one line: `1:1 {1:1 a: 1:4 "b"}`.
fn draw(node: &Node, out: &mut String) {
    let _ = write!(out, "{}:{} ", node.mark.line, node.mark.column);
    let _ = match &node.value {
        Value::Scalar(text, Style::Plain) => write!(out, "{text}"),
        Value::Scalar(text, Style::Quoted) => write!(out, "{text:?}"),
        Value::Scalar(text, Style::Literal) => write!(out, "|{text:?}"),
        Value::Broken => write!(out, "?"),
        Value::List(items) => {
            out.push('[');
            items.iter().for_each(|item| {
                draw(item, out);
                out.push(' ');
            });
            write!(out, "]")
        }
        Value::Mapping(entries) => {
            out.push('{');
            entries.iter().for_each(|Entry { key, mark, value }| {
                let _ = write!(out, "{}:{} {key}: ", mark.line, mark.column);
                draw(value, out);
                out.push(' ');
            });
            write!(out, "}}")
        }
    };
}

fn read(text: &str, first: Mark) -> String {
    let loaded = load(text, first);
    let mut out = String::new();
    if let Some(root) = &loaded.root {
        draw(root, &mut out);
    }
    loaded.mistakes.iter().for_each(|mistake| {
        let _ = write!(out, "\n{mistake}");
    });
    out
}

fn check(text: &str, expected: &str) {
    assert_eq!(read(text, START), expected, "{text:?}");
}

fn scalar(text: &str) -> Node {
    let loaded = load(&format!("- {text}"), START);
    assert_eq!(loaded.mistakes, []);
    match loaded.root.map(|root| root.value) {
        Some(Value::List(mut items)) => items.remove(0),
        _ => panic!("{text:?} is no list"),
    }
}

#[test]
fn every_key_and_value_has_its_place() {
    check("a: b\nc:\n  - 'd'\n  - {e: \"f\"}\n", "1:1 {1:1 a: 1:4 b 2:1 c: 3:3 [3:5 \"d\" 4:5 {4:6 e: 4:9 \"f\" } ] }");
    check("a: |\n  x\n  y\nb: >-\n  z\n", "1:1 {1:1 a: 2:3 |\"x\\ny\\n\" 4:1 b: 5:3 \"z\" }");
    check("ü: 'ß'\r\nb: 1\r\n", "1:1 {1:1 ü: 1:4 \"ß\" 2:1 b: 2:4 1 }");
    check("", "");
    check("# nothing\n", "");
    assert_eq!(read("a: b", Mark { line: 10, column: 5 }), "10:5 {10:5 a: 10:8 b }");
}

#[test]
fn json_is_yaml() {
    check(r#"{"a": [1, true, null, "x"]}"#, "1:1 {1:2 a: 1:7 [1:8 1 1:11 true 1:17 null 1:23 \"x\" ] }");
}

#[test]
fn all_duplicates_are_reported_with_the_line_of_the_first() {
    check(
        "a: 1\nb:\n  c: 1\n  c: 2\na: 3\na: 4\n",
        "1:1 {1:1 a: 1:4 1 2:1 b: 3:3 {3:3 c: 3:6 1 } }\
         \nline 4, column 3: b.c: is there twice, first in line 3; remove one of the two, or join them\
         \nline 5, column 1: a: is there twice, first in line 1; remove one of the two, or join them\
         \nline 6, column 1: a: is there twice, first in line 1; remove one of the two, or join them",
    );
}

#[test]
fn what_other_readers_would_resolve_is_refused_and_reading_goes_on() {
    let anchors = "anchors (&) and aliases (*) are not supported; \
                   write the value itself, or put a text that starts with & or * in quotes";
    let tags = "tags (!) are not supported; remove the tag, or put a text that starts with ! in quotes";
    let merge = "merge keys (<<) are not supported; write the keys themselves";
    check(
        "a: &x {b: 1}\nc: *x\nd: !!str 1\ne:\n  <<: *x\n  f: 1\n",
        &format!(
            "1:1 {{1:1 a: 1:4 {{1:8 b: 1:11 1 }} 2:1 c: 2:4 ? 3:1 d: 3:4 ? 4:1 e: 5:3 {{6:3 f: 6:6 1 }} }}\
             \nline 1, column 4: a: {anchors}\nline 2, column 4: c: {anchors}\nline 3, column 4: d: {tags}\
             \nline 5, column 3: e: {merge}"
        ),
    );
}

#[test]
fn a_template_that_was_not_filled_in_is_one_mistake() {
    check(
        "a: {{ b }}\nc: d\n",
        "1:1 {1:1 a: 1:4 ? 2:1 c: 2:4 d }\
         \nline 1, column 5: a: a list or a mapping stands where a key should be; \
         if this is {{ ... }} of a template, it was not filled in",
    );
}

#[test]
fn depth_and_count_are_bounded() {
    for (start, levels) in [("[", 200), ("- ", 100_000), ("? ", 100_000), ("{a: ", 200)] {
        let read = read(&start.repeat(levels), START);
        assert!(read.contains("nested more than 16 levels deep"), "{start:?}: {read}");
    }
    let many = format!("[{}]", "a,".repeat(30_000));
    assert!(read(&many, START).contains("more than 20000 keys and values"));
    assert!(!read(&"- ".repeat(MAX_DEPTH), START).contains("nested"));
}

#[test]
fn a_text_has_one_document() {
    assert!(read("---\na: 1\n", START).starts_with("2:1 {"));
    for text in ["a: 1\n---\nb: 2\n", "a: 1\n...\nb: 2\n"] {
        assert!(
            read(text, START).contains("line 3, column 1: a second YAML document") || text.contains("---"),
            "{text}"
        );
        assert!(read(text, START).contains("a second YAML document"), "{text}");
    }
}

#[test]
fn a_mistake_of_syntax_is_the_only_one_and_quotes_nothing() {
    let read = read("a: 1\na: 2\nsecret: \"hunter2\nb: c: d\n", START);
    assert_eq!(read.lines().count(), 2, "{read}");
    assert!(read.contains("line 3, column 9: this is not valid YAML: the quote that is opened here"), "{read}");
    assert!(!read.contains("hunter2"), "{read}");
}

#[test]
fn booleans_are_those_of_cloud_init() {
    for (text, expected) in [("true", true), ("Yes", true), ("ON", true), ("no", false), ("off", false)] {
        assert_eq!(scalar(text).boolean(), Ok(expected), "{text}");
    }
    let allowed = "allowed: a boolean (true or false)";
    let check =
        |text: &str, what, hint: String| assert_eq!(scalar(text).boolean(), Err(Wrong::Type(what, hint)), "{text}");
    check("'true'", "is in quotes", format!("{allowed}, so remove the quotes"));
    check("y", "is a string", allowed.into());
    check("1", "is an integer", allowed.into());
    check("~", "is empty", "write a boolean (true or false), or remove the key".into());
    check("[]", "is a list", allowed.into());
}

#[test]
fn integers_are_decimal() {
    for (text, expected) in [("0", 0), ("8443", 8443), ("-1", -1), ("+7", 7)] {
        assert_eq!(scalar(text).integer(), Ok(expected), "{text}");
    }
    for odd in ["08443", "0x10", "0o17", "0b11", "8_443", "99999999999999999999"] {
        let found = scalar(odd).integer();
        assert!(matches!(found, Err(Wrong::Type("is an integer that can be read in more than one way", _))), "{odd}");
    }
    let check = |text: &str, what| {
        assert!(matches!(scalar(text).integer(), Err(Wrong::Type(found, _)) if found == what), "{text}")
    };
    check("'8443'", "is in quotes");
    check("1.5", "is a fractional number");
    check("yes", "is a boolean");
    check("udp", "is a string");
    check("{a: b}", "has keys of its own");
}

#[test]
fn a_plain_number_or_boolean_is_no_text() {
    for text in ["'8443'", "\"yes\"", ":8045", "192.0.2.1", "2001:db8::1", "1e5", "2024-01-01", "0x", "a b", "''"] {
        assert!(scalar(text).text().is_ok(), "{text}");
    }
    let hint = "allowed: a string, so put it in quotes";
    for (text, what) in [
        ("8443", "is an integer"),
        ("0777", "is an integer"),
        ("yes", "is a boolean"),
        ("1.5", "is a fractional number"),
    ] {
        assert_eq!(scalar(text).text(), Err(Wrong::Type(what, hint.into())), "{text}");
    }
    assert_eq!(scalar("").text(), Err(Wrong::Type("is empty", "write a string, or remove the key".into())));
    assert!(matches!(
        scalar("“a”").text(),
        Err(Wrong::Type("starts with a quote of a word processor, which is none to YAML", _))
    ));
    assert!(matches!(scalar("|\n  a\n").line(), Err(Wrong::Type("has a line break", _))));
    assert!(matches!(scalar("\"a\\e\"").line(), Err(Wrong::Type("holds a character that cannot be seen", _))));
}

#[test]
fn a_missing_space_after_a_colon_is_named() {
    assert!(
        matches!(scalar("port:8443").entries(), Err(Wrong::Type(_, hint)) if hint == "put a space after the colon")
    );
}

#[test]
fn a_key_that_may_be_a_secret_is_not_shown() {
    assert_eq!(shown("rtc.ice_port_udp"), "rtc.ice_port_udp");
    for key in ["", "a b", "a\u{1b}[2J", &"x".repeat(65)] {
        assert_eq!(shown(key), "(a key that is no plain word)");
    }
}
