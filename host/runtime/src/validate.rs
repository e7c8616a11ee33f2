//! Checks the answers of a guest against the contract and its own manifest.

use std::sync::Arc;

use bytes::Bytes;

use super::bindings::decider::SnapshotResult;
use super::bindings::types::{self as wit, BodyResult};
use super::fault::{Broken, FaultKind, bounded, quoted};
use super::{Failure, Fuel, Limits, Manifest, Snapshot};
use quipu_model::{
    AppendLimits, Body, ContentType, MessageType, NewEvent, Rejection, check_json, fresh_id,
};

/// The result of a decision and its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The result.
    pub outcome: Outcome,
    /// Fuel used. It is equal whenever the same guest makes the same decision in an instance with
    /// the same history, and similar in other instances.
    pub fuel: Fuel,
}

/// The answer of a decider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Events to be recorded; empty when nothing is to happen. Each has a new id, which is not part
    /// of the decision.
    Events(Vec<NewEvent>),
    /// The domain says no.
    Rejected(Rejection),
    /// The guest can't read the command. Contains a message for people.
    BadCommand(String),
}

impl Outcome {
    /// Whether two guests gave the same answer.
    pub fn is_same(&self, other: &Self) -> bool {
        let (Self::Events(events), Self::Events(others)) = (self, other) else {
            return self == other;
        };
        let mut pairs = events.iter().zip(others);
        events.len() == others.len() && pairs.all(|(one, other)| one.is_same_decision(other))
    }
}

/// Media type of a binary body whose type is in no manifest.
const OPAQUE: &str = "application/octet-stream";
/// Longest code of a rejection, and longest name and value of an annotation, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Highest number of annotations of an event.
const ANNOTATIONS_MAX: usize = 64;
/// Prefix of the annotations that only the host may set.
const RESERVED: &str = "quipu.";

/// Checks the answers of one module.
pub(super) struct Answers<'a> {
    pub manifest: &'a Manifest,
    pub limits: &'a Limits,
}

type Checked<T> = Result<T, Broken>;

