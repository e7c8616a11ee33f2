use quipu_guest::Message;
use serde::{Deserialize, Deserializer, Serialize};

/// The events, as either generation of `loan` stores them. Events of the first generation are
/// lifted only while the steps of the second one are deployed, so both formats must be readable.
#[derive(Message, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The first event of the stream.
    #[quipu(version = 2)]
    ApplicationSubmitted {
        /// Euros.
        #[serde(alias = "requested", deserialize_with = "euros")]
        amount: u64,
    },
    /// The first checks passed.
    ApplicationPartlySubmitted,
    /// The first checks passed (second generation).
    ApplicationChecked,
    /// The bank asked the customer for more information.
    ApplicationPreaccepted,
    /// The bank asked the customer for more information (second generation).
    ApplicationShortlisted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were agreed.
    ApplicationFinalized,
    /// The bank agreed.
    #[quipu(version = 2)]
    ApplicationApproved {
        /// Euros, repeated so that a reader of only this event can compute sums. The second
        /// generation reports them in [`CreditGranted`](Self::CreditGranted).
        #[serde(default)]
        amount: u64,
    },
    /// The amount of an approval in the second generation. It is recorded together with the
    /// approval, and both count as one event.
    CreditGranted {
        /// Euros.
        #[serde(rename = "credit", deserialize_with = "euros")]
        amount: u64,
    },
    /// The loan was recorded in the books.
    ApplicationRegistered,
    /// The money became available.
    ApplicationActivated,
    /// The bank said no.
    ApplicationDeclined,
    /// The customer gave up.
    ApplicationCancelled,
    /// An offer was selected.
    OfferSelected,
    /// An offer was created.
    OfferCreated,
    /// An offer was sent.
    OfferSent,
    /// An offer was returned.
    OfferReturned,
    /// An offer became the loan.
    OfferAccepted,
    /// An offer was withdrawn.
    OfferCancelled,
    /// An offer was refused.
    OfferDeclined,
    /// Work was added to the list.
    #[quipu(version = 2)]
    WorkScheduled {
        /// The item of work.
        #[serde(alias = "work")]
        item: String,
    },
    /// Somebody started an item of work.
    #[quipu(version = 2)]
    WorkStarted {
        /// The item of work.
        #[serde(alias = "work")]
        item: String,
    },
    /// Somebody paused or completed an item of work.
    #[quipu(version = 2)]
    WorkCompleted {
        /// The item of work.
        #[serde(alias = "work")]
        item: String,
    },
}

/// Status of an application.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// There was no submission.
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
        matches!(self, Self::Granted | Self::Declined | Self::Cancelled)
    }

    /// Returns the status of an application after an event. `None`: it does not change.
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

/// Reads euros of the first generation, or money of the second.
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
