use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Migrations, Rejection};

/// An aggregate in the mutable style: `execute` raises events, `apply` changes the
/// state.
///
/// `execute` sees the state but can't change it: a decision may be replayed, and its
/// events are applied only afterwards, each once. The raised events therefore
/// don't show in `self` before it returns.
///
/// ```
/// use quipu_guest::{Aggregate, Context, Events, Rejection, aggregate, testing::given};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "kebab-case")]
/// pub enum Command { Flip {} }
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// #[serde(rename_all = "kebab-case")]
/// pub enum Event { SwitchedOn {}, SwitchedOff {} }
///
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Lamp { on: bool }
///
/// impl Aggregate for Lamp {
///     const CATEGORY: &'static str = "lamp";
///     type Command = Command;
///     type Event = Event;
///
///     fn execute(
///         &self,
///         command: Command,
///         _: &Context,
///         events: &mut Events<Event>,
///     ) -> Result<(), Rejection> {
///         let Command::Flip {} = command;
///         events.raise(if self.on { Event::SwitchedOff {} } else { Event::SwitchedOn {} });
///         Ok(())
///     }
///
///     fn apply(&mut self, event: Event) {
///         self.on = event == Event::SwitchedOn {};
///     }
/// }
///
/// aggregate!(Lamp);
///
/// given::<Lamp>([Event::SwitchedOn {}]).when(Command::Flip {}).then([Event::SwitchedOff {}]);
/// ```
pub trait Aggregate: Default + Serialize + DeserializeOwned + 'static {
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

    /// Raises the events that the command leads to; no event is a valid answer. Events raised
    /// before a rejection are dropped. The context says who asks and when, and is the source of
    /// new ids and random numbers.
    ///
    /// # Errors
    ///
    /// A rejection: the domain said no. It is a response to the caller.
    fn execute(
        &self,
        command: Self::Command,
        context: &Context,
        events: &mut Events<Self::Event>,
    ) -> Result<(), Rejection>;

    /// Changes the state by one event. It must accept every event that was ever stored, in any
    /// order: a panic here makes the stream unreadable.
    fn apply(&mut self, event: Self::Event);

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

/// Collects the events that a command raises, in order.
#[derive(Debug)]
pub struct Events<E>(Vec<E>);

impl<E> Events<E> {
    /// Adds an event after those raised before.
    pub fn raise(&mut self, event: E) {
        self.0.push(event);
    }

    pub(crate) fn none() -> Self {
        Events(Vec::new())
    }

    pub(crate) fn into_vec(self) -> Vec<E> {
        self.0
    }
}

impl<E> Extend<E> for Events<E> {
    fn extend<I: IntoIterator<Item = E>>(&mut self, events: I) {
        self.0.extend(events);
    }
}
