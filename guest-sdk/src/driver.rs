//! The logic that a host drives: types and JSON in, types and JSON out.
//!
//! The component's exports are a thin layer over [`Driver`], so what a host would
//! see can be tested natively.
//!
//! ```
//! # use quipu_guest::{Aggregate, Context, Events, Rejection, driver::{self, Driver}};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Deserialize)] #[serde(rename_all = "kebab-case")] enum Command { Count {} }
//! # #[derive(Serialize, Deserialize)] #[serde(rename_all = "kebab-case")] enum Event { Counted {} }
//! # #[derive(Default, Serialize, Deserialize)] struct Counter { count: u32 }
//! # impl Aggregate for Counter {
//! #     const CATEGORY: &'static str = "counter";
//! #     type Command = Command;
//! #     type Event = Event;
//! #     fn execute(&self, _: Command, _: &Context, events: &mut Events<Event>) -> Result<(), Rejection> {
//! #         events.raise(Event::Counted {});
//! #         Ok(())
//! #     }
//! #     fn apply(&mut self, _: Event) { self.count += 1; }
//! # }
//! # quipu_guest::aggregate!(Counter);
//! let mut counter = Driver::<Counter>::open("7", None)?;
//! let events = counter.decide("count", 1, "{}", Context::default()).unwrap();
//! assert_eq!(events[0].event_type, "counted");
//! counter.apply("counted", 1, "{}")?;
//! assert_eq!(counter.view().as_deref(), Some(r#"{"count":1}"#));
//! # Ok::<(), driver::FoldError>(())
//! ```

use std::fmt;

use crate::message::{Unreadable, command_version, decode, encode, event_version};
use crate::{Aggregate, Context, Events, Guest, Rejection, log};

/// One aggregate of `G`. Its messages and its state are JSON.
pub struct Driver<G: Guest> {
    key: String,
    state: G::Aggregate,
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The variant's name.
    pub event_type: &'static str,
    /// Schema version of `body`.
    pub schema_version: u32,
    /// The variant's content as JSON.
    pub body: String,
    /// Labels `name:value`.
    pub tags: Vec<String>,
    /// Metadata in addition to the command's.
    pub annotations: Vec<(String, String)>,
}

/// The state in its JSON form.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Version of the form.
    pub state_schema_version: u32,
    /// JSON.
    pub body: String,
}

/// Why a command was not decided.
#[derive(Clone, Debug, PartialEq)]
pub enum DecideError {
    /// The domain said no.
    Rejected(Rejection),
    /// The command can't be read. The text names its type and the part that doesn't fit.
    BadCommand(String),
    /// A decided event has no JSON form.
    Internal(String),
}

/// Why an event or a snapshot can't be folded, or an event can't be lifted.
#[derive(Clone, Debug, PartialEq)]
pub enum FoldError {
    /// The type, or its schema version, isn't one of this guest's.
    UnknownEvent(String),
    /// The body doesn't fit its type.
    BadEvent(String),
    /// The snapshot can't be read, or an upcaster made an event that it doesn't declare.
    Internal(String),
}

impl<G: Guest> Driver<G> {
    /// Opens an aggregate with the initial state, or with the state of `snapshot`. `key` is the
    /// part of the stream's id after the category.
    ///
    /// # Errors
    ///
    /// [`FoldError::BadEvent`] when the snapshot is of another schema version or doesn't fit. That is
    /// no fault: the stream can still be folded from its events.
    pub fn open(key: impl Into<String>, snapshot: Option<&Snapshot>) -> Result<Self, FoldError> {
        let state = match snapshot {
            None => G::Aggregate::default(),
            Some(snapshot) => read_snapshot(snapshot)?,
        };
        Ok(Driver {
            key: key.into(),
            state,
        })
    }

    /// Folds one event.
    ///
    /// # Errors
    ///
    /// [`FoldError::UnknownEvent`] and [`FoldError::BadEvent`]. The state is unchanged.
    pub fn apply(
        &mut self,
        event_type: &str,
        schema_version: u32,
        body: &str,
    ) -> Result<(), FoldError> {
        let current = event_version::<G>(event_type);
        if schema_version != current {
            let text = other_version("event", event_type, schema_version, current);
            return Err(FoldError::UnknownEvent(text));
        }
        let event = decode(event_type, body).map_err(|unreadable| match unreadable {
            Unreadable::UnknownType => {
                FoldError::UnknownEvent(unknown_type::<G>("event", event_type))
            }
            Unreadable::Body(error) => FoldError::BadEvent(unfit("event", event_type, &error)),
        })?;
        self.state.apply(event);
        Ok(())
    }

    /// Returns the events that the command leads to. Leaves the state unchanged. The context's key
    /// is replaced by the aggregate's.
    ///
    /// # Errors
    ///
    /// [`DecideError::Rejected`] when the domain said no. The other errors are about the message.
    pub fn decide(
        &self,
        command_type: &str,
        schema_version: u32,
        body: &str,
        context: Context<'_>,
    ) -> Result<Vec<NewEvent>, DecideError> {
        let current = command_version::<G>(command_type);
        if schema_version != current {
            let text = other_version("command", command_type, schema_version, current);
            return Err(DecideError::BadCommand(text));
        }
        let command = decode(command_type, body).map_err(|unreadable| {
            DecideError::BadCommand(match unreadable {
                Unreadable::UnknownType => unknown_type::<G>("command", command_type),
                Unreadable::Body(error) => unfit("command", command_type, &error),
            })
        })?;
        self.decide_read(command, context)
    }

