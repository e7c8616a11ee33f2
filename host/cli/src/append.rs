use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use reqwest::{Method, RequestBuilder, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::exit::WrongUse;
use super::expected::Expected;
use super::table::Table;
use super::{Client, Connection};
use quipu::model::{StreamId, check_json, text_without_mark};
use quipu_api::line::one_line;

/// Append events that need no decision
///
/// A decider is not involved. A file holds one JSON document, all of which is
/// appended, or nothing:
///
///   {"streams": [{"stream", "expected_version", "events": [{"id"?, "type",
///    "schema_version"?, "data", "metadata"?, "tags"?}]}]}
///
/// `expected_version` is a version, "any", "no-stream" or "stream-exists"; a stream
/// without events is only checked. The same events with the same ids, or the same
/// append with the same --id, are appended once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Append {
    /// The stream, for example note-1
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    stream: Option<String>,
    /// The event's type
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    r#type: Option<String>,
    /// The event's data, JSON; `-` reads it from stdin
    #[arg(
        default_value = "{}",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    data: String,
    /// The event's id, a UUID: an event with the same id is appended once
    #[arg(long, value_name = "UUID", conflicts_with = "file")]
    event_id: Option<String>,
    /// The append's id: an append with the same id is performed once
    #[arg(long, value_name = "KEY")]
    id: Option<String>,
    /// The expected version of the stream: a version, any, no-stream or stream-exists
    #[arg(long, value_name = "N", conflicts_with = "file")]
    expected_version: Option<Expected>,
    /// A label of the event, name:value; may be repeated
    #[arg(long, conflicts_with = "file")]
    tag: Vec<String>,
    /// The event's metadata, a JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    metadata: Option<String>,
    /// Schema version of the data
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "file",
          value_parser = clap::value_parser!(u32).range(1..))]
    schema_version: u32,
    /// Append even if a decider serves the category; it must be able to fold the events
    #[arg(long)]
    raw: bool,
    /// Append what this file says; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Append {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        match (&self.file, &self.stream, &self.r#type) {
            (Some(path), _, _) => self.file(path, &client).await,
            (None, Some(stream), Some(name)) => self.one(stream, name, &client).await,
            _ => Err(WrongUse("a stream and a type, or --file".to_owned()).into()),
        }
    }

    async fn one(&self, stream: &str, name: &str, client: &Client) -> Result<()> {
        StreamId::new(stream).map_err(|error| WrongUse(error.0))?;
        let data = match self.data.as_str() {
            "-" => io::read_to_string(io::stdin().lock()).context("stdin")?,
            data => data.to_owned(),
        };
        let event = Event {
            id: self.event_id.as_deref(),
            r#type: name,
            schema_version: self.schema_version,
            data: json("data", text_without_mark(&data))?,
            metadata: match &self.metadata {
                Some(metadata) => Some(json("metadata", metadata)?),
                None => None,
            },
            tags: &self.tag,
        };
        let body = serde_json::to_vec(&Body { events: [event] })?;
        let mut request = client.request(Method::POST, &["v1", "streams", stream, "events"]);
        if let Some(expected) = self.expected_version {
            request = expected.apply(request);
        }
        let answer = self.send(client, request, body).await?;
        if !self.json {
            print(&serde_json::from_slice(&answer)?)?;
        }
        Ok(())
    }

    async fn file(&self, path: &Path, client: &Client) -> Result<()> {
        let (name, text) = match path.to_str() {
            Some("-") => ("stdin".to_owned(), io::read_to_string(io::stdin().lock())),
            _ => (path.display().to_string(), std::fs::read_to_string(path)),
        };
        let text = text.with_context(|| name.clone())?;
        let text = text_without_mark(&text).to_owned();
        json(&name, &text)?;
        let request = client.request(Method::POST, &["v1", "appends"]);
        let answer = self.send(client, request, text.into_bytes()).await?;
        if !self.json {
            let appended: Appended = serde_json::from_slice(&answer)?;
            appended.streams.iter().try_for_each(print)?;
        }
        Ok(())
    }

    /// Sends an append; as JSON, the answer is printed here.
    async fn send(
        &self,
        client: &Client,
        request: RequestBuilder,
        body: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let mut request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(id) = &self.id {
            request = request.header("Idempotency-Key", id);
        }
        if self.raw {
            request = request.header("Quipu-Raw", "allow");
        }
        let mut answer = client
            .send(request.body(body))
            .await?
            .bytes()
            .await?
            .to_vec();
        if self.json {
            one_line(&mut answer);
            answer.push(b'\n');
            io::stdout().lock().write_all(&answer)?;
        }
        Ok(answer)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    events: [Event<'a>; 1],
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    r#type: &'a str,
    schema_version: u32,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    tags: &'a [String],
}

#[derive(Deserialize)]
struct Appended {
    streams: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    stream: String,
    version: u64,
    replayed: bool,
    events: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    id: String,
    version: u64,
    position: u64,
}

/// JSON text, unchanged.
fn json<'a>(what: &str, text: &'a str) -> Result<&'a RawValue> {
    check_json(text.as_bytes()).map_err(|error| WrongUse(format!("{what}: {error}")))?;
    Ok(serde_json::from_str(text)?)
}

fn print(outcome: &Outcome) -> Result<()> {
    let mut out = io::stdout().lock();
    let replayed = if outcome.replayed { ", replayed" } else { "" };
    let (stream, version) = (&outcome.stream, outcome.version);
    writeln!(out, "{stream} is at version {version}{replayed}")?;
    let mut table = Table::bare();
    for event in &outcome.events {
        table.row([
            event.version.to_string(),
            format!("position {}", event.position),
            event.id.clone(),
        ]);
    }
    Ok(table.write(&mut out)?)
}
