use quipu_guest::Message;
use serde::{Deserialize, Serialize};

/// What happened, in the form of the first generation of `loan`.
#[derive(Message, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The stream's first event.
    ApplicationSubmitted {
        /// Euros.
        amount: u64,
    },
    /// The first checks were passed.
    ApplicationPartlySubmitted,
    /// More was asked of the customer.
    ApplicationPreaccepted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were settled.
    ApplicationFinalized,
    /// The bank agreed.
    ApplicationApproved {
        /// Euros, repeated so that a reader of this event alone can add up.
        amount: u64,
    },
    /// The loan was entered in the books.
    ApplicationRegistered,
    /// The money became available.
    ApplicationActivated,
    /// The bank said no.
    ApplicationDeclined,
    /// The customer gave up.
    ApplicationCancelled,
    /// An offer was chosen.
    OfferSelected,
    /// An offer was drawn up.
    OfferCreated,
    /// An offer went out.
    OfferSent,
    /// An offer came back.
    OfferReturned,
    /// An offer became the loan.
    OfferAccepted,
    /// An offer was withdrawn.
    OfferCancelled,
    /// An offer was refused.
    OfferDeclined,
    /// Work was put on the list.
    WorkScheduled {
        /// What is to be done.
        item: String,
    },
    /// Somebody began.
    WorkStarted {
        /// What is done.
        item: String,
    },
    /// Somebody paused or was done.
    WorkCompleted {
        /// What was done.
        item: String,
    },
}

/// How far an application has come.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// There was no submission.
    #[default]
    None,
    /// It has arrived.
    Submitted,
    /// It has passed the first checks.
    PartlySubmitted,
    /// More is asked of the customer.
    Preaccepted,
    /// It is complete.
    Accepted,
    /// The terms are settled.
    Finalized,
    /// The bank is bound; an end.
    Granted,
    /// The bank said no; an end.
    Declined,
    /// The customer gave up; an end.
    Cancelled,
}

impl Status {
    /// Nothing leads on to another status.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Granted | Self::Declined | Self::Cancelled)
    }

    /// The status of an application after an event; none: it stays as it is.
    pub(crate) fn after(event: &Event) -> Option<Self> {
        Some(match event {
            Event::ApplicationSubmitted { .. } => Self::Submitted,
            Event::ApplicationPartlySubmitted => Self::PartlySubmitted,
            Event::ApplicationPreaccepted => Self::Preaccepted,
            Event::ApplicationAccepted => Self::Accepted,
            Event::ApplicationFinalized => Self::Finalized,
            Event::ApplicationApproved { .. }
            | Event::ApplicationRegistered
            | Event::ApplicationActivated => Self::Granted,
            Event::ApplicationDeclined => Self::Declined,
            Event::ApplicationCancelled => Self::Cancelled,
            _ => return None,
        })
    }
}
