use std::fmt::Debug;

use super::diff::assert_same;
use super::exact::Json;
use super::{Event, check_steps};
use crate::driver::FoldError;
use crate::message::{Unreadable, decode};
use crate::upcast::lift;
use crate::{Guest, Manifest, Upcasted, Upcaster};

/// Lifts a stored event with the steps of `U`, as far as they lead.
///
/// Panics when a host would refuse the steps: see [`check_steps`].
#[track_caller]
pub fn lifted<U: Upcaster>(event_type: &str, schema_version: u32, body: &str) -> Lifted {
    check_steps::<U>();
    let event = Upcasted {
        event_type: event_type.to_owned(),
        schema_version,
        body: body.to_owned(),
    };
    Lifted(lift(&U::steps(), event))
}

/// Panics unless each stored event (type, schema version, body) is lifted in the same way whenever
/// it is lifted: a second time, and after any of the others. A host lifts events in pages of any
/// size.
///
/// Also panics when a host would refuse the steps: see [`check_steps`].
#[track_caller]
pub fn check_lifts<U: Upcaster>(events: &[(&str, u32, &str)]) {
    let expected: Vec<_> = events
        .iter()
        .map(|(t, v, body)| lifted::<U>(t, *v, body).0)
        .collect();
    let steps = U::steps();
    let order = (0..events.len()).chain((0..events.len()).rev());
    for index in order {
        let (event_type, schema_version, body) = events[index];
        let event = Upcasted {
            event_type: event_type.to_owned(),
            schema_version,
            body: body.to_owned(),
        };
        let what = format!("result of lifting {event_type} {body} after other events");
        assert_same(&what, &expected[index], &lift(&steps, event));
    }
}

/// The events that a stored event was lifted to.
#[must_use = "say what is expected: `to`, `read_by` or `failed`"]
pub struct Lifted(Result<Vec<Upcasted>, FoldError>);

impl Lifted {
    /// Expects exactly these events, in this order: type, schema version, and the body's JSON,
    /// compared by value, with every digit of its numbers. No event means that the event is
    /// dropped.
    #[track_caller]
    pub fn to<const N: usize>(self, expected: [(&str, u32, &str); N]) {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(t, v, body)| (t, v, Json::new(body)))
            .collect();
        let events = self.events();
        let found: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    &*event.event_type,
                    event.schema_version,
                    Json::new(&event.body),
                )
            })
            .collect();
        assert_same("events", &expected, &found);
    }

    /// Expects exactly these events of the decider that reads them. The decider also knows a type
    /// by its aliases.
    #[track_caller]
    pub fn read_by<G: Guest>(self, expected: impl IntoIterator<Item = Event<G>>)
    where
        Event<G>: PartialEq + Debug,
    {
        let manifest = Manifest::of::<G>();
        let found: Vec<_> = self
            .events()
            .iter()
            .map(|event| read::<G>(&manifest, event))
            .collect();
        assert_same("events", &expected.into_iter().collect(), &found);
    }

    /// Returns the events, for other checks.
    #[track_caller]
    pub fn events(self) -> Vec<Upcasted> {
        match self.0 {
            Ok(events) => events,
            Err(error) => panic!("not lifted: {error}"),
        }
    }

    /// Returns the error with which lifting ends.
    #[track_caller]
    pub fn failed(self) -> FoldError {
        match self.0 {
            Ok(events) => panic!("lifted: {events:?}; expected an error"),
            Err(error) => error,
        }
    }
}

#[track_caller]
fn read<G: Guest>(manifest: &Manifest, event: &Upcasted) -> Event<G> {
    let Upcasted {
        event_type,
        schema_version,
        body,
    } = event;
    let Some(known) = manifest.event(event_type) else {
        panic!("{} has no event {event_type}", manifest.name)
    };
    let current = known.schema_version;
    assert_eq!(*schema_version, current, "schema version of {event_type}");
    decode(known.name, body).unwrap_or_else(|unreadable| match unreadable {
        Unreadable::UnknownType => panic!("event {event_type} can't be read"),
        Unreadable::Body(error) => panic!("event {event_type} {body}: {error}"),
    })
}
