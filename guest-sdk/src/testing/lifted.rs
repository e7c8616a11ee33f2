use std::fmt::Debug;

use super::exact::Json;
use super::{Event, check_steps};
use crate::driver::FoldError;
use crate::message::{Unreadable, decode};
use crate::upcast::lift;
use crate::{Guest, Manifest, Upcasted, Upcaster};

/// What the steps of `U` make of a stored event, as far as they lead.
///
/// Panics when the steps aren't those that a host accepts: see [`check_steps`].
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

/// What a stored event became.
#[must_use = "say what is expected: `to`, `read_by` or `failed`"]
pub struct Lifted(Result<Vec<Upcasted>, FoldError>);

impl Lifted {
    /// Exactly these events, in this order: type, schema version, and the body's JSON,
    /// compared by value, with every digit of its numbers. None: the event is dropped.
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
        assert_eq!(found, expected);
    }

    /// Exactly these events of the decider that reads them, which knows a type by its
    /// aliases too.
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
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    /// The events, for whatever else is to be done with them.
    #[track_caller]
    pub fn events(self) -> Vec<Upcasted> {
        match self.0 {
            Ok(events) => events,
            Err(error) => panic!("not lifted: {error}"),
        }
    }

    /// The error with which lifting ends.
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
