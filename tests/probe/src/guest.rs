#![allow(missing_docs, unsafe_code, unused_qualifications, clippy::all)]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::projection::Projection;
use exports::quipu::domain::{decider, manifest, upcaster};
use quipu::domain::types;

include!("generated/bindings.rs");

pub struct Probe;
export!(Probe);

#[derive(Deserialize)]
pub struct Config {
    name: String,
    version: String,
    state: u32,
    migrations: Vec<(u32, u32)>,
    events: Vec<(String, u32, Vec<String>)>,
    /// The JSON Schema of the command `note`.
    #[serde(default)]
    schema: String,
    /// The JSON Schema of every event.
    #[serde(default)]
    event_schema: String,
    #[serde(default)]
    unchanged: Vec<(String, u32)>,
    /// The JSON Schemas of the documents of projections.
    #[serde(default)]
    document_schemas: Vec<(String, String)>,
    steps: Vec<Step>,
    /// The effect of writing and opening its snapshots: "as-it-is", "none", "refuse", "trap",
    /// "lie".
    snapshots: String,
    #[serde(default)]
    pub projections: Vec<Projection>,
    /// The effect of deciding on a body with the word `odd`: "other", "reject", "reject-otherwise",
    /// "reject-nul", "bad-command", "trap"; or on any body: "slow", "moody", "rename".
    #[serde(default)]
    decides: String,
    /// The effect of folding a body with the word `rare`: "trap".
    #[serde(default)]
    folds: String,
    /// Keeps the contract of guests in everything but this rule of `quipu conform`; "none": in
    /// everything.
    #[serde(default)]
    pub breaks: String,
}

/// Whether this is a guest that breaks a rule.
pub fn breaks(rule: &str) -> bool {
    config().breaks == rule
}

/// Whether this guest keeps the rules that the other tests do not need.
fn is_strict() -> bool {
    !config().breaks.is_empty()
}

/// A number that is one higher at every call in this instance.
pub fn turn() -> u32 {
    TURN.fetch_add(1, Ordering::Relaxed)
}

/// Events that this instance has folded.
static FOLDED: AtomicU32 = AtomicU32::new(0);

#[derive(Deserialize)]
pub struct Step {
    category: String,
    r#type: String,
    from: u32,
    to: Vec<(String, u32)>,
    /// "lift", "same", "twice", "trap", "bad-event", "bad-event-twice", "undeclared", "too-few".
    does: String,
}

const fn room() -> [u8; crate::BYTES] {
    let mut bytes = [b' '; crate::BYTES];
    let mut at = 0;
    while at < crate::MARK.len() {
        bytes[at] = crate::MARK[at];
        at += 1;
    }
    bytes
}

static ROOM: [u8; crate::BYTES] = room();

pub fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let room: &[u8; crate::BYTES] = std::hint::black_box(&ROOM);
        serde_json::from_slice(&room[crate::MARK.len()..]).unwrap()
    })
}

