//! The last lines as a page, the newest first.
use super::{Line, Log, field};
use crate::status::page::{head, refresh};
use crate::status::words::count;
use maud::{DOCTYPE, Markup, html};

/// The whole page.
pub fn page(log: &Log) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            // The machine's lines cost it a program's run.
            (head(html! { "rtcd: the last lines of " (words(log.of)) }, log.of == "rtcd"))
            body {
                header {
                    h1 { "Last lines" }
                    p.build { a href="/status" { "Status" } }
                    (refresh())
                }
                main #main {
                    (choices(log))
                    @if let Some(why) = &log.unreadable {
                        p.bad { "The journal cannot be read: " (why) }
                    } @else {
                        p.well { (count(log.lines.len(), "line")) ", the newest first. Times are UTC." }
                    }
                    ol.lines { @for line in log.lines.iter().rev() { (row(line)) } }
                }
                footer {
                    p { "The same as text: " code { "curl -H 'Accept: text/plain'" } " at this address; as JSON: "
                        code { "curl -H 'Accept: application/json'" } "." }
                }
            }
        }
    };
    page.into_string()
}

fn choices(log: &Log) -> Markup {
    let address = |of: &str, warnings_only: bool| match warnings_only {
        true => format!("/status/log?of={of}&level=warn"),
        false => format!("/status/log?of={of}"),
    };
    html! {
        @if log.choices.len() > 1 {
            nav.choices aria-label="Whose lines" { @for of in &log.choices {
                a href=(address(of, log.warnings_only)) aria-current=[(*of == log.of).then_some("page")] { (words(of)) }
            } }
        }
        nav.choices aria-label="How bad" {
            a href=(address(log.of, false)) aria-current=[(!log.warnings_only).then_some("true")] { "all" }
            a href=(address(log.of, true)) aria-current=[log.warnings_only.then_some("true")] { "warnings and errors" }
        }
    }
}

fn words(of: &str) -> &str {
    match of {
        "errors" => "errors of the machine",
        "daemon" => "rtcd over its restarts",
        "logs" => "sending logs",
        "everything" => "everything",
        of => of,
    }
}

fn row(line: &Line) -> Markup {
    html! {
        li data-level=(line.level.as_str()) {
            span.when { time { (line.time.trim_end_matches(" Z")) } " " span.level { (line.level.as_str()) } }
            span.what {
                @if let Some(source) = &line.source { span.source { (source) } " " }
                (line.text)
                @for (name, value) in &line.fields { " " span.field { (name) "=" (field(value)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Line};
    use super::*;

    #[test]
    fn whatever_somebody_has_made_us_log_stays_text() {
        let evil = "<script src=//evil></script>\"'&";
        let fields = [("id".to_owned(), evil.into())].into_iter().collect();
        let line =
            Line { time: evil.into(), level: Level::Error, source: Some(evil.into()), text: evil.into(), fields };
        let log = Log {
            of: "rtcd",
            warnings_only: false,
            lines: vec![line],
            unreadable: Some(evil.into()),
            choices: vec!["rtcd"],
        };
        let page = page(&log);
        assert!(!page.contains("<script src=//evil"), "{page}");
        assert_eq!(page.matches("&lt;script src=//evil&gt;").count(), 5);
    }
}
