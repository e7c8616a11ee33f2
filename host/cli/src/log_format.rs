//! How lines of the log are written: as text for people, or as JSON for programs.

use std::fmt::{self, Debug, Write};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// Whether this process writes JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether a value of `log_format` means JSON.
///
/// # Errors
/// When there is no such value.
pub fn is_json(format: &str) -> Result<bool, String> {
    match format {
        "text" => Ok(false),
        "json" => Ok(true),
        "auto" => Ok(!io::stderr().is_terminal()),
        other => Err(format!(
            "log_format is {other:?}; expected text, json or auto"
        )),
    }
}

/// Sets the format of this process.
///
/// # Errors
/// When there is no such format.
pub fn set(format: &str) -> Result<(), String> {
    IS_JSON.store(is_json(format)?, Ordering::Relaxed);
    Ok(())
}

/// Writes an event in the format of this process.
#[derive(Default)]
pub struct Form(Format);

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match is_json_now() {
            true => writeln!(writer, "{}", line(event)),
            false => self.0.format_event(context, writer, event),
        }
    }
}

/// Whether this process writes JSON.
pub fn is_json_now() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// An event as JSON, with the request that it belongs to.
pub fn line(event: &Event<'_>) -> String {
    let mut at = String::new();
    // Without a time the line still says what happened.
    _ = SystemTime.format_time(&mut Writer::new(&mut at));
    let mut fields = Fields(Map::new());
    event.record(&mut fields);
    let mut line = json!({
        "timestamp": at,
        "level": event.metadata().level().as_str(),
        "target": event.metadata().target(),
        "fields": fields.0,
    });
    for (name, value) in quipu_server::log_fields() {
        line[name] = value.into();
    }
    in_ascii(&line.to_string())
}

/// JSON whose other characters are escaped, so that nothing in it can disturb a terminal.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a text does not fail.
            _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_ascii_is_the_same_json() {
        let text = json!({"a": "é\u{202e}\u{7f}\u{1f600}\n\"\\"});
        let ascii = in_ascii(&text.to_string());
        assert!(
            ascii.chars().all(|it| it.is_ascii() && !it.is_control()),
            "{ascii}"
        );
        assert_eq!(serde_json::from_str::<Value>(&ascii).unwrap(), text);
    }

    #[test]
    fn only_known_formats_are_taken() {
        assert_eq!(is_json("text"), Ok(false));
        assert_eq!(is_json("json"), Ok(true));
        let why = is_json("yaml").unwrap_err();
        assert!(why.contains("expected text, json or auto"), "{why}");
    }
}
