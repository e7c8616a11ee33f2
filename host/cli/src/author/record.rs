use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use quipu_author::scenario::{Event, Expected, Json, Message, Scenario, Scenarios};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Client, Connection};

/// Events in one page of a stream.
const PAGE: &str = "1000";
/// Most events of a scenario.
const EVENTS_MAX: usize = 10_000;

/// Members of metadata as a host sent them, with every digit.
type Metadata = BTreeMap<String, Box<RawValue>>;

/// Writes a scenario from the history of a stream.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// Print a scenario of the last decision of this stream instead, as a host recorded it
    #[arg(long, value_name = "STREAM")]
    from: Option<String>,
    /// With --from: the decision that led to this version
    #[arg(long, value_name = "N", requires = "from")]
    at_version: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Stored>,
    next: Option<u64>,
}

/// A stored event.
#[derive(Deserialize, Clone)]
struct Stored {
    position: u64,
    version: u64,
    r#type: String,
    schema_version: u32,
    data: Option<Box<RawValue>>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    tags: Vec<String>,
    recorded_at: String,
    commit: Commit,
}

#[derive(Deserialize, Clone)]
struct Commit {
    command_id: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    command: Option<Command>,
}

/// The command that led to an event.
#[derive(Deserialize)]
struct Command {
    id: String,
    r#type: String,
    schema_version: u32,
    data: Option<Box<RawValue>>,
    #[serde(default)]
    metadata: Option<Metadata>,
    accepted_at: String,
    seed: String,
    principal: Option<String>,
}

impl Record {
    pub(super) fn is_requested(&self) -> bool {
        self.from.is_some()
    }

    pub(super) async fn run(&self) -> Result<()> {
        let stream = self.from.clone().unwrap_or_default();
        let client = Client::of(&self.connection)?;
        let mut events = read(&client, &stream, self.at_version).await?;
        let Some(last) = events.last().cloned() else {
            bail!("stream {stream} has no events up to this version");
        };
        let path = ["v1", "events", &last.position.to_string()];
        let detail: Detail = client.json(client.request(Method::GET, &path)).await?;
        let Some(command) = detail.command else {
            bail!(
                "version {} of {stream} was appended directly; choose the version of a decision \
                 with --at-version",
                last.version
            );
        };
        let is_of = |event: &Stored| event.commit.command_id == last.commit.command_id;
        let first = events.iter().rposition(|event| !is_of(event));
        let decided = events.split_off(first.map_or(0, |at| at + 1));
        let scenario = Scenario {
            name: format!("{} of {stream} at version {}", command.r#type, last.version),
            stream: Some(stream),
            given: events.into_iter().map(given).collect(),
            when: Some(when(command)),
            then: Expected {
                events: Some(decided.into_iter().map(expected).collect()),
                ..Expected::default()
            },
        };
        let file = Scenarios {
            scenarios: vec![scenario],
            ..Scenarios::default()
        };
        io::stdout().lock().write_all(file.to_yaml()?.as_bytes())?;
        Ok(())
    }
}

/// Reads the events of a stream up to a version.
async fn read(client: &Client, stream: &str, until: Option<u64>) -> Result<Vec<Stored>> {
    let mut events: Vec<Stored> = Vec::new();
    let mut from = 1;
    loop {
        let request = client.request(Method::GET, &["v1", "streams", stream, "events"]);
        let request = request.query(&[("from", from.to_string().as_str()), ("limit", PAGE)]);
        let page: Page = client.json(request).await?;
        let is_wanted = |event: &Stored| until.is_none_or(|until| event.version <= until);
        events.extend(page.events.into_iter().filter(is_wanted));
        if events.len() > EVENTS_MAX {
            bail!("stream {stream} has more than {EVENTS_MAX} events; choose --at-version N");
        }
        match page.next {
            Some(next) if until.is_none_or(|until| next <= until) => from = next,
            _ => return Ok(events),
        }
    }
}

fn given(event: Stored) -> Message {
    let (data, json) = body(event.data);
    Message {
        event: Some(event.r#type),
        schema_version: Some(event.schema_version),
        data,
        json,
        at: Some(event.recorded_at),
        metadata: metadata(&event.metadata),
        tags: event.tags,
        ..Message::default()
    }
}

fn when(command: Command) -> Message {
    let (data, json) = body(command.data);
    Message {
        command: Some(command.r#type),
        schema_version: Some(command.schema_version),
        data,
        json,
        at: Some(command.accepted_at),
        id: Some(command.id),
        seed: seed(&command.seed),
        principal: command.principal,
        metadata: metadata(&command.metadata.unwrap_or_default()),
        ..Message::default()
    }
}

fn expected(event: Stored) -> Event {
    let (data, json) = body(event.data);
    Event {
        event: event.r#type,
        schema_version: Some(event.schema_version),
        data,
        json,
        ..Event::default()
    }
}

/// A body in YAML, or as JSON text if YAML would change it.
fn body(body: Option<Box<RawValue>>) -> (Option<Json>, Option<String>) {
    let Some(body) = body else {
        return (None, None);
    };
    match Json::for_yaml(body.get()) {
        Some(data) => (Some(data), None),
        None => (None, Some(Json::literal(body.get()))),
    }
}

fn metadata(members: &Metadata) -> BTreeMap<String, Json> {
    let members = members.iter();
    let members = members.map(|(name, value)| (name.clone(), Json::from(&**value)));
    members.collect()
}

/// A seed of 64 hexadecimal digits.
fn seed(text: &str) -> Option<[u64; 4]> {
    let mut seed = [0; 4];
    for (number, part) in seed.iter_mut().enumerate() {
        let digits = text.get(number * 16..(number + 1) * 16)?;
        *part = u64::from_str_radix(digits, 16).ok()?;
    }
    Some(seed)
}
