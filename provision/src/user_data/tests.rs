use super::*;
use base64::Engine;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes()
}

/// The parts as `name@line:column text`, the mistakes as they are shown.
fn check(bytes: &[u8], expected: &[&str]) {
    let describe = |part: &Result<Part, Mistake>| match part {
        Ok(Part { name, text, first }) => {
            format!("{}@{}:{} {text}", name.as_deref().unwrap_or_default(), first.line, first.column)
        }
        Err(mistake) => mistake.to_string(),
    };
    let found: Vec<_> = read(bytes).parts.iter().map(describe).collect();
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
}

const TEXT: &[u8] = b"#cloud-config\na: 1\n";
const READ: &str = "@1:1 #cloud-config\na: 1\n";

#[test]
fn nothing_is_wanted_by_nothing() {
    for bytes in ["", "\n", " \r\n\t", "\u{feff}"] {
        check(bytes.as_bytes(), &[]);
    }
    check(&gzip(b""), &[]);
}

#[test]
fn packings_are_undone_in_any_order() {
    check(TEXT, &[READ]);
    check(&gzip(TEXT), &[READ]);
    check(&base64(TEXT), &[READ]);
    check(&base64(&gzip(TEXT)), &[READ]);
    check(&gzip(&base64(TEXT)), &[READ]);
    let with_mark: Vec<u8> = [b"\xef\xbb\xbf", TEXT].concat();
    check(&with_mark, &[READ]);
    check(&base64(&with_mark), &[READ]);
}

#[test]
fn base64_may_be_in_lines_and_of_either_alphabet() {
    let lines: Vec<u8> = base64(TEXT).chunks(10).flat_map(|line| [line, b"\r\n"].concat()).collect();
    check(&lines, &[READ]);
    let unpadded = base64(TEXT).into_iter().filter(|byte| *byte != b'=').collect::<Vec<_>>();
    check(&unpadded, &[READ]);
    // Words are base64 too, but of rubbish.
    check(
        b"helloworld",
        &["line 1, column 1: this is nothing that is known here; the first line must be #cloud-config"],
    );
}

#[test]
fn more_than_three_packings_are_refused() {
    let deep =
        ["line 1, column 1: more than 3 packings are inside each other; send the text itself, or one MIME message"];
    check(&gzip(&gzip(&gzip(TEXT))), &[READ]);
    check(&gzip(&gzip(&gzip(&gzip(TEXT)))), &deep);
    check(&base64(&base64(&base64(&base64(TEXT)))), &deep);
}

#[test]
fn what_is_unpacked_is_bounded_in_all() {
    let big = ["line 1, column 1: this is too big when it is unpacked; at most 1 MiB is unpacked in all"];
    check(&gzip(&vec![b'#'; MAX_UNPACKED + 1]), &big);
    // Each is small enough alone.
    let half = gzip(&[b"#cloud-config\n".as_slice(), &vec![b'#'; MAX_UNPACKED / 2]].concat());
    let part = [b"--B\nContent-Transfer-Encoding: base64\n\n".as_slice(), &base64(&half), b"\n"].concat();
    let message = [b"Content-Type: multipart/mixed; boundary=B\n\n".as_slice(), &part, &part, b"--B--\n"].concat();
    let parts = read(&message).parts;
    assert_eq!(parts.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_part_keeps_its_place_in_the_whole_text() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"B\"\r\n\r\nfor old readers\r\n\
        --B\r\nContent-Type: text/cloud-config\r\n\r\na: 1\r\n\r\n--B\r\nContent-Type: Text/Plain\r\n\r\n#cloud-config\r\nb: 2\r\n--B--\r\n";
    check(message.as_bytes(), &["@8:1 a: 1\r\n", "@13:1 #cloud-config\r\nb: 2"]);
    check(b"#cloud-config-archive\n- content: |\n    a: 1\n- \"a: 2\"\n", &["@3:5 a: 1\n", "part 2@1:1 a: 2"]);
}

#[test]
fn a_message_inside_a_message_is_read() {
    let message = "Content-Type: multipart/mixed; boundary=A\n\n--A\nContent-Type: multipart/mixed; boundary=B\n\n\
        --B\nContent-Type: text/cloud-config\n\na: 1\n--B--\n\n--A\nContent-Type: text/cloud-config\n\nb: 2\n--A--\n";
    check(message.as_bytes(), &["@9:1 a: 1", "@15:1 b: 2"]);
    let nested = |inner: String, name: &str| {
        format!("Content-Type: multipart/mixed; boundary={name}\n\n--{name}\n{inner}\n--{name}--\n")
    };
    let deep = (0..50).fold("Content-Type: text/cloud-config\n\na: 1\n".to_owned(), |inner, level| {
        nested(inner, &format!("B{level}X"))
    });
    let parts = read(deep.as_bytes()).parts;
    assert!(matches!(parts.as_slice(), [Err(mistake)] if mistake.what.contains("inside each other")));
}

#[test]
fn headers_alone_do_not_make_a_message() {
    assert!(mime::is_message(b"Content-Type: text/cloud-config\n\na: 1\n"));
    assert!(mime::is_message(b"From nobody Fri Jan  1 00:00:00 2021\nMIME-VERSION: 1.0\n\n"));
    assert!(!mime::is_message(b"#cloud-config\nContent-Type: x\n"));
    assert!(!mime::is_message(b"a: 1\n\nContent-Type: x\n"));
    check(b"Content-Type: text/cloud-config\n\na: 1\n", &["@3:1 a: 1\n"]);
}

#[test]
fn the_first_line_tells_in_any_case_and_after_empty_lines() {
    check(b"\n\n#Cloud-Config \r\na: 1", &["@1:1 \n\n#Cloud-Config \r\na: 1"]);
    let forms = ["#cloud-configuration", "# cloud-config", "cloud-config", "#cloud config"];
    for form in forms {
        assert!(matches!(forms::by_first_line(form), Form::Unknown), "{form}");
        assert!(forms::explain(form).1.contains("not quite"), "{form}");
    }
    for form in [
        "#!/bin/sh",
        "#include-once",
        "## template: jinja\n#cloud-config",
        "#cloud-config-jsonp",
        "#cloud-boothook\n#!/bin/sh",
    ] {
        assert!(matches!(forms::by_first_line(form), Form::Refused(..)), "{form}");
    }
}

#[test]
fn the_name_of_a_part_cannot_play_with_the_console() {
    let message = "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html\n\
        Content-Disposition: attachment; filename=\"a\x1b[2J\"\n\nx\n--B--\n";
    check(
        message.as_bytes(),
        &["line 7, column 1: part 1: this is of a type that is not known; allowed: text/cloud-config"],
    );
}