/// The current form of a type: the result of its step, or the name whose alias it is.
fn renamed(name: String) -> Vec<String> {
    let step = config().steps.iter().find(|step| step.r#type == name);
    if let Some(step) = step {
        return step.to.iter().map(|to| to.0.clone()).collect();
    }
    let events = &config().events;
    let alias = events.iter().find(|known| known.2.contains(&name));
    vec![alias.map_or(name, |known| known.0.clone())]
}

fn message_type(name: &str, schema_version: u32, aliases: &[String]) -> manifest::MessageType {
    manifest::MessageType {
        type_: name.to_owned(),
        schema_version,
        aliases: aliases.to_vec(),
        content_type: "application/json".to_owned(),
        json_schema: String::new(),
    }
}

impl manifest::Guest for Probe {
    fn describe() -> manifest::Info {
        let config = config();
        let events = config.events.iter();
        let unchanged = config.unchanged.iter();
        let unchanged =
            unchanged.map(|(name, since)| (format!("unchanged.{name}"), since.to_string()));
        let documents = config.document_schemas.iter();
        let documents =
            documents.map(|(name, schema)| (format!("document-schema.{name}"), schema.clone()));
        manifest::Info {
            name: config.name.clone(),
            version: config.version.clone(),
            state_schema_version: config.state,
            migrations: config.migrations.clone(),
            commands: vec![manifest::MessageType {
                json_schema: match breaks("command-schemas") {
                    true => r#"{"maxItems": 0}"#.to_owned(),
                    false => config.schema.clone(),
                },
                ..message_type("note", 1, &[])
            }],
            events: events
                .map(|(name, version, aliases)| manifest::MessageType {
                    json_schema: config.event_schema.clone(),
                    ..message_type(name, *version, aliases)
                })
                .collect(),
            annotations: match breaks("describes") {
                true => vec![("turn".to_owned(), turn().to_string())],
                false => unchanged.chain(documents).collect(),
            },
        }
    }
}

/// The number of decisions of this instance.
static TURN: AtomicU32 = AtomicU32::new(0);

/// The state in its stored form.
#[derive(Serialize, Deserialize, Default, Clone)]
pub struct State {
    /// The migrations that it has gone through.
    migrated: Vec<u32>,
    seen: Vec<String>,
}

pub struct Held(RefCell<State>);

impl decider::Guest for Probe {
    type Aggregate = Held;

    fn migrate(old: decider::Snapshot) -> Option<decider::Snapshot> {
        let mut migrations = config().migrations.iter();
        let (from, to) = migrations.find(|(from, _)| *from == old.state_schema_version)?;
        let types::Body::Json(text) = old.body else {
            return None;
        };
        let mut state: State = serde_json::from_str(&text).ok()?;
        state.migrated.push(*from);
        Some(decider::Snapshot {
            state_schema_version: *to,
            body: types::Body::Json(serde_json::to_string(&state).ok()?),
        })
    }
}

impl decider::GuestAggregate for Held {
    fn open(
        _id: String,
        from: Option<decider::Snapshot>,
    ) -> Result<decider::Aggregate, types::FoldError> {
        let mut state = State::default();
        if breaks("closed") {
            std::hint::black_box(Box::leak(vec![1_u8; 50_000].into_boxed_slice()));
        }
        if let Some(snapshot) = from {
            match config().snapshots.as_str() {
                "refuse" => return Err(types::FoldError::Internal("not this one".to_owned())),
                "trap" => panic!("it does not open snapshots"),
                _ => {}
            }
            let types::Body::Json(text) = snapshot.body else {
                return Err(types::FoldError::BadEvent("binary".to_owned()));
            };
            if breaks("garbage-snapshot") {
                serde_json::from_str::<State>(&text).unwrap();
            }
            state = serde_json::from_str(&text).map_err(|error| {
                let text: String = error.to_string().chars().take(1_000).collect();
                types::FoldError::BadEvent(text)
            })?;
        }
        Ok(decider::Aggregate::new(Held(RefCell::new(state))))
    }

    fn apply(&self, events: Vec<types::Event>) -> Result<(), types::FoldError> {
        let mut state = self.0.borrow_mut();
        if breaks("batching") {
            state.seen.push("a call".to_owned());
        }
        for event in events {
            FOLDED.fetch_add(1, Ordering::Relaxed);
            let is_known = config().events.iter().any(|known| known.0 == event.type_);
            if is_strict() && !is_known && !breaks("unknown-event") {
                return Err(types::FoldError::UnknownEvent(event.type_));
            }
            let types::Body::Json(body) = event.body else {
                return Err(types::FoldError::BadEvent("binary".to_owned()));
            };
            if breaks("garbage-event") {
                serde_json::from_str::<serde_json::Map<String, Value>>(&body).unwrap();
            }
            if config().folds == "trap" && body.contains("rare") {
                panic!("it does not fold {body}");
            }
            let seen = format!("{}@{} {body}", event.type_, event.schema_version);
            state.seen.push(seen);
        }
        Ok(())
    }

    fn decide(&self, command: types::Command) -> Result<Vec<types::NewEvent>, types::DecideError> {
        let types::Body::Json(body) = command.body else {
            return Err(types::DecideError::BadCommand("binary".to_owned()));
        };
        let is_odd = body.contains("odd");
        if is_strict() && command.type_ != "note" {
            return match breaks("unknown-command") {
                true => Ok(Vec::new()),
                false => Err(types::DecideError::BadCommand("not a note".to_owned())),
            };
        }
        if breaks("garbage-command") {
            serde_json::from_str::<Vec<(String, Value)>>(&body).unwrap();
        }
        if breaks("unchanged") {
            self.0.borrow_mut().seen.push("a decision".to_owned());
        }
        if breaks("fuel") {
            std::hint::black_box(
                (0..30_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)),
            );
        }
        let body = match () {
            () if breaks("pure") => body.replace('}', &format!(",\"turn\":{}}}", turn())),
            () if breaks("isolated") => {
                let folded = FOLDED.load(Ordering::Relaxed);
                body.replace('}', &format!(",\"folded\":{folded}}}"))
            }
            () if breaks("event-schemas") => body.replace("4", "\"four\""),
            () => body,
        };
        match config().decides.as_str() {
            "reject" if is_odd => {
                return Err(types::DecideError::Rejected(types::Rejection {
                    code: "too-odd".to_owned(),
                    message: "it is too odd".to_owned(),
                    details: None,
                }));
            }
            "reject-otherwise" if is_odd => {
                return Err(types::DecideError::Rejected(types::Rejection {
                    code: "very-odd".to_owned(),
                    message: "it is very odd".to_owned(),
                    details: None,
                }));
            }
            "reject-nul" if is_odd => {
                return Err(types::DecideError::Rejected(types::Rejection {
                    code: "odd".to_owned(),
                    message: "it is \0 odd".to_owned(),
                    details: None,
                }));
            }
            "bad-command" if is_odd => {
                return Err(types::DecideError::BadCommand("it is odd".to_owned()));
            }
            "trap" if is_odd => panic!("it is odd"),
            "slow" => {
                std::hint::black_box(
                    (0..2_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)),
                );
            }
            _ => {}
        }
        let body = match config().decides.as_str() {
            "other" => body.replace("odd", "even"),
            "moody" => {
                let turn = TURN.fetch_add(1, Ordering::Relaxed);
                body.replace('}', &format!(",\"turn\":{turn}}}"))
            }
            _ => body,
        };
        let events: Vec<(String, Box<RawValue>)> =
            serde_json::from_str(&body).map_err(|error| {
                let text: String = error.to_string().chars().take(1_000).collect();
                types::DecideError::BadCommand(text)
            })?;
        let new = |(name, data): (String, Box<RawValue>)| {
            let names = match config().decides.as_str() {
                "rename" => renamed(name),
                _ => vec![name],
            };
            let new = move |name: String| {
                let mut known = config().events.iter();
                let version = known
                    .find(|known| known.0 == name)
                    .map_or(1, |known| known.1);
                types::NewEvent {
                    type_: name,
                    schema_version: version,
                    body: types::Body::Json(data.get().to_owned()),
                    tags: Vec::new(),
                    annotations: Vec::new(),
                }
            };
            names.into_iter().map(new)
        };
        Ok(events.into_iter().flat_map(new).collect())
    }

    fn snapshot(&self) -> Option<decider::Snapshot> {
        let mut state = self.0.borrow().clone();
        match config().snapshots.as_str() {
            "none" => return None,
            "lie" => _ = state.seen.pop(),
            _ => {}
        }
        if breaks("snapshot") {
            state.seen.pop();
        }
        if breaks("repeated") {
            state.migrated.push(turn());
        }
        Some(decider::Snapshot {
            state_schema_version: config().state,
            body: types::Body::Json(serde_json::to_string(&state).ok()?),
        })
    }

    fn view(&self) -> Option<String> {
        serde_json::to_string(&*self.0.borrow()).ok()
    }
}

