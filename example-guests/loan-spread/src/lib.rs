//! Guest for the benchmark: every event of an application concerns five documents.

use quipu_guest::{Projection, Recorded, Sources, Untyped};
use serde::{Deserialize, Serialize};

/// Number of documents that each event concerns.
pub const DOCUMENTS: u64 = 5;

/// Five documents for each application.
pub struct Spread;

/// The number of events of an application, and the last one.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Seen {
    /// Number of events.
    pub events: u64,
    /// Type of the last event.
    pub last: String,
    /// Position of the last event.
    pub position: u64,
}

impl Projection for Spread {
    const NAME: &'static str = "spread";
    type Event = Untyped;
    type Document = Seen;

    fn sources() -> Sources<Untyped> {
        Sources::every()
    }

    fn keys(event: &Recorded<Untyped>) -> Vec<String> {
        let key = event.key();
        (1..=DOCUMENTS)
            .map(|number| format!("{key}-{number}"))
            .collect()
    }

    fn apply(seen: Option<Seen>, _: &str, event: &Recorded<Untyped>) -> Option<Seen> {
        let seen = seen.unwrap_or_default();
        Some(Seen {
            events: seen.events.saturating_add(1),
            last: event.event.event_type.clone(),
            position: event.position,
        })
    }
}

quipu_guest::projections!("loan-spread", Spread);
