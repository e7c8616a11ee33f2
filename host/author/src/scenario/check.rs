use std::collections::BTreeMap;

use quipu::model::{Body, NewEvent, RecordedEvent, is_same_json};
use quipu::runtime::Outcome;
use serde_json::value::RawValue;

use super::difference::{Difference, NULL, compare};
use super::play::Played;
use super::{Event, Expected, Rejected};

/// Compares what came of a scenario with what is expected.
pub(super) fn check(expected: &Expected, played: &Played) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(outcome) = &played.outcome {
        differences.extend(answer(expected, outcome));
    }
    if let Some(state) = &expected.state {
        match &played.state {
            Some(found) => differences.extend(compare("state", state.as_str(), found)),
            None => differences.push(Difference::new(
                "state",
                state.as_str(),
                "nothing: there is no decider, or it does not show its state",
            )),
        }
    }
    if let Some(lifted) = &expected.lifted {
        let found: Vec<EventParts<'_>> = played.lifted.iter().map(EventParts::from).collect();
        differences.extend(events("lifted event", lifted, &found));
    }
    for (projection, wanted) in &expected.documents {
        let Some(found) = played.documents.get(projection) else {
            let known: Vec<&str> = played.documents.keys().map(String::as_str).collect();
            differences.push(Difference::problem(format!(
                "no component defines projection {projection}; there is {}",
                listed(&known)
            )));
            continue;
        };
        for (key, wanted) in wanted {
            let place = format!("document {projection} {key}");
            let found = found.get(key).map_or(NULL, String::as_str);
            differences.extend(compare(&place, wanted.as_str(), found));
        }
    }
    differences
}

/// Compares the answer to the command.
fn answer(expected: &Expected, outcome: &Outcome) -> Vec<Difference> {
    let found = describe(outcome);
    match (outcome, expected) {
        (
            Outcome::Events(found),
            Expected {
                events: Some(wanted),
                ..
            },
        ) => {
            let found: Vec<EventParts<'_>> = found.iter().map(EventParts::from).collect();
            events("event", wanted, &found)
        }
        (
            _,
            Expected {
                events: Some(wanted),
                ..
            },
        ) => {
            let names: Vec<&str> = wanted.iter().map(|event| event.event.as_str()).collect();
            let wanted = format!("accepted with {}", listed(&names));
            vec![Difference::new("answer", &wanted, &found)]
        }
        (
            Outcome::Rejected(rejection),
            Expected {
                rejected: Some(wanted),
                ..
            },
        ) => {
            let (code, message, details) = match wanted {
                Rejected::Code(code) => (code, None, None),
                Rejected::Full(full) => (&full.code, full.message.as_ref(), full.details.as_ref()),
            };
            let mut differences = Vec::new();
            if *code != rejection.code {
                let wanted = format!("rejected as {code}");
                differences.push(Difference::new("answer", &wanted, &found));
            }
            if let Some(message) = message.filter(|it| **it != rejection.message) {
                differences.push(Difference::new("message", message, &rejection.message));
            }
            if let Some(details) = details {
                let found = rejection.details.as_ref().and_then(Body::as_json);
                let found = found.unwrap_or(NULL);
                differences.extend(compare("details", details.as_str(), found));
            }
            differences
        }
        (
            _,
            Expected {
                rejected: Some(wanted),
                ..
            },
        ) => {
            let (Rejected::Code(code) | Rejected::Full(super::FullRejection { code, .. })) = wanted;
            let wanted = format!("rejected as {code}");
            vec![Difference::new("answer", &wanted, &found)]
        }
        (
            Outcome::BadCommand(text),
            Expected {
                invalid_command: Some(part),
                ..
            },
        ) => match text.contains(part.as_str()) {
            true => Vec::new(),
            false => vec![Difference::new(
                "answer",
                &format!("can't read it: …{part}…"),
                text,
            )],
        },
        (
            _,
            Expected {
                invalid_command: Some(_),
                ..
            },
        ) => {
            vec![Difference::new("answer", "can't read the command", &found)]
        }
        // Only the state or documents are expected: then the command must be accepted.
        (Outcome::Events(_), _) => Vec::new(),
        _ => vec![Difference::new("answer", "accepted", &found)],
    }
}

