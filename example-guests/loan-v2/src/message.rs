use quipu_guest::Message;
use serde::{Deserialize, Serialize};

use crate::Money;

/// The commands: the same as in the first generation.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A customer applies.
    Submit {
        /// Euros; zero is possible.
        amount: u64,
    },
    /// The first automatic checks have passed.
    PartlySubmit,
    /// The bank asks the customer for more information.
    Preaccept,
    /// The application is complete and eligible for an offer.
    Accept,
    /// The terms of the offer are agreed.
    Finalize,
    /// The bank agrees.
    Approve,
    /// The loan is recorded in the books.
    Register,
    /// The money is available.
    Activate,
    /// The bank says no.
    Decline,
    /// The customer gives up.
    Cancel,
    /// An offer is selected to be created.
    SelectOffer,
    /// A selected offer is created.
    CreateOffer,
    /// A created offer is sent to the customer.
    SendOffer,
    /// The customer sends an offer back.
    ReturnOffer,
    /// An offer becomes the loan.
    AcceptOffer,
    /// An offer is withdrawn.
    CancelOffer,
    /// An offer is refused by the bank.
    DeclineOffer,
    /// Work is added to the list.
    ScheduleWork {
        /// For example `validate-application`.
        item: String,
    },
    /// Somebody starts an item of work.
    StartWork {
        /// A scheduled item.
        item: String,
    },
    /// Somebody pauses or completes an item of work.
    CompleteWork {
        /// A started item.
        item: String,
    },
}

/// The events. The metadata, which events inherit from their command, contains the actor.
#[derive(Message, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The first event of the stream.
    #[quipu(version = 2)]
    ApplicationSubmitted {
        /// The requested amount.
        requested: Money,
    },
    /// The first checks passed.
    ApplicationChecked,
    /// The bank asked the customer for more information.
    #[quipu(alias = "application-preaccepted")]
    ApplicationShortlisted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were agreed.
    ApplicationFinalized,
    /// The bank agreed.
    #[quipu(version = 2)]
    ApplicationApproved,
    /// The bank is committed to a loan. Recorded together with the approval.
    CreditGranted {
        /// The requested amount. It is repeated so that a reader of only this event can compute
        /// sums.
        credit: Money,
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
        work: String,
    },
    /// Somebody started an item of work.
    #[quipu(version = 2)]
    WorkStarted {
        /// The item of work.
        work: String,
    },
    /// Somebody paused or completed an item of work.
    #[quipu(version = 2)]
    WorkCompleted {
        /// The item of work.
        work: String,
    },
}
