use std::fmt::Debug;
use std::ops::Deref;

use serde::Serialize;

use crate::driver::{Driver, NewEvent};
use crate::message::{Unreadable, decode};
use crate::{Guest, Rejection};

use super::diff::{assert_same, assert_same_json};
use super::given::{Given, Request, state, view};
use super::{Command, Event};

/// The result of a command.
#[must_use = "say what is expected: `then`, `nothing`, `accepted` or `rejected`"]
pub struct Outcome<G: Guest> {
    result: Result<Vec<NewEvent>, Rejection>,
    driver: Driver<G>,
    request: Request,
}

impl<G: Guest> Outcome<G> {
    pub(super) fn new(
        result: Result<Vec<NewEvent>, Rejection>,
        driver: Driver<G>,
        request: Request,
    ) -> Self {
        Outcome {
            result,
            driver,
            request,
        }
    }

    /// Expects that the command is accepted, with whatever events.
    #[track_caller]
    pub fn accepted(self) -> Decided<G> {
        match self.result {
            Ok(events) => Decided::new(self.driver, self.request, events),
            Err(rejection) => panic!("{}\nexpected events", described(&rejection)),
        }
    }
}

impl<G: Guest> Outcome<G>
where
    Event<G>: PartialEq + Debug,
{
    /// Expects exactly these events, in this order.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = Event<G>>) -> Decided<G> {
        let expected: Vec<_> = expected.into_iter().collect();
        let events = match &self.result {
            Ok(events) => events,
            Err(rejection) => panic!("{}\nexpected {expected:#?}", described(rejection)),
        };
        let events: Vec<_> = events.iter().map(through_json::<G>).collect();
        assert_same("events", &expected, &events);
        self.accepted()
    }

    /// Expects that the command is accepted without an event.
    #[track_caller]
    pub fn nothing(self) -> Decided<G> {
        self.then([])
    }

    /// Expects a rejection with that code, and returns it.
    #[track_caller]
    pub fn rejected(self, code: &str) -> Rejected {
        match self.result {
            Ok(events) => {
                let events: Vec<_> = events.iter().map(through_json::<G>).collect();
                panic!("accepted: {events:#?}\nexpected rejection {code}")
            }
            Err(rejection) => {
                let found = rejection.code();
                assert!(
                    found == code,
                    "{}\nexpected code {code}",
                    described(&rejection)
                );
                Rejected(rejection)
            }
        }
    }
}

/// An aggregate after a command that was accepted.
pub struct Decided<G: Guest> {
    driver: Driver<G>,
    request: Request,
    events: Vec<NewEvent>,
}

impl<G: Guest> Decided<G> {
    #[track_caller]
    fn new(driver: Driver<G>, request: Request, events: Vec<NewEvent>) -> Self {
        Decided {
            driver: folded(driver, &events),
            request,
            events,
        }
    }

    /// Expects this state after the events. The JSON forms are compared, with every digit of their
    /// numbers.
    #[track_caller]
    pub fn then_state(self, expected: impl Serialize) -> Self {
        assert_same_json("state", &json(&expected), &self.state());
        self
    }

    /// Expects this view after the events, as [`then_state`](Self::then_state) compares it.
    #[track_caller]
    pub fn then_view(self, expected: impl Serialize) -> Self {
        assert_same_json("view", &json(&expected), &self.view());
        self
    }

    /// Continues the test with the aggregate after the events.
    pub fn and(self) -> Given<G> {
        Given::new(self.driver, self.request)
    }

    /// Decides another command, on the state after the events.
    #[track_caller]
    pub fn when(self, command: Command<G>) -> Outcome<G> {
        self.and().when(command)
    }

    /// The events as the host records them, with their tags and annotations.
    pub fn new_events(&self) -> &[NewEvent] {
        &self.events
    }

    /// The state after the events, in its JSON form.
    pub fn state(&self) -> String {
        state(&self.driver)
    }

    /// Returns the state after the events as people see it, as JSON; `null` when it is not shown.
    pub fn view(&self) -> String {
        view(&self.driver)
    }
}

/// A rejection. It can be used as a [`Rejection`].
#[derive(Debug)]
pub struct Rejected(Rejection);

impl Rejected {
    /// Expects exactly this text for people.
    #[track_caller]
    pub fn with_message(self, expected: &str) -> Self {
        assert_same_json("message", &json(&expected), &json(&self.0.message()));
        self
    }

    /// Expects these details. The JSON forms are compared, with every digit of their numbers.
    #[track_caller]
    pub fn with_details(self, expected: impl Serialize) -> Self {
        let found = self.0.details_json().unwrap_or("null");
        assert_same_json("details", &json(&expected), found);
        self
    }
}

impl Deref for Rejected {
    type Target = Rejection;

    fn deref(&self) -> &Rejection {
        &self.0
    }
}

/// Returns the aggregate after its own events.
#[track_caller]
pub(super) fn folded<G: Guest>(mut driver: Driver<G>, events: &[NewEvent]) -> Driver<G> {
    for event in events {
        let NewEvent {
            event_type, body, ..
        } = event;
        if let Err(error) = driver.apply(event_type, event.schema_version, body) {
            panic!("decided event {event_type} {body}: {error}");
        }
    }
    driver
}

fn described(rejection: &Rejection) -> String {
    let details = rejection.details_json();
    let details = details.map(|details| format!("\ndetails: {details}"));
    format!("rejected: {rejection}{}", details.unwrap_or_default())
}

#[track_caller]
fn json(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => panic!("the expected value has no JSON form: {error}"),
    }
}

#[track_caller]
fn through_json<G: Guest>(event: &NewEvent) -> Event<G> {
    let NewEvent {
        event_type, body, ..
    } = event;
    decode(event_type, body).unwrap_or_else(|unreadable| match unreadable {
        Unreadable::UnknownType => panic!("event {event_type} can't be read back"),
        Unreadable::Body(error) => panic!("event {event_type} {body} can't be read back: {error}"),
    })
}
