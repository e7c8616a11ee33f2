use quipu_guest::Message;
use serde::{Deserialize, Deserializer, Serialize};

/// What happened, as either generation of `loan` stores it. An event of the first one is
/// lifted only while the second one's steps are deployed, so both forms are read.
#[derive(Message, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The stream's first event.
    #[quipu(version = 2)]
    ApplicationSubmitted {
        /// Euros.
        #[serde(alias = "requested", deserialize_with = "euros")]
        amount: u64,
    },
    /// The first checks were passed.
    ApplicationPartlySubmitted,
    /// The same, by the second generation.
    ApplicationChecked,
    /// More was asked of the customer.
    ApplicationPreaccepted,
    /// The same, by the second generation.
    ApplicationShortlisted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were settled.
    ApplicationFinalized,
    /// The bank agreed.
    #[quipu(version = 2)]
    ApplicationApproved {
        /// Euros, repeated so that a reader of this event alone can add up. The second
        /// generation tells them by [`CreditGranted`](Self::CreditGranted).
        #[serde(default)]
        amount: u64,
    },
    /// How much the bank agreed to: comes with the second generation's approval, and counts
    /// as one with it.
    CreditGranted {
        /// Euros.
        #[serde(rename = "credit", deserialize_with = "euros")]
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
    #[quipu(version = 2)]
    WorkScheduled {
        /// What is to be done.
        #[serde(alias = "work")]
        item: String,
    },
    /// Somebody began.
    #[quipu(version = 2)]
    WorkStarted {
        /// What is done.
        #[serde(alias = "work")]
        item: String,
    },
    /// Somebody paused or was done.
    #[quipu(version = 2)]
    WorkCompleted {
        /// What was done.
        #[serde(alias = "work")]
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
            Event::ApplicationPartlySubmitted | Event::ApplicationChecked => Self::PartlySubmitted,
            Event::ApplicationPreaccepted | Event::ApplicationShortlisted => Self::Preaccepted,
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

/// Euros of the first generation, or money of the second.
fn euros<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Euros(u64),
        Money { units: u64 },
    }
    Ok(match Amount::deserialize(from)? {
        Amount::Euros(units) | Amount::Money { units } => units,
    })
}
