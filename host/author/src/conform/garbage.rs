//! What a guest does with input that it can't know or read.

use std::sync::Arc;

use quipu::model::{Body, CommandId, CommandRecord, Context, Name, Timestamp, Version};
use quipu::runtime::{Aggregate, Failure, FoldEvent, Instance, Module, Outcome, Snapshot};

use super::Findings;
use super::rules::{
    GARBAGE_COMMAND, GARBAGE_EVENT, GARBAGE_SNAPSHOT, UNKNOWN_COMMAND, UNKNOWN_EVENT,
};
use crate::scenario::play::History;

/// A type that no guest declares.
const UNKNOWN: &str = "quipu-conform-unknown";
/// Levels of a deeply nested body: as many as a host accepts.
const DEPTH: usize = 100;

pub(super) fn check(findings: &mut Findings, module: &Arc<Module>, histories: &[&History]) {
    findings.add(module, &UNKNOWN_COMMAND, unknown_command(module));
    findings.add(module, &GARBAGE_COMMAND, garbage_command(module, histories));
    findings.add(module, &UNKNOWN_EVENT, unknown_event(module));
    findings.add(module, &GARBAGE_EVENT, garbage_event(module));
    findings.add(
        module,
        &GARBAGE_SNAPSHOT,
        garbage_snapshot(module, histories),
    );
}

/// Bodies that fit hardly any type.
fn bodies() -> Vec<Body> {
    let deep = format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let long = format!("{:?}", "x".repeat(100_000));
    let texts = [
        "null",
        "true",
        "[]",
        "\"\"",
        "1e308",
        "-1",
        "123456789012345678901234567890",
        r#"{"amount":"x","id":null,"a":[{}]}"#,
        r#"{"":{"":[]}}"#,
        &deep,
        &long,
    ];
    texts
        .iter()
        .filter_map(|text| Body::json((*text).to_owned()).ok())
        .collect()
}

fn command(name: &str, body: Body) -> Option<CommandRecord> {
    Some(CommandRecord {
        id: CommandId::new("conform").ok()?,
        name: Name::new(name).ok()?,
        schema_version: 1,
        body,
        metadata: None,
        context: Context::default(),
        accepted_at: Timestamp(1_767_225_600_000_000),
        seed: [1, 2, 3, 4],
    })
}

fn opened(module: &Arc<Module>) -> Result<(Instance, Aggregate), String> {
    let mut instance = Instance::new(module).map_err(|fault| fault.to_string())?;
    let aggregate = instance
        .open("1", None)
        .map_err(|error| error.to_string())?;
    Ok((instance, aggregate))
}

fn unknown_command(module: &Arc<Module>) -> Result<(), String> {
    let (mut instance, aggregate) = opened(module)?;
    let Some(command) = command(UNKNOWN, Body::empty()) else {
        return Ok(());
    };
    match instance.decide(&aggregate, &command, &Vec::new()) {
        Ok(decided) => match decided.outcome {
            Outcome::BadCommand(_) => Ok(()),
            Outcome::Events(_) => Err(format!("command {UNKNOWN} is accepted")),
            Outcome::Rejected(rejection) => Err(format!(
                "command {UNKNOWN} is rejected as {}",
                rejection.code
            )),
        },
        Err(error) => Err(format!("command {UNKNOWN}: {error}")),
    }
}

/// Tries every body on an empty aggregate, and on one in the middle of a history.
fn garbage_command(module: &Arc<Module>, histories: &[&History]) -> Result<(), String> {
    let types = module.manifest().commands.iter();
    for known in types.filter(|it| it.content_type.as_str() == "application/json") {
        for body in bodies() {
            let longest = histories.iter().max_by_key(|it| it.events.len());
            for events in [&[][..], longest.map_or(&[][..], |it| &it.events)] {
                let (mut instance, aggregate) = opened(module)?;
                let events: Vec<FoldEvent<'_>> = events.iter().map(FoldEvent::from).collect();
                let folded = instance.apply(&aggregate, &events);
                folded.map_err(|error| error.to_string())?;
                let Some(mut command) = command(known.name.as_str(), body.clone()) else {
                    continue;
                };
                command.schema_version = known.schema_version;
                let decided = instance.decide(&aggregate, &command, &Vec::new());
                decided.map_err(|error| describe(&known.name, &body, &error))?;
            }
        }
    }
    Ok(())
}

fn unknown_event(module: &Arc<Module>) -> Result<(), String> {
    let (mut instance, aggregate) = opened(module)?;
    let Ok(name) = Name::new(UNKNOWN) else {
        return Ok(());
    };
    let body = Body::empty();
    match instance.apply(&aggregate, &[event(&name, 1, &body)]) {
        Ok(_) => Err(format!("event {UNKNOWN} is skipped")),
        Err(Failure::UnknownEvent(_)) => Ok(()),
        Err(error) => Err(format!("event {UNKNOWN}: {error}")),
    }
}

fn garbage_event(module: &Arc<Module>) -> Result<(), String> {
    let types = module.manifest().events.iter();
    for known in types.filter(|it| it.content_type.as_str() == "application/json") {
        for body in bodies() {
            let (mut instance, aggregate) = opened(module)?;
            let events = [event(&known.name, known.schema_version, &body)];
            if let Err(error @ Failure::Fault(_)) = instance.apply(&aggregate, &events) {
                return Err(describe(&known.name, &body, &error));
            }
        }
    }
    Ok(())
}

fn garbage_snapshot(module: &Arc<Module>, histories: &[&History]) -> Result<(), String> {
    let state_schema_version = module.manifest().state_schema_version;
    let mut tried = bodies();
    // A real snapshot that was cut off in the middle is no JSON; the host would not pass it on. So
    // its members are taken away instead.
    for history in histories {
        let (mut instance, aggregate) = opened(module)?;
        let events: Vec<FoldEvent<'_>> = history.events.iter().map(FoldEvent::from).collect();
        instance
            .apply(&aggregate, &events)
            .map_err(|error| error.to_string())?;
        let snapshot = instance
            .snapshot(&aggregate)
            .map_err(|error| error.to_string())?;
        let text = snapshot.as_ref().and_then(|it| it.body.as_json());
        let Some(serde_json::Value::Object(members)) =
            text.and_then(|text| serde_json::from_str(text).ok())
        else {
            continue;
        };
        for name in members.keys() {
            let mut fewer = members.clone();
            fewer.remove(name);
            let text = serde_json::Value::Object(fewer).to_string();
            tried.extend(Body::json(text).ok());
        }
    }
    for body in tried {
        let mut instance = Instance::new(module).map_err(|fault| fault.to_string())?;
        let snapshot = Snapshot {
            state_schema_version,
            body,
        };
        if let Err(error @ Failure::Fault(_)) = instance.open("1", Some(&snapshot)) {
            return Err(describe("snapshot", &snapshot.body, &error));
        }
    }
    Ok(())
}

fn event<'a>(name: &'a Name, schema_version: u32, body: &'a Body) -> FoldEvent<'a> {
    FoldEvent {
        name,
        schema_version,
        version: Version(1),
        recorded_at: Timestamp(1_767_225_600_000_000),
        body,
    }
}

fn describe(name: impl std::fmt::Display, body: &Body, error: &Failure) -> String {
    let text: String = body
        .as_json()
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect();
    format!("{name} with body {text}: {error}")
}