    /// Like [`decide`](Self::decide), for a command that has been read.
    pub(crate) fn decide_read(
        &self,
        command: <G::Aggregate as Aggregate>::Command,
        context: Context<'_>,
    ) -> Result<Vec<NewEvent>, DecideError> {
        let context = context.with_key(&self.key);
        let mut events = Events::none();
        let decided = self.state.execute(command, &context, &mut events);
        decided.map_err(DecideError::Rejected)?;
        let events = events.into_vec();
        let new = |event| new_event::<G>(&self.state, event, &context);
        events.iter().map(new).collect()
    }

    /// Returns a snapshot of the state; none when the state has no JSON form. The host's log then
    /// explains why.
    pub fn snapshot(&self) -> Option<Snapshot> {
        match serde_json::to_string(&self.state) {
            Ok(body) => {
                let state_schema_version = <G::Aggregate as Aggregate>::STATE_SCHEMA_VERSION;
                Some(Snapshot {
                    state_schema_version,
                    body,
                })
            }
            Err(error) => {
                log::error(&format!(
                    "state of {} {}: {error}",
                    category::<G>(),
                    self.key
                ));
                None
            }
        }
    }

    /// Returns the state for people; none when it is not shown or has no JSON form. The host's log
    /// then explains why.
    pub fn view(&self) -> Option<String> {
        match serde_json::to_string(&self.state.view()) {
            Ok(view) => Some(view).filter(|view| view != "null"),
            Err(error) => {
                log::error(&format!(
                    "view of {} {}: {error}",
                    category::<G>(),
                    self.key
                ));
                None
            }
        }
    }
}

/// Migrates an older snapshot by one step of the chain of [`migrations`](Aggregate::migrations), to
/// the version that the step leads to. None when no step begins at its version, or when it can't be
/// read; the host's log then explains why.
pub fn migrate<G: Guest>(old: &Snapshot) -> Option<Snapshot> {
    let from = old.state_schema_version;
    match G::Aggregate::migrations().run(from, &old.body)? {
        Ok((state_schema_version, body)) => Some(Snapshot {
            state_schema_version,
            body,
        }),
        Err(error) => {
            let category = category::<G>();
            log::warn(&format!(
                "snapshot of {category}: migration from state schema version {from}: {error}"
            ));
            None
        }
    }
}

fn read_snapshot<A: Aggregate>(snapshot: &Snapshot) -> Result<A, FoldError> {
    let Snapshot {
        state_schema_version,
        body,
    } = snapshot;
    if *state_schema_version != A::STATE_SCHEMA_VERSION {
        return Err(FoldError::BadEvent(format!(
            "snapshot of {}: state schema version {state_schema_version}, expected {}",
            A::CATEGORY,
            A::STATE_SCHEMA_VERSION
        )));
    }
    serde_json::from_str(body)
        .map_err(|error| FoldError::BadEvent(format!("snapshot of {}: {error}", A::CATEGORY)))
}

fn new_event<G: Guest>(
    state: &G::Aggregate,
    event: &<G::Aggregate as Aggregate>::Event,
    context: &Context<'_>,
) -> Result<NewEvent, DecideError> {
    let (event_type, body) = encode(event).map_err(|error| {
        DecideError::Internal(format!("an event of {}: {error}", category::<G>()))
    })?;
    let schema_version = event_version::<G>(event_type);
    Ok(NewEvent {
        event_type,
        schema_version,
        body,
        tags: G::Aggregate::tags(event),
        annotations: state.annotations(event, context),
    })
}

fn category<G: Guest>() -> &'static str {
    <G::Aggregate as Aggregate>::CATEGORY
}

pub(crate) fn versioned(kind: &str, message_type: &str, version: u32) -> String {
    format!("{kind} {message_type} of schema version {version}")
}

fn unknown_type<G: Guest>(kind: &str, message_type: &str) -> String {
    format!("{} has no {kind} {message_type}", category::<G>())
}

pub(crate) fn unfit(kind: &str, message_type: &str, error: &serde_json::Error) -> String {
    format!("{kind} {message_type}: body does not fit: {error}")
}

pub(crate) fn other_version(kind: &str, message_type: &str, found: u32, current: u32) -> String {
    format!("{kind} {message_type}: schema version {found}, expected {current}")
}

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecideError::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            DecideError::BadCommand(text) => write!(f, "bad command: {text}"),
            DecideError::Internal(text) => write!(f, "internal: {text}"),
        }
    }
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FoldError::UnknownEvent(text) => write!(f, "unknown event: {text}"),
            FoldError::BadEvent(text) => write!(f, "bad event: {text}"),
            FoldError::Internal(text) => write!(f, "internal: {text}"),
        }
    }
}

impl std::error::Error for DecideError {}
impl std::error::Error for FoldError {}