/// An answer in words.
fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Events(events) if events.is_empty() => "accepted without events".to_owned(),
        Outcome::Events(events) => {
            let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
            format!("accepted with {}", listed(&names))
        }
        Outcome::Rejected(rejection) => {
            format!("rejected as {}: {}", rejection.code, rejection.message)
        }
        Outcome::BadCommand(text) => format!("can't read the command: {text}"),
    }
}

/// What decided and lifted events have in common.
struct EventParts<'a> {
    name: &'a str,
    schema_version: u32,
    body: &'a Body,
    metadata: Option<&'a [u8]>,
    tags: Vec<&'a str>,
}

impl<'a> From<&'a NewEvent> for EventParts<'a> {
    fn from(event: &'a NewEvent) -> Self {
        Self {
            name: event.name.as_str(),
            schema_version: event.schema_version,
            body: &event.body,
            metadata: event.metadata.as_deref(),
            tags: event.tags.iter().map(|tag| &**tag).collect(),
        }
    }
}

impl<'a> From<&'a RecordedEvent> for EventParts<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            name: event.name.as_str(),
            schema_version: event.schema_version,
            body: &event.body,
            metadata: event.metadata.as_deref(),
            tags: event.tags.iter().map(|tag| &**tag).collect(),
        }
    }
}

fn events(what: &str, wanted: &[Event], found: &[EventParts<'_>]) -> Vec<Difference> {
    let same_types = wanted.len() == found.len()
        && wanted
            .iter()
            .zip(found)
            .all(|(one, other)| one.event == other.name);
    if !same_types {
        let wanted: Vec<&str> = wanted.iter().map(|event| event.event.as_str()).collect();
        let found: Vec<&str> = found.iter().map(|event| event.name).collect();
        let place = format!("{what}s");
        return vec![Difference::new(&place, &listed(&wanted), &listed(&found))];
    }
    let mut differences = Vec::new();
    for (number, (wanted, found)) in (1..).zip(wanted.iter().zip(found)) {
        let place = format!("{what} {number} {}", wanted.event);
        differences.extend(event(&place, wanted, found));
    }
    differences
}

fn event(place: &str, wanted: &Event, found: &EventParts<'_>) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(version) = wanted
        .schema_version
        .filter(|it| *it != found.schema_version)
    {
        let place = format!("{place} schema_version");
        let found = found.schema_version.to_string();
        differences.push(Difference::new(&place, &version.to_string(), &found));
    }
    let text = found.body.as_json();
    if let Some(json) = &wanted.json {
        let is_same = text.is_some_and(|text| is_same_json(json.as_bytes(), text.as_bytes()));
        if !is_same {
            differences.push(Difference::new(
                place,
                json,
                text.unwrap_or("a binary body"),
            ));
        }
    }
    if let Some(data) = &wanted.data {
        match text {
            Some(text) => differences.extend(compare(place, data.as_str(), text)),
            None => differences.push(Difference::new(place, data.as_str(), "a binary body")),
        }
    }
    if let Some(tags) = wanted.tags.as_ref().filter(|tags| **tags != found.tags) {
        let place = format!("{place} tags");
        let wanted: Vec<&str> = tags.iter().map(String::as_str).collect();
        differences.push(Difference::new(
            &place,
            &listed(&wanted),
            &listed(&found.tags),
        ));
    }
    let metadata = found
        .metadata
        .and_then(|bytes| serde_json::from_slice::<BTreeMap<String, &RawValue>>(bytes).ok());
    for (name, wanted) in &wanted.metadata {
        let found = metadata.as_ref().and_then(|metadata| metadata.get(name));
        let found = found.map_or(NULL, |value| value.get());
        let place = format!("{place} metadata {name}");
        differences.extend(compare(&place, wanted.as_str(), found));
    }
    differences
}

/// Names in a sentence.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}
