use quipu_guest::{Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, add};

/// One document, `all`: how all applications go.
pub struct Pipelines;

/// How all applications go.
///
/// An event doesn't say what status its application had, so this doesn't tell how many
/// have which status now. It tells what does follow: the steps up to the terms are taken in
/// one order, so whoever took one and not the next has come so far.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// How many applications took which step, ever.
    pub reached: Counts,
    /// How many came so far and no further on the way to the terms, whatever became of them.
    pub furthest: Furthest,
    /// Euros that were asked for.
    pub requested_euros: u64,
    /// Euros that were approved.
    pub granted_euros: u64,
    /// Offers by what was done with them, ever.
    pub offers: Offers,
    /// Work by what was done, ever.
    pub work: Work,
}

/// How many applications took each step.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names of the steps
pub struct Counts {
    pub submitted: u64,
    pub partly_submitted: u64,
    pub preaccepted: u64,
    pub accepted: u64,
    pub finalized: u64,
    pub approved: u64,
    pub registered: u64,
    pub activated: u64,
    pub declined: u64,
    pub cancelled: u64,
}

/// How many applications came how far.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names of the steps
pub struct Furthest {
    pub submitted: u64,
    pub partly_submitted: u64,
    pub preaccepted: u64,
    pub accepted: u64,
    pub finalized: u64,
}

/// How many offers were what.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // the names of what is done with them
pub struct Offers {
    pub selected: u64,
    pub created: u64,
    pub sent: u64,
    pub returned: u64,
    pub accepted: u64,
    pub cancelled: u64,
    pub declined: u64,
}

/// How often work was what.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // the names of what is done with it
pub struct Work {
    pub scheduled: u64,
    pub started: u64,
    pub completed: u64,
}

impl Projection for Pipelines {
    const NAME: &'static str = "pipeline";
    type Event = Event;
    type Document = Pipeline;

    fn sources() -> Sources<Event> {
        Sources::of("loan")
    }

    fn keys(_: &Recorded<Event>) -> Vec<String> {
        vec!["all".to_owned()]
    }

    fn apply(pipeline: Option<Pipeline>, _: &str, event: &Recorded<Event>) -> Option<Pipeline> {
        let mut pipeline = pipeline.unwrap_or_default();
        if let Some(count) = pipeline.count(&event.event) {
            add(count);
        }
        match &event.event {
            Event::ApplicationSubmitted { amount } => {
                pipeline.requested_euros = pipeline.requested_euros.saturating_add(*amount);
            }
            Event::ApplicationApproved { amount } | Event::CreditGranted { amount } => {
                pipeline.granted_euros = pipeline.granted_euros.saturating_add(*amount);
            }
            _ => {}
        }
        pipeline.furthest = Furthest::of(&pipeline.reached);
        Some(pipeline)
    }
}

impl Pipeline {
    /// What an event counts for; none when it counts as one with another.
    fn count(&mut self, event: &Event) -> Option<&mut u64> {
        let Self {
            reached,
            offers,
            work,
            ..
        } = self;
        Some(match event {
            Event::CreditGranted { .. } => return None,
            Event::ApplicationSubmitted { .. } => &mut reached.submitted,
            Event::ApplicationPartlySubmitted | Event::ApplicationChecked => {
                &mut reached.partly_submitted
            }
            Event::ApplicationPreaccepted | Event::ApplicationShortlisted => {
                &mut reached.preaccepted
            }
            Event::ApplicationAccepted => &mut reached.accepted,
            Event::ApplicationFinalized => &mut reached.finalized,
            Event::ApplicationApproved { .. } => &mut reached.approved,
            Event::ApplicationRegistered => &mut reached.registered,
            Event::ApplicationActivated => &mut reached.activated,
            Event::ApplicationDeclined => &mut reached.declined,
            Event::ApplicationCancelled => &mut reached.cancelled,
            Event::OfferSelected => &mut offers.selected,
            Event::OfferCreated => &mut offers.created,
            Event::OfferSent => &mut offers.sent,
            Event::OfferReturned => &mut offers.returned,
            Event::OfferAccepted => &mut offers.accepted,
            Event::OfferCancelled => &mut offers.cancelled,
            Event::OfferDeclined => &mut offers.declined,
            Event::WorkScheduled { .. } => &mut work.scheduled,
            Event::WorkStarted { .. } => &mut work.started,
            Event::WorkCompleted { .. } => &mut work.completed,
        })
    }
}

impl Furthest {
    fn of(reached: &Counts) -> Self {
        let stayed = |here: u64, next: u64| here.saturating_sub(next);
        Furthest {
            submitted: stayed(reached.submitted, reached.partly_submitted),
            partly_submitted: stayed(reached.partly_submitted, reached.preaccepted),
            preaccepted: stayed(reached.preaccepted, reached.accepted),
            accepted: stayed(reached.accepted, reached.finalized),
            finalized: reached.finalized,
        }
    }
}
