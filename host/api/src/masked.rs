//! Payloads with masked values: each value is replaced by the name of its type, so that the form can
//! be seen and nothing of what it says. Names of members stay.

use std::sync::Arc;

use quipu::model::{Body, CommandRecord, ContentType, RecordedEvent};
use serde_json::{Map, Value};

/// In place of what is not JSON.
const BYTES: &str = "\"bytes\"";
/// In place of JSON that is nested too deeply, or has a number beyond what a double can hold.
const UNREADABLE: &str = "\"unreadable\"";

/// An event with masked data, metadata and values of tags.
pub fn event(event: RecordedEvent) -> RecordedEvent {
    RecordedEvent {
        body: body(&event.body),
        metadata: metadata(event.metadata.as_deref()),
        tags: event.tags.iter().map(|tag| label(tag)).collect(),
        ..event
    }
}

/// A command with masked data and metadata. Its seed is left out: what it led to may be made of it.
pub fn command(command: CommandRecord) -> CommandRecord {
    CommandRecord {
        body: body(&command.body),
        metadata: metadata(command.metadata.as_deref()),
        seed: [0; 4],
        ..command
    }
}

/// JSON with masked values.
pub fn json(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value) => masked(value).to_string(),
        Err(_) => UNREADABLE.to_owned(),
    }
}

fn body(body: &Body) -> Body {
    let text = body.as_json().map_or_else(|| BYTES.to_owned(), json);
    Body::stored(ContentType::Json, text.into())
}

fn metadata(stored: Option<&[u8]>) -> Option<bytes::Bytes> {
    let masked = match serde_json::from_slice(stored?) {
        Ok(Value::Object(members)) => masked(Value::Object(members)).to_string(),
        _ => "{}".to_owned(),
    };
    Some(masked.into())
}

/// `owner:ann` as `owner:string`.
fn label(tag: &str) -> Arc<str> {
    match tag.split_once(':') {
        Some((name, _)) => format!("{name}:string").into(),
        None => "string".into(),
    }
}

fn masked(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(elements) => elements.into_iter().map(masked).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, value)| (name, masked(value)))
                    .collect::<Map<_, _>>(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_names_of_their_types_and_the_form_stays() {
        for (given, masked) in [
            (
                r#"{"owner": "ann", "cents": 12e40, "open": true, "note": null, "list": [1, {"a": "b"}], "none": {}}"#,
                r#"{"owner":"string","cents":"number","open":"boolean","note":null,"list":["number",{"a":"string"}],"none":{}}"#,
            ),
            ("\"ann\"", "\"string\""),
            ("7", "\"number\""),
            (r#"{"a": 1, "a": "ann"}"#, r#"{"a":"string"}"#),
            ("not JSON: ann", UNREADABLE),
            (r#"{"owner": "ann", "cents": 12e400}"#, UNREADABLE),
        ] {
            assert_eq!(json(given), masked, "{given}");
        }
        let deep = format!("{}\"ann\"{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(!json(&deep).contains("ann"));
    }

    #[test]
    fn what_is_not_json_is_bytes() {
        let image = ContentType::new("image/png").unwrap();
        let masked = body(&Body::new(image, &b"ann"[..]).unwrap());
        assert_eq!(masked.as_json(), Some(BYTES));
        assert_eq!(&*label("owner:ann:7"), "owner:string");
        assert_eq!(&*label("ann"), "string");
        let damaged = metadata(Some(b"\"ann\"")).unwrap();
        assert_eq!(&*damaged, b"{}");
        assert_eq!(metadata(None), None);
    }
}