impl Answers<'_> {
    pub(super) fn outcome(
        &self,
        answer: Result<Vec<wit::NewEvent>, wit::DecideError>,
    ) -> Checked<Outcome> {
        match answer {
            Ok(events) => self.events(events).map(Outcome::Events),
            Err(wit::DecideError::Rejected(rejection)) => {
                self.rejection(rejection).map(Outcome::Rejected)
            }
            Err(wit::DecideError::BadCommand(text)) => {
                self.check_text("the text of a bad command", &text)?;
                Ok(Outcome::BadCommand(text))
            }
            Err(wit::DecideError::Internal(text)) => Err(internal(&text)),
        }
    }

    /// Checks a snapshot, which must have the given state schema version.
    pub(super) fn snapshot(&self, named: u32, snapshot: SnapshotResult) -> Checked<Snapshot> {
        let found = snapshot.state_schema_version;
        if found != named {
            return Err(contract(format!(
                "a snapshot of state schema version {found}, the manifest says {named}"
            )));
        }
        Ok(Snapshot {
            state_schema_version: found,
            body: opaque("snapshot", snapshot.body)?,
        })
    }

    pub(super) fn view(&self, view: String) -> Checked<String> {
        check_json(view.as_bytes()).map_err(|error| contract(format!("view: {error}")))?;
        Ok(view)
    }

    fn events(&self, events: Vec<wit::NewEvent>) -> Checked<Vec<NewEvent>> {
        let max = self.limits.decision.events_max;
        if events.len() > max {
            return Err(too_large("events of a decision", events.len(), max));
        }
        let events = events
            .into_iter()
            .map(|event| self.event(event))
            .collect::<Checked<Vec<_>>>()?;
        self.limits
            .decision
            .check(&events)
            .map_err(|error| too_large(error.what, error.found, error.max))?;
        Ok(events)
    }

    fn event(&self, event: wit::NewEvent) -> Checked<NewEvent> {
        let Some(kind) = self.canonical(&event.type_) else {
            let name = quoted(&event.type_, NAME_BYTES_MAX);
            return Err(contract(format!(
                "event type {name} is none that the manifest names"
            )));
        };
        let (name, named) = (&kind.name, kind.schema_version);
        if event.schema_version != named {
            let found = event.schema_version;
            return Err(contract(format!(
                "event {name} of schema version {found}, the manifest says {named}"
            )));
        }
        let bytes = body_len(&event.body);
        if bytes > self.limits.decision.event_bytes_max {
            let max = self.limits.decision.event_bytes_max;
            return Err(too_large("bytes per event", bytes, max));
        }
        Ok(NewEvent {
            id: fresh_id(),
            id_is_callers: false,
            name: name.clone(),
            schema_version: named,
            body: body_as(kind, event.body)?,
            metadata: metadata(name.as_str(), &event.annotations)?,
            tags: tags(name.as_str(), event.tags, &self.limits.decision)?,
        })
    }

    /// Returns the type with this canonical name. Aliases are names of old events, so a guest must
    /// not write them.
    fn canonical(&self, name: &str) -> Option<&MessageType> {
        let mut known = self.manifest.events.iter();
        known.find(|known| known.name.as_str() == name)
    }

    fn rejection(&self, rejection: wit::Rejection) -> Checked<Rejection> {
        let wit::Rejection {
            code,
            message,
            details,
        } = rejection;
        if code.len() > NAME_BYTES_MAX {
            return Err(too_large(
                "bytes of a rejection's code",
                code.len(),
                NAME_BYTES_MAX,
            ));
        }
        if code.is_empty() || code.chars().any(char::is_control) {
            return Err(contract(format!(
                "a rejection's code {} is empty or holds a control character",
                quoted(&code, NAME_BYTES_MAX)
            )));
        }
        self.check_text("a rejection's message", &message)?;
        let details = details
            .map(|details| {
                let (found, max) = (body_len(&details), self.limits.decision.event_bytes_max);
                if found > max {
                    return Err(too_large("bytes of a rejection's details", found, max));
                }
                opaque("details of a rejection", details)
            })
            .transpose()?;
        Ok(Rejection {
            code,
            message,
            details,
        })
    }

    fn check_text(&self, what: &str, text: &str) -> Checked<()> {
        let (found, max) = (text.len(), self.limits.message_bytes_max);
        if found <= max {
            return Ok(());
        }
        Err(too_large(&format!("bytes of {what}"), found, max))
    }
}

/// Converts a guest's error about folding. Its text is shortened: it ends a call that has failed
/// anyway.
pub(super) fn failure(error: wit::FoldError, limits: &Limits) -> Result<Failure, Broken> {
    let cut = |text: String| bounded(&text, limits.message_bytes_max).to_owned();
    match error {
        wit::FoldError::UnknownEvent(text) => Ok(Failure::UnknownEvent(cut(text))),
        wit::FoldError::BadEvent(text) => Ok(Failure::BadEvent(cut(text))),
        wit::FoldError::Internal(text) => Err(internal(&text)),
    }
}

fn body_as(kind: &MessageType, body: BodyResult) -> Checked<Body> {
    let name = &kind.name;
    match (body, &kind.content_type) {
        (BodyResult::Json(text), ContentType::Json) => {
            Body::json(text).map_err(|error| contract(format!("event {name}: {error}")))
        }
        (BodyResult::Binary(bytes), other @ ContentType::Other(_)) => {
            Body::new(other.clone(), bytes)
                .map_err(|error| contract(format!("event {name}: {error}")))
        }
        (BodyResult::Json(_), other) => Err(contract(format!(
            "event {name} with a JSON body, the manifest says {other}"
        ))),
        (BodyResult::Binary(_), json) => Err(contract(format!(
            "event {name} with a binary body, the manifest says {json}"
        ))),
    }
}

