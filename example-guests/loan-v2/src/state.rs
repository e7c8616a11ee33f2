use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use quipu_guest::{Context, Decider, Migrations, Rejection, decider};
use serde::{Deserialize, Serialize};

use crate::decide::decide;
use crate::history::{LoanUpcasts, migrations};
use crate::{Command, Currency, Event, Money};

/// One application.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq)]
pub struct Loan {
    pub(crate) status: Status,
    pub(crate) requested: Money,
    pub(crate) grants: Grants,
    pub(crate) offers: Offers,
    /// How often each scheduled item was started and not completed.
    pub(crate) work: BTreeMap<String, u32>,
}

/// The grants that were given.
pub(crate) type Grants = BTreeSet<Grant>;

/// The steps that commit the bank, each once and in any order.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// The bank agrees.
    Approved,
    /// The loan is recorded in the books.
    Registered,
    /// The money is available.
    Activated,
}

/// Status of an application.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// There is no application.
    #[default]
    None,
    /// It was submitted.
    Submitted,
    /// It passed the first checks.
    PartlySubmitted,
    /// The bank has asked the customer for more information.
    Preaccepted,
    /// It is complete.
    Accepted,
    /// The terms are agreed.
    Finalized,
    /// The bank is committed. A final status.
    Granted,
    /// The bank said no. A final status.
    Declined,
    /// The customer gave up. A final status.
    Cancelled,
}

impl Status {
    /// Whether no other status can follow.
    pub fn is_end(self) -> bool {
        self >= Status::Granted
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Number of offers at each stage.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Offers {
    /// Selected, but not created.
    pub selected: u32,
    /// Created, but not sent.
    pub created: u32,
    /// Sent to the customer.
    pub sent: u32,
    /// Returned by the customer, but not settled.
    pub returned: u32,
    /// Settled: accepted, so it is the loan.
    pub accepted: u32,
    /// Settled: withdrawn.
    pub cancelled: u32,
    /// Settled: refused.
    pub declined: u32,
}

impl Offers {
    /// Takes an offer that was returned, or if there is none, one that was sent.
    fn take_sent_or_returned(&mut self) {
        let stage = if self.returned > 0 {
            &mut self.returned
        } else {
            &mut self.sent
        };
        take(stage);
    }
}

impl Decider for Loan {
    const CATEGORY: &'static str = "loan";
    const REJECTIONS: &'static [&'static str] = &[
        "not-submitted",
        "already-submitted",
        "wrong-status",
        "ended",
        "already-done",
        "no-offer-selected",
        "no-offer-created",
        "no-offer-sent",
        "invalid-item",
        "work-not-scheduled",
        "work-not-started",
    ];
    const STATE_SCHEMA_VERSION: u32 = 2;
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        decide(self, command)
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::ApplicationSubmitted { requested } => {
                self.requested = requested;
                self.status = Status::Submitted;
            }
            Event::ApplicationChecked => self.status = Status::PartlySubmitted,
            Event::ApplicationShortlisted => self.status = Status::Preaccepted,
            Event::ApplicationAccepted => self.status = Status::Accepted,
            Event::ApplicationFinalized => self.status = Status::Finalized,
            Event::ApplicationApproved => self.done(Grant::Approved),
            Event::CreditGranted { .. } => self.status = Status::Granted,
            Event::ApplicationRegistered => {
                self.done(Grant::Registered);
                self.status = Status::Granted;
            }
            Event::ApplicationActivated => {
                self.done(Grant::Activated);
                self.status = Status::Granted;
            }
            Event::ApplicationDeclined => self.status = Status::Declined,
            Event::ApplicationCancelled => self.status = Status::Cancelled,
            Event::OfferSelected => add(&mut self.offers.selected),
            Event::OfferCreated => {
                take(&mut self.offers.selected);
                add(&mut self.offers.created);
            }
            Event::OfferSent => {
                take(&mut self.offers.created);
                add(&mut self.offers.sent);
            }
            Event::OfferReturned => {
                take(&mut self.offers.sent);
                add(&mut self.offers.returned);
            }
            Event::OfferAccepted => {
                self.offers.take_sent_or_returned();
                add(&mut self.offers.accepted);
            }
            Event::OfferCancelled => {
                self.offers.take_sent_or_returned();
                add(&mut self.offers.cancelled);
            }
            Event::OfferDeclined => {
                self.offers.take_sent_or_returned();
                add(&mut self.offers.declined);
            }
            Event::WorkScheduled { work } => {
                self.work.entry(work).or_default();
            }
            Event::WorkStarted { work } => add(self.work.entry(work).or_default()),
            Event::WorkCompleted { work } => take(self.work.entry(work).or_default()),
        }
        self
    }

    fn view(&self) -> impl Serialize {
        View {
            status: self.status,
            amount: self.requested.units,
            granted_amount: (self.status == Status::Granted).then_some(self.requested.units),
            currency: self.requested.currency,
            approved: self.grants.contains(&Grant::Approved),
            registered: self.grants.contains(&Grant::Registered),
            activated: self.grants.contains(&Grant::Activated),
            offers: self.offers,
            open_work: self.work.iter().filter(|(_, open)| **open > 0).collect(),
        }
    }

    fn migrations() -> Migrations {
        migrations()
    }
}

impl Loan {
    fn done(&mut self, grant: Grant) {
        self.grants.insert(grant);
    }
}

decider!(Loan, upcasts = LoanUpcasts);

#[derive(Serialize)]
struct View<'a> {
    status: Status,
    amount: u64,
    granted_amount: Option<u64>,
    currency: Currency,
    approved: bool,
    registered: bool,
    activated: bool,
    offers: Offers,
    open_work: BTreeMap<&'a String, &'a u32>,
}

// Saturating, because events may also be appended without a decision.
fn add(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn take(count: &mut u32) {
    *count = count.saturating_sub(1);
}
