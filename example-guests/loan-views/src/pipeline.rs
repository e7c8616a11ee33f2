use quipu_guest::{Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, add};

/// One document, `all`, with totals over all applications.
pub struct Pipelines;

/// Totals over all applications.
///
/// An event does not contain the status that its application had, so this document can't count the
/// applications by current status. It contains what can be derived: the steps up to the terms are
/// always taken in the same order, so an application that took one step and not the next has come
/// exactly this far.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Number of applications that ever took each step.
    pub reached: Counts,
    /// Number of applications by the last step that they took on the way to the terms, whatever
    /// happened afterwards.
    pub furthest: Furthest,
    /// Requested euros.
    pub requested_euros: u64,
    /// Approved euros.
    pub granted_euros: u64,
    /// Number of actions on offers, by kind.
    pub offers: Offers,
    /// Number of actions on work items, by kind.
    pub work: Work,
}

/// Number of applications that took each step.
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

/// Number of applications by the last step that they took.
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

/// Number of actions on offers, by kind.
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

/// Number of actions on work items, by kind.
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
    /// Returns the counter of an event. `None` when the event is counted together with another.
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
