//! Native tests in three steps: given events, when a command, then events.
//!
//! Everything goes through the JSON that a host would store: the given events, the
//! decided ones, and the state between them, so a type that can't be read back fails
//! here. Failures panic with both sides.
//!
//! ```
//! # use quipu_guest::{Aggregate, Events, Rejection, testing::given};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Deserialize)] #[serde(rename_all = "kebab-case")] enum Command { Press {} }
//! # #[derive(Serialize, Deserialize, Debug, PartialEq)] #[serde(rename_all = "kebab-case")]
//! # enum Event { Pressed {} }
//! # #[derive(Default, Serialize, Deserialize)] struct Button { pressed: bool }
//! # impl Aggregate for Button {
//! #     const CATEGORY: &'static str = "button";
//! #     type Command = Command;
//! #     type Event = Event;
//! #     fn execute(&self, _: Command, events: &mut Events<Event>) -> Result<(), Rejection> {
//! #         if self.pressed { return Err(Rejection::new("stuck", "it is pressed already")) }
//! #         events.raise(Event::Pressed {});
//! #         Ok(())
//! #     }
//! #     fn apply(&mut self, _: Event) { self.pressed = true; }
//! # }
//! # quipu_guest::aggregate!(Button);
//! given::<Button>([]).when(Command::Press {}).then([Event::Pressed {}]);
//! given::<Button>([Event::Pressed {}]).when(Command::Press {}).rejected("stuck");
//! assert_eq!(given::<Button>([]).view(), r#"{"pressed":false}"#);
//! ```

use std::fmt::Debug;

use crate::driver::Driver;
use crate::message::{Unreadable, decode, encode};
use crate::{Aggregate, Context, Events, Guest, Rejection};

type Command<G> = <<G as Guest>::Aggregate as Aggregate>::Command;
type Event<G> = <<G as Guest>::Aggregate as Aggregate>::Event;

/// An aggregate after `events`.
pub fn given<G: Guest>(events: impl IntoIterator<Item = Event<G>>) -> Given<G> {
    let mut driver = Driver::<G>::open("1", None).expect("without a snapshot nothing can fail");
    for event in events {
        let (event_type, body) = encode(&event).expect("an event must have a JSON form");
        let schema_version = G::Aggregate::event_schema_version(event_type);
        if let Err(error) = driver.apply(event_type, schema_version, &body) {
            panic!("given event {event_type} {body}: {error}");
        }
    }
    let snapshot = driver.snapshot().expect("the state must have a JSON form");
    match Driver::<G>::open("1", Some(&snapshot)) {
        Ok(driver) => Given { driver },
        Err(error) => panic!("state {} can't be read back: {error}", snapshot.body),
    }
}

/// An aggregate with a past.
pub struct Given<G: Guest> {
    driver: Driver<G>,
}

impl<G: Guest> Given<G> {
    /// Decides a command, with a [`Context`] that has nothing in it but the key `1`.
    pub fn when(self, command: Command<G>) -> Outcome<G> {
        self.when_with(
            command,
            Context {
                key: "1",
                ..Context::default()
            },
        )
    }

    /// Decides a command that depends on who asks, when, or on the seed.
    pub fn when_with(self, command: Command<G>, context: Context<'_>) -> Outcome<G> {
        let mut events = Events::none();
        let outcome = self
            .driver
            .state()
            .execute_with(command, &context, &mut events);
        Outcome(outcome.map(|()| events.into_vec().iter().map(through_json::<G>).collect()))
    }

    /// The state as people see it: JSON; `null` when it is not shown.
    pub fn view(&self) -> String {
        self.driver.view().unwrap_or_else(|| "null".to_owned())
    }
}

/// What a command led to.
#[must_use = "say what is expected: `then`, `nothing` or `rejected`"]
pub struct Outcome<G: Guest>(Result<Vec<Event<G>>, Rejection>);

impl<G: Guest> Outcome<G>
where
    Event<G>: PartialEq + Debug,
{
    /// Exactly these events, in this order.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = Event<G>>) {
        let expected: Vec<_> = expected.into_iter().collect();
        match self.0 {
            Ok(events) => assert_eq!(events, expected),
            Err(rejection) => panic!("rejected: {rejection}; expected {expected:?}"),
        }
    }

    /// Accepted, without an event.
    #[track_caller]
    pub fn nothing(self) {
        self.then([]);
    }

    /// A rejection of that code, which is returned.
    #[track_caller]
    pub fn rejected(self, code: &str) -> Rejection {
        match self.0 {
            Ok(events) => panic!("accepted: {events:?}; expected rejection {code}"),
            Err(rejection) => {
                assert_eq!(rejection.code(), code, "{rejection}");
                rejection
            }
        }
    }
}

fn through_json<G: Guest>(event: &Event<G>) -> Event<G> {
    let (event_type, body) = encode(event).expect("an event must have a JSON form");
    decode(event_type, &body).unwrap_or_else(|unreadable| match unreadable {
        Unreadable::UnknownType => panic!("event {event_type} can't be read back"),
        Unreadable::Body(error) => panic!("event {event_type} {body} can't be read back: {error}"),
    })
}
