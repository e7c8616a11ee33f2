use std::collections::BTreeMap;

use quipu_guest::{Indexes, Projection, Recorded, Sources};
use serde::{Deserialize, Serialize};

use crate::{Event, Status, add, take};

/// Most items of open work that an application names.
pub const OPEN_ITEMS_MAX: usize = 256;

/// A document for each application.
pub struct Applications;

/// An application as it stands.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// How far it has come.
    pub status: Status,
    /// Euros that were asked for.
    pub amount: u64,
    /// Euros that were granted; none unless it was granted.
    pub granted: Option<u64>,
    /// The bank agreed.
    pub approved: bool,
    /// It is in the books.
    pub registered: bool,
    /// The money is available.
    pub activated: bool,
    /// Its offers, by the stage at which they are.
    pub offers: Offers,
    /// Work on it.
    pub work: Work,
    /// How many events there are of it.
    pub events: u64,
    /// When it was submitted.
    pub submitted_at: Option<String>,
    /// When it first came to an end.
    pub finished_at: Option<String>,
    /// When something last happened.
    pub last_at: Option<String>,
}

/// Offers by the stage at which they are now.
#[derive(Default, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Offers {
    /// Chosen, not drawn up.
    pub selected: u64,
    /// Drawn up, not sent.
    pub created: u64,
    /// With the customer.
    pub sent: u64,
    /// Back from the customer, not settled.
    pub returned: u64,
    /// Settled: the loan.
    pub accepted: u64,
    /// Settled: withdrawn.
    pub cancelled: u64,
    /// Settled: refused.
    pub declined: u64,
}

/// Work on an application.
#[derive(Default, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Work {
    /// How often work was put on the list.
    pub scheduled: u64,
    /// How often somebody began.
    pub started: u64,
    /// How often somebody paused or was done.
    pub completed: u64,
    /// How often each item is started and not completed; none that isn't, at most
    /// [`OPEN_ITEMS_MAX`].
    pub open: BTreeMap<String, u64>,
    /// Open work on items that are not named.
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

    /// Takes one that is with the customer or back from there; those that are back first.
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
