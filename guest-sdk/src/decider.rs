use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, Context, Events, Migrations, Rejection};

/// A decider in the functional style: `decide` maps state and command to events,
/// `evolve` maps state and event to the next state. The initial state is `Default`.
///
/// The crate's page has an example.
pub trait Decider: Default + Serialize + DeserializeOwned + 'static {
    /// The category: the part of its streams' ids before the first `-`, 1 to 64 of
    /// `a-z 0-9 _`, beginning with a letter.
    const CATEGORY: &'static str;

    /// The version of the state's JSON form. Raise it when old snapshots would no longer be read
    /// correctly. Streams are then folded from their events, unless
    /// [`migrations`](Self::migrations) lead to the new version.
    const STATE_SCHEMA_VERSION: u32 = 1;

    /// The codes of all rejections, which tools show to callers. Empty means that they are not
    /// declared. When they are, tests fail on a rejection with another code; a host answers it all
    /// the same. A code has no white space.
    const REJECTIONS: &'static [&'static str] = &[];

    /// An enum; each variant is a type of command.
    type Command: DeserializeOwned;

    /// An enum; each variant is a type of event.
    type Event: Serialize + DeserializeOwned;

    /// Returns the events that the command leads to; no event is a valid answer. The context says
    /// who asks and when, and is the source of new ids and random numbers.
    ///
    /// # Errors
    ///
    /// A rejection: the domain said no. It is a response to the caller.
    fn decide(
        &self,
        command: Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Rejection>;

    /// Returns the state after an event. It must accept every event that was ever stored, in any
    /// order: a panic here makes the stream unreadable.
    fn evolve(self, event: Self::Event) -> Self;

    /// Returns the state for people and programs, as JSON. `null` means that the state is not
    /// shown.
    fn view(&self) -> impl Serialize {
        self
    }

    /// Returns the labels `name:value` by which the event can be found in the log. At most 64, of
    /// at most 255 bytes each.
    fn tags(event: &Self::Event) -> Vec<String> {
        let _ = event;
        Vec::new()
    }

    /// Returns metadata of a decided event: names with values, which are added to the metadata of
    /// the command. `self` is the state on which the command was decided. A name is unique, not
    /// empty, and does not begin with `quipu.`. At most 64, each name and value of at most 255
    /// bytes.
    fn annotations(&self, event: &Self::Event, context: &Context) -> Vec<(String, String)> {
        let _ = (event, context);
        Vec::new()
    }

    /// Returns the migrations of snapshots from older state schema versions to the current one.
    fn migrations() -> Migrations {
        Migrations::none()
    }

    /// Returns the current schema version of a type of command. A command of another version is
    /// answered as invalid. A version in an attribute ([`Message`](crate::Message)) takes
    /// precedence.
    fn command_schema_version(command_type: &str) -> u32 {
        let _ = command_type;
        1
    }

    /// Returns the current schema version of a type of event. Stored events of older versions are
    /// lifted by upcasters before they arrive here. A version in an attribute
    /// ([`Message`](crate::Message)) takes precedence.
    fn event_schema_version(event_type: &str) -> u32 {
        let _ = event_type;
        1
    }
}

/// A [`Decider`] as an [`Aggregate`], so that the rest of the SDK knows only one of
/// the two traits.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Functional<D>(D);

impl<D: Decider> Aggregate for Functional<D> {
    const CATEGORY: &'static str = D::CATEGORY;
    const STATE_SCHEMA_VERSION: u32 = D::STATE_SCHEMA_VERSION;
    const REJECTIONS: &'static [&'static str] = D::REJECTIONS;
    type Command = D::Command;
    type Event = D::Event;

    fn execute(
        &self,
        command: D::Command,
        context: &Context,
        events: &mut Events<D::Event>,
    ) -> Result<(), Rejection> {
        events.extend(self.0.decide(command, context)?);
        Ok(())
    }

    fn apply(&mut self, event: D::Event) {
        self.0 = std::mem::take(&mut self.0).evolve(event);
    }

    fn view(&self) -> impl Serialize {
        self.0.view()
    }

    fn tags(event: &D::Event) -> Vec<String> {
        D::tags(event)
    }

    fn annotations(&self, event: &D::Event, context: &Context) -> Vec<(String, String)> {
        self.0.annotations(event, context)
    }

    fn migrations() -> Migrations {
        D::migrations()
    }

    fn command_schema_version(command_type: &str) -> u32 {
        D::command_schema_version(command_type)
    }

    fn event_schema_version(event_type: &str) -> u32 {
        D::event_schema_version(event_type)
    }
}