impl upcaster::Guest for Probe {
    fn steps() -> Vec<upcaster::Step> {
        let steps = config().steps.iter();
        let step = |step: &Step| upcaster::Step {
            category: step.category.clone(),
            type_: step.r#type.clone(),
            from_version: step.from,
            to: step.to.clone(),
        };
        steps.map(step).collect()
    }

    fn upcast(
        step: u32,
        events: Vec<types::Event>,
    ) -> Result<Vec<Vec<upcaster::Upcasted>>, types::FoldError> {
        let Some(step) = config().steps.get(step as usize) else {
            return Err(types::FoldError::Internal("no such step".to_owned()));
        };
        let mut lifted = Vec::new();
        for event in &events {
            let types::Body::Json(body) = &event.body else {
                return Err(types::FoldError::BadEvent("binary".to_owned()));
            };
            let is_bad = body.contains("bad");
            match step.does.as_str() {
                "trap" if is_bad => panic!("it can't lift {body}"),
                "bad-event" | "bad-event-twice" if is_bad => {
                    return Err(types::FoldError::BadEvent(format!("it can't lift {body}")));
                }
                _ => {}
            }
            let mut parts = Vec::new();
            for (name, version) in &step.to {
                let old: Value = serde_json::from_str(body)
                    .map_err(|error| types::FoldError::BadEvent(error.to_string()))?;
                let mark = match breaks("lifting") {
                    true => format!("{name}@{version} {}", turn()),
                    false => format!("{name}@{version}"),
                };
                let made = match step.does.as_str() {
                    "twice" | "bad-event-twice" => serde_json::json!([[old, mark], mark]),
                    "same" => old,
                    _ => serde_json::json!([old, mark]),
                };
                parts.push(upcaster::Upcasted {
                    type_: match step.does.as_str() {
                        "undeclared" => "something-else".to_owned(),
                        _ => name.clone(),
                    },
                    schema_version: *version,
                    body: types::Body::Json(made.to_string()),
                });
            }
            lifted.push(parts);
        }
        if step.does == "too-few" {
            lifted.pop();
        }
        Ok(lifted)
    }
}
