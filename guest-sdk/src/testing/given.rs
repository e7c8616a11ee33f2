use std::fmt::Debug;

use crate::driver::{self, Driver, Snapshot};
use crate::message::{Unreadable, decode, encode, event_version};
use crate::{Aggregate, Context, Events, Guest, Rejection};

use super::{Command, Event};

/// Starts a test with an aggregate after `events`.
pub fn given<G: Guest>(events: impl IntoIterator<Item = Event<G>>) -> Given<G> {
    let mut driver = Driver::<G>::open("1", None).expect("without a snapshot nothing can fail");
    for event in events {
        let (event_type, body) = encode(&event).expect("an event must have a JSON form");
        let schema_version = event_version::<G>(event_type);
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

/// Starts a test with an aggregate that is opened from a snapshot of an older state schema version,
/// through its [`migrations`](Aggregate::migrations) up to the current one.
#[track_caller]
pub fn migrated<G: Guest>(state_schema_version: u32, state: &str) -> Given<G> {
    let mut snapshot = Snapshot {
        state_schema_version,
        body: state.to_owned(),
    };
    while snapshot.state_schema_version != <G::Aggregate as Aggregate>::STATE_SCHEMA_VERSION {
        let from = snapshot.state_schema_version;
        let Some(next) = driver::migrate::<G>(&snapshot) else {
            panic!(
                "state {} of version {from} can't be migrated",
                snapshot.body
            )
        };
        snapshot = next;
        assert!(
            snapshot.state_schema_version > from,
            "a migration from {from} leads back"
        );
    }
    match Driver::<G>::open("1", Some(&snapshot)) {
        Ok(driver) => Given { driver },
        Err(error) => panic!("migrated state {} can't be read: {error}", snapshot.body),
    }
}

/// An aggregate with its past events.
pub struct Given<G: Guest> {
    driver: Driver<G>,
}

impl<G: Guest> Given<G> {
    /// Decides a command, with a [`Context`] that has only the key `1`.
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

    /// The state in its JSON form.
    pub fn state(&self) -> String {
        let snapshot = self.driver.snapshot();
        snapshot.expect("the state must have a JSON form").body
    }

    /// Returns the state as people see it, as JSON; `null` when it is not shown.
    pub fn view(&self) -> String {
        self.driver.view().unwrap_or_else(|| "null".to_owned())
    }
}

/// The result of a command.
#[must_use = "say what is expected: `then`, `nothing` or `rejected`"]
pub struct Outcome<G: Guest>(Result<Vec<Event<G>>, Rejection>);

impl<G: Guest> Outcome<G>
where
    Event<G>: PartialEq + Debug,
{
    /// Expects exactly these events, in this order.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = Event<G>>) {
        let expected: Vec<_> = expected.into_iter().collect();
        match self.0 {
            Ok(events) => assert_eq!(events, expected),
            Err(rejection) => panic!("rejected: {rejection}; expected {expected:?}"),
        }
    }

    /// Expects that the command is accepted without an event.
    #[track_caller]
    pub fn nothing(self) {
        self.then([]);
    }

    /// Expects a rejection with that code, and returns it.
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
