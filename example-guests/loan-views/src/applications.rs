use std::collections::BTreeMap;

use quipu_guest::{Indexes, Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, Status, add, take};

/// Highest number of open work items listed for an application.
pub const OPEN_ITEMS_MAX: usize = 256;

/// A document for each application.
pub struct Applications;

/// The current state of an application.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Application {
    /// Id of the application.
    pub id: String,
    /// Current status.
    pub status: Status,
    /// Requested euros.
    pub amount: u64,
    /// Granted euros. `None` unless it was granted.
    pub granted: Option<u64>,
    /// Whether the bank agreed.
    pub approved: bool,
    /// Whether it is recorded in the books.
    pub registered: bool,
    /// Whether the money is available.
    pub activated: bool,
    /// Number of offers at each stage.
    pub offers: Offers,
    /// Work on the application.
    pub work: Work,
    /// Number of events of the application.
    pub events: u64,
    /// Time of submission.
    pub submitted_at: Option<String>,
    /// Time at which it first reached a final status.
    pub finished_at: Option<String>,
    /// Time of the last event.
    pub last_at: Option<String>,
}

/// Number of offers at each stage.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Offers {
    /// Selected, but not created.
    pub selected: u64,
    /// Created, but not sent.
    pub created: u64,
    /// Sent to the customer.
    pub sent: u64,
    /// Returned by the customer, but not settled.
    pub returned: u64,
    /// Settled: accepted, so it is the loan.
    pub accepted: u64,
    /// Settled: withdrawn.
    pub cancelled: u64,
    /// Settled: refused.
    pub declined: u64,
}

/// Work on an application.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Work {
    /// How often work was added to the list.
    pub scheduled: u64,
    /// How often work was started.
    pub started: u64,
    /// How often work was paused or completed.
    pub completed: u64,
    /// How often each item was started and not completed. Contains only open items, at most
    /// [`OPEN_ITEMS_MAX`].
    pub open: BTreeMap<String, u64>,
    /// Number of open starts of items that are not listed.
    pub open_more: u64,
}

impl Projection for Applications {
    const NAME: &'static str = "applications";
    const ANNOTATIONS: bool = true;
    type Event = Event;
    type Document = Application;

    fn sources() -> Sources<Event> {
        Sources::of("loan")
    }

    fn indexes() -> Indexes {
        Indexes::none()
            .text("status", "/status")
            .integer("amount", "/amount")
    }

    fn keys(event: &Recorded<Event>) -> Vec<String> {
        let key = event.key();
        Some(key.to_owned())
            .filter(|key| !key.is_empty())
            .into_iter()
            .collect()
    }

    fn apply(
        application: Option<Application>,
        key: &str,
        event: &Recorded<Event>,
    ) -> Option<Application> {
        let mut application = application.unwrap_or_else(|| Application {
            id: key.to_owned(),
            ..Application::default()
        });
        if matches!(event.event, Event::CreditGranted { .. }) {
            return Some(application);
        }
        let at = event.annotation("at").map(str::to_owned);
        add(&mut application.events);
        application.step(&event.event, at.as_ref());
        application.offers.count(&event.event);
        application.work.count(&event.event);
        application.last_at = at;
        Some(application)
    }
}

impl Application {
    fn step(&mut self, event: &Event, at: Option<&String>) {
        let Some(status) = Status::after(event) else {
            return;
        };
        if status.is_end() && !self.status.is_end() {
            self.finished_at = at.cloned();
        }
        match event {
            Event::ApplicationSubmitted { amount } => {
                self.amount = *amount;
                self.submitted_at = at.cloned();
            }
            Event::ApplicationApproved { .. } => self.approved = true,
            Event::ApplicationRegistered => self.registered = true,
            Event::ApplicationActivated => self.activated = true,
            _ => {}
        }
        self.status = status;
        self.granted = (status == Status::Granted).then_some(self.amount);
    }
}

impl Offers {
    fn count(&mut self, event: &Event) {
        match event {
            Event::OfferSelected => add(&mut self.selected),
            Event::OfferCreated => {
                take(&mut self.selected);
                add(&mut self.created);
            }
            Event::OfferSent => {
                take(&mut self.created);
                add(&mut self.sent);
            }
            Event::OfferReturned => {
                take(&mut self.sent);
                add(&mut self.returned);
            }
            Event::OfferAccepted => {
                self.settle();
                add(&mut self.accepted);
            }
            Event::OfferCancelled => {
                self.settle();
                add(&mut self.cancelled);
            }
            Event::OfferDeclined => {
                self.settle();
                add(&mut self.declined);
            }
            _ => {}
        }
    }

    /// Takes an offer that was returned, or if there is none, one that was sent.
    fn settle(&mut self) {
        take(if self.returned > 0 {
            &mut self.returned
        } else {
            &mut self.sent
        });
    }
}

impl Work {
    fn count(&mut self, event: &Event) {
        match event {
            Event::WorkScheduled { .. } => add(&mut self.scheduled),
            Event::WorkStarted { item } => {
                add(&mut self.started);
                self.open(item);
            }
            Event::WorkCompleted { item } => {
                add(&mut self.completed);
                self.close(item);
            }
            _ => {}
        }
    }

    fn open(&mut self, item: &str) {
        if let Some(open) = self.open.get_mut(item) {
            add(open);
        } else if self.open.len() < OPEN_ITEMS_MAX {
            self.open.insert(item.to_owned(), 1);
        } else {
            add(&mut self.open_more);
        }
    }

    fn close(&mut self, item: &str) {
        match self.open.get_mut(item) {
            None => take(&mut self.open_more),
            Some(1) => _ = self.open.remove(item),
            Some(open) => take(open),
        }
    }
}