/// Checks a body returned by an upcaster. Binary data keeps its content type.
pub(super) fn lifted_body(
    name: &quipu_model::Name,
    old: &Body,
    body: BodyResult,
    bytes_max: usize,
) -> Checked<Body> {
    let bytes = body_len(&body);
    if bytes > bytes_max {
        return Err(too_large("bytes of a lifted event", bytes, bytes_max));
    }
    let checked = match body {
        BodyResult::Json(text) => Body::json(text),
        BodyResult::Binary(bytes) => {
            let content_type = match old.content_type() {
                ContentType::Json => ContentType::Other(OPAQUE.into()),
                other @ ContentType::Other(_) => other.clone(),
            };
            Body::new(content_type, bytes)
        }
    };
    checked.map_err(|error| contract(format!("lifted event {name}: {error}")))
}

/// Checks a body whose content type is in no manifest.
fn opaque(what: &str, body: BodyResult) -> Checked<Body> {
    let checked = match body {
        BodyResult::Json(text) => Body::json(text),
        BodyResult::Binary(bytes) => Body::new(ContentType::Other(OPAQUE.into()), bytes),
    };
    checked.map_err(|error| contract(format!("{what}: {error}")))
}

fn body_len(body: &BodyResult) -> usize {
    match body {
        BodyResult::Json(text) => text.len(),
        BodyResult::Binary(bytes) => bytes.len(),
    }
}

/// Converts an event's own annotations to the JSON object that is stored. `None` if there are none.
fn metadata(event: &str, annotations: &[(String, String)]) -> Checked<Option<Bytes>> {
    if annotations.is_empty() {
        return Ok(None);
    }
    let found = annotations.len();
    if found > ANNOTATIONS_MAX {
        return Err(too_large("annotations of an event", found, ANNOTATIONS_MAX));
    }
    let mut object = serde_json::Map::with_capacity(found);
    for (name, value) in annotations {
        let longest = name.len().max(value.len());
        if longest > NAME_BYTES_MAX {
            return Err(too_large("bytes of an annotation", longest, NAME_BYTES_MAX));
        }
        let quoted = || quoted(name, NAME_BYTES_MAX);
        if name.is_empty() || name.starts_with(RESERVED) {
            return Err(contract(format!(
                "event {event}: annotation {} is empty or the host's",
                quoted()
            )));
        }
        let before = object.insert(name.clone(), value.clone().into());
        if before.is_some() {
            return Err(contract(format!(
                "event {event}: annotation {} twice",
                quoted()
            )));
        }
    }
    let text = serde_json::Value::Object(object).to_string();
    Ok(Some(Bytes::from(text)))
}

fn tags(event: &str, tags: Vec<String>, limits: &AppendLimits) -> Checked<Vec<Arc<str>>> {
    if tags.len() > limits.tags_max {
        return Err(too_large("tags per event", tags.len(), limits.tags_max));
    }
    tags.into_iter()
        .map(|tag| {
            let has_name = tag
                .split_once(':')
                .is_some_and(|(name, _)| !name.is_empty());
            if has_name && !tag.chars().any(char::is_control) {
                return Ok(tag.into());
            }
            let tag = quoted(&tag, NAME_BYTES_MAX);
            Err(contract(format!(
                "event {event}: tag {tag} is not name:value"
            )))
        })
        .collect()
}

fn internal(text: &str) -> Broken {
    Broken::new(
        FaultKind::Internal,
        format!("it says {}", quoted(text, 2_000)),
    )
}

pub(super) fn contract(text: String) -> Broken {
    Broken::new(FaultKind::Contract, text)
}

pub(super) fn too_large(what: &str, found: usize, max: usize) -> Broken {
    let text = format!("{what}: {found} is more than {max}");
    Broken::new(FaultKind::OutputTooLarge, text)
}
