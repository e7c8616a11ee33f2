//! One command as a line of NDJSON: the form of files and of `POST /v1/commands`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use quipu::model::{
    Command, CommandId, ContentType, Context, ExpectedVersion, Name, StreamId, Version,
};

use crate::{Problem, Result, body};

/// A command for a stream.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// The stream, or `id`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Cow<'a, str>>,
    /// Key of the stream within the category that the file is for; in files only.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Type of the command.
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    /// Schema version of the data; by default the decider's current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// JSON; `{}` if neither this nor `data_base64` is given.
    #[serde(
        borrow,
        default,
        deserialize_with = "body::given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<&'a RawValue>,
    /// Bytes that are not JSON.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Cow<'a, str>>,
    /// Media type of `data_base64`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Cow<'a, str>>,
    /// The idempotency key.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<Cow<'a, str>>,
    /// The version that the stream must have; 0 if it must not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// An object.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    pub metadata: Option<&'a RawValue>,
    /// When it happened; becomes a member of the metadata.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub at: Option<&'a RawValue>,
    /// Who did it; becomes a member of the metadata.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub actor: Option<&'a RawValue>,
}

/// Parses a line; its `id`, if it has one, is a key in `category`.
pub fn read(text: &[u8], category: Option<&str>) -> Result<(StreamId, Command)> {
    let line: Line<'_> = body::parse(text)?;
    let stream = match (&line.stream, &line.id, category) {
        (Some(stream), None, _) => StreamId::new(stream)?,
        (None, Some(key), Some(category)) => StreamId::new(&format!("{category}-{key}"))?,
        (None, Some(_), None) => {
            let detail = "the line has an id, which needs a category to be a key of";
            return Err(Problem::bad_request(detail));
        }
        (Some(_), Some(_), _) => {
            return Err(Problem::bad_request("stream and id exclude each other"));
        }
        (None, None, _) => return Err(Problem::bad_request("the line names no stream")),
    };
    Ok((stream, line.into_command()?))
}

/// The line of a command.
pub fn write(stream: &StreamId, command: &Command) -> std::result::Result<Vec<u8>, String> {
    let describe = |error: serde_json::Error| error.to_string();
    let json = match command.body.content_type() {
        ContentType::Json => {
            let text = command.body.as_json().ok_or("data that is not text")?;
            Some(serde_json::from_str(text).map_err(describe)?)
        }
        ContentType::Other(_) => None,
    };
    let binary = json.is_none().then_some(&command.body);
    let line = Line {
        stream: Some(stream.as_str().into()),
        id: None,
        r#type: command.name.as_str().into(),
        schema_version: command.schema_version,
        data: json,
        data_base64: binary.map(|body| body::base64(body.bytes()).into()),
        content_type: binary.map(|body| body.content_type().as_str().into()),
        command_id: command.id.as_ref().map(|id| id.as_str().into()),
        expected_version: match command.expected_version {
            ExpectedVersion::Exact(version) => Some(version.0),
            ExpectedVersion::NoStream => Some(0),
            ExpectedVersion::Any | ExpectedVersion::StreamExists => None,
        },
        metadata: match &command.metadata {
            Some(bytes) => Some(serde_json::from_slice(bytes).map_err(describe)?),
            None => None,
        },
        at: None,
        actor: None,
    };
    let mut bytes = serde_json::to_vec(&line).map_err(describe)?;
    one_line(&mut bytes);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Removes the line breaks from JSON text. They can only be between its parts.
pub fn one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

impl Line<'_> {
    fn into_command(self) -> Result<Command> {
        let content_type = self.content_type.as_deref();
        Ok(Command {
            id: match &self.command_id {
                Some(id) => Some(CommandId::new(id)?),
                None => None,
            },
            name: Name::new(&self.r#type)?,
            schema_version: self.schema_version,
            body: body::command_body(self.data, self.data_base64.as_deref(), content_type)?,
            metadata: self.composed_metadata()?,
            expected_version: match self.expected_version {
                Some(version) => ExpectedVersion::Exact(Version(version)),
                None => ExpectedVersion::Any,
            },
            context: Context::default(),
        })
    }

    /// `at` and `actor`, then the members of the metadata.
    fn composed_metadata(&self) -> Result<Option<bytes::Bytes>> {
        let given = match self.metadata {
            Some(raw) => Some(body::metadata(raw)?),
            None => None,
        };
        if self.at.is_none() && self.actor.is_none() {
            return Ok(given);
        }
        let mut text = String::with_capacity(64);
        for (name, value) in [("at", self.at), ("actor", self.actor)] {
            if let Some(value) = value {
                text.push(if text.is_empty() { '{' } else { ',' });
                text.push_str(&format!("\"{name}\":{}", value.get()));
            }
        }
        let object = self.metadata.map_or("{}", RawValue::get);
        let members = &object[1..object.len() - 1];
        if !members.trim().is_empty() {
            text.push(',');
            text.push_str(members);
        }
        text.push('}');
        Ok(Some(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, category: Option<&str>) -> std::result::Result<Command, String> {
        match read(line.as_bytes(), category) {
            Ok((_, command)) => Ok(command),
            Err(problem) => Err(problem.detail),
        }
    }

    #[test]
    fn at_and_actor_become_members_of_the_metadata() {
        let cases = [
            (
                r#""at":"2011","actor":7"#,
                Some(r#"{"at":"2011","actor":7}"#),
            ),
            (
                r#""actor":"a","metadata":{"b": {}}"#,
                Some(r#"{"actor":"a","b": {}}"#),
            ),
            (r#""at":"x","metadata":{ }"#, Some(r#"{"at":"x"}"#)),
            (r#""metadata":{ "b":1}"#, Some(r#"{ "b":1}"#)),
            (r#""data_base64":"""#, None),
        ];
        for (members, expected) in cases {
            let data = if members.contains("base64") {
                ""
            } else {
                r#""data":{},"#
            };
            let line = format!(r#"{{"stream":"s-1","type":"t",{data}{members}}}"#);
            let metadata = check(&line, None).unwrap().metadata;
            assert_eq!(metadata.as_deref(), expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn a_key_needs_a_category_and_excludes_a_stream() {
        let line = r#"{"id":"7","type":"t","data":null}"#;
        assert!(check(line, Some("loan")).is_ok());
        assert!(check(line, None).unwrap_err().contains("needs a category"));
        let both = r#"{"id":"7","stream":"a","type":"t","data":1}"#;
        assert!(check(both, Some("loan")).unwrap_err().contains("exclude"));
        let typo = r#"{"stream":"a","type":"t","date":1}"#;
        assert!(
            check(typo, None)
                .unwrap_err()
                .contains("unknown field `date`")
        );
    }

    #[test]
    fn a_written_line_reads_as_the_same_command() {
        for line in [
            r#"{"stream":"s-1","type":"t","data":{"a": 1.50, "b":"\u00e9"},"command_id":"c","expected_version":3}"#,
            r#"{"stream":"s-1","type":"t","data":null,"metadata":{"x":[1]},"schema_version":2}"#,
            r#"{"stream":"s-1","type":"t","data_base64":"AP8=","content_type":"a/b"}"#,
        ] {
            let (stream, command) = read(line.as_bytes(), None).unwrap();
            let written = write(&stream, &command).unwrap();
            assert_eq!(read(&written, None).unwrap(), (stream, command));
        }
    }
}
