//! Answers of the host as the pages read them. Data stay as they are, byte for byte.

use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::layout;
use super::text::{self, Untrusted};
use super::visitor::{Answer, Visitor};
use crate::failure::Result;
use quipu_api::Code;

#[derive(Deserialize)]
pub struct Log {
    pub events: Vec<Event>,
    pub next: Option<u64>,
    pub head: u64,
}

#[derive(Deserialize)]
pub struct StreamEvents {
    pub version: u64,
    pub truncated_before: Option<u64>,
    pub events: Vec<Event>,
    pub next: Option<u64>,
}

#[derive(Deserialize)]
pub struct Event {
    pub id: String,
    pub stream: String,
    pub version: u64,
    pub position: u64,
    #[serde(rename = "type")]
    pub name: String,
    pub schema_version: u32,
    pub part: Option<u32>,
    pub content_type: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub data_base64: Option<String>,
    pub metadata: Box<RawValue>,
    pub tags: Vec<String>,
    pub recorded_at: String,
    pub commit: Commit,
    /// Only of one event.
    pub command: Option<Command>,
    /// Only of one event.
    pub lifted: Option<Vec<Lifted>>,
    /// Only of one event.
    pub not_lifted: Option<String>,
}

#[derive(Deserialize)]
pub struct Commit {
    pub command_id: Option<String>,
    pub module: Option<String>,
    pub plan: u64,
    pub fuel: Option<u64>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    pub principal: Option<String>,
    pub traceparent: Option<String>,
}

#[derive(Deserialize)]
pub struct Command {
    pub id: String,
    #[serde(rename = "type")]
    pub name: String,
    pub schema_version: u32,
    pub content_type: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub data_base64: Option<String>,
    pub metadata: Box<RawValue>,
    pub accepted_at: String,
    pub seed: String,
}

#[derive(Deserialize)]
pub struct Lifted {
    #[serde(rename = "type")]
    pub name: String,
    pub schema_version: u32,
    pub part: Option<u32>,
    pub content_type: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub data_base64: Option<String>,
}

#[derive(Deserialize)]
pub struct State {
    pub version: u64,
    pub state: Box<RawValue>,
    pub module: String,
}

#[derive(Deserialize)]
pub struct Rejections {
    pub rejections: Vec<Rejection>,
    pub next: Option<u64>,
}

#[derive(Deserialize)]
pub struct Rejection {
    pub accepted_at: String,
    pub stream: String,
    pub version: u64,
    pub module: String,
    pub command_id: String,
    pub command: String,
    pub principal: Option<String>,
    pub content_type: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub data_base64: Option<String>,
    pub code: String,
    pub message: String,
    pub details: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub struct Streams {
    pub streams: Vec<StreamEntry>,
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub struct StreamEntry {
    pub stream: String,
    pub version: u64,
    pub recorded_at: String,
    pub archived_at: Option<String>,
    pub truncated_before: Option<u64>,
}

#[derive(Deserialize)]
pub struct Document {
    pub key: String,
    pub document: Box<RawValue>,
    pub change: u64,
    pub position: Option<u64>,
    #[serde(default)]
    pub stale: bool,
    pub parked: Option<ParkedDocument>,
}

#[derive(Deserialize)]
pub struct ParkedDocument {
    pub events: u64,
    pub first_position: u64,
    pub error: Option<String>,
}

#[derive(Deserialize)]
pub struct Documents {
    pub documents: Vec<Document>,
    pub next: Option<String>,
    pub position: u64,
    pub parked: u64,
}

macro_rules! with_data {
    ($($type:ident)*) => {
        $(impl $type {
            /// The data, within the limit of a page.
            pub fn data(&self, rest_from: &str) -> Markup {
                let base64 = self.data_base64.as_deref();
                let base64 = base64.map(|it| (self.content_type.as_deref().unwrap_or_default(), it));
                text::data(self.data.as_deref(), base64, rest_from)
            }
        })*
    };
}

with_data! { Event Command Lifted Rejection }

/// The beginning of data.
pub fn beginning(data: Option<&RawValue>, base64: Option<&str>) -> Markup {
    text::preview(data.map(RawValue::get).or(base64).unwrap_or("null"))
}

/// Asks for events as readers receive them, or as they are stored if one of them can't be lifted.
/// Then it also returns why.
///
/// # Errors
/// The problem with which the host answers.
pub async fn lifted_or_stored<T: DeserializeOwned>(
    visitor: &Visitor,
    path: &str,
) -> Result<(Answer<T>, Option<String>)> {
    let failure = match visitor.get(path).await {
        Ok(answer) => return Ok((answer, None)),
        Err(failure) => failure,
    };
    let codes = [Code::UnreadableEvent, Code::GuestFault];
    if !codes.iter().any(|code| failure.0.code == code.as_str()) {
        return Err(failure);
    }
    let answer = visitor.get(&format!("{path}&form=stored")).await?;
    Ok((answer, Some(failure.0.detail)))
}

/// Says that events are shown as they are stored.
pub fn not_lifted(why: Option<&str>) -> Markup {
    html! { @if let Some(why) = why { (layout::hidden("The lifted form of these events is", why)) } }
}

/// A table of events of several streams.
pub fn events(name: &str, events: &[Event]) -> Markup {
    let columns = [
        "Position",
        "Recorded at",
        "Stream",
        "Version",
        "Type",
        "Data",
        "By",
    ];
    let rows = html! { @for event in events { (event_row(event, true)) } };
    layout::table(name, &columns, &rows)
}

/// A row of a table of events.
pub fn event_row(event: &Event, with_stream: bool) -> Markup {
    html! {
        tr {
            td.number { (layout::position(event.position)) }
            td { (layout::time(&event.recorded_at)) }
            @if with_stream { td.name { (layout::stream(&event.stream)) } }
            td.number {
                a href=(layout::state_path(&event.stream, event.version, event.commit.module.as_deref())) { (event.version) }
            }
            td { (Untrusted(&event.name)) @if event.schema_version > 1 { " v" (event.schema_version) } @if let Some(part) = event.part { " part " (part) } }
            td.wide { (beginning(event.data.as_deref(), event.data_base64.as_deref())) }
            td { (layout::or_dash(event.commit.principal.as_deref().map(Untrusted))) }
        }
    }
}

/// A table of rejections.
pub fn rejections(rejections: &[&Rejection]) -> Markup {
    let columns = [
        "Accepted at",
        "Stream",
        "Version",
        "Command",
        "Code",
        "Message",
        "Data",
        "Module",
        "By",
    ];
    let rows = html! {
        @for it in rejections {
            tr {
                td { (layout::time(&it.accepted_at)) }
                td.name { (layout::stream(&it.stream)) }
                td.number {
                    a href=(layout::state_path(&it.stream, it.version, Some(&it.module))) { (it.version) }
                }
                td { (Untrusted(&it.command)) br; (layout::trace(&it.command_id)) }
                td.name { code { (Untrusted(&it.code)) } }
                td.text { (Untrusted(text::cut(&it.message, 500).0)) }
                td.wide {
                    details { summary { (beginning(it.data.as_deref(), it.data_base64.as_deref())) } (it.data("quipu rejections --json"))
                        @if let Some(details) = &it.details { p { "Details" } (text::json(details.get(), "quipu rejections --json")) }
                    }
                }
                td { (layout::module(&it.module)) }
                td { (layout::or_dash(it.principal.as_deref().map(Untrusted))) }
            }
        }
    };
    layout::table("Rejections", &columns, &rows)
}
