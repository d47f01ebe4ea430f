//! JSON lines as the reference writes them, so that whatever reads its log goes on: `timestamp`, `level`, `msg`, `caller`
//! first, then the fields of the line and of what it belongs to.
use super::time;
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Json {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(text) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            // What is nearer wins.
            if let Ok(more) = serde_json::from_str::<Map<String, Value>>(&text.fields) {
                more.into_iter().for_each(|(name, value)| fields.add(&name, value));
            }
        }
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let caller = format!("{}:{}", metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        let (msg, caller) = (Value::String(fields.message), Value::String(caller));
        write!(writer, r#"{{"timestamp":"{}","level":"{level}","msg":{msg},"caller":{caller}"#, time::now())?;
        for (name, value) in fields.others {
            write!(writer, ",{}:{value}", Value::String(name))?;
        }
        writeln!(writer, "}}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, name: &str, value: Value) {
        let name = match name.trim_start_matches("r#") {
            name @ ("timestamp" | "level" | "msg" | "caller") => format!("field_{name}"),
            name => name.to_owned(),
        };
        self.others.entry(name).or_insert(value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.add(name, format!("{value:?}").into()),
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.add(name, value.into()),
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::captured::Captured;
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_line_has_what_log_pipelines_read() {
        let lines = Captured::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Json)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("session", group_id = "g", level = 7);
            let _in = span.enter();
            tracing::warn!(count = 3, why = "a \"quote\"", msg = true, group_id = "nearer", "a {}", "message");
        });
        let text = lines.text();
        assert!(text.starts_with(r#"{"timestamp":"20"#) && text.ends_with("}\n"), "{text}");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&json["level"], &json["msg"]), (&"warn".into(), &"a message".into()));
        assert!(json["caller"].as_str().is_some_and(|caller| caller.contains("json.rs:")), "{text}");
        assert_eq!((&json["count"], &json["why"]), (&3.into(), &"a \"quote\"".into()));
        assert_eq!(
            (&json["group_id"], &json["field_level"], &json["field_msg"]),
            (&"nearer".into(), &7.into(), &true.into())
        );
    }
}
