use quipu_guest::Message;
use serde::{Deserialize, Serialize};

use crate::Money;

/// What is asked: the same as in the first generation.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A customer applies.
    Submit {
        /// Euros; zero is possible.
        amount: u64,
    },
    /// The first automatic checks are through.
    PartlySubmit,
    /// More is asked of the customer.
    Preaccept,
    /// The application is complete, and eligible for an offer.
    Accept,
    /// The offer's terms are settled.
    Finalize,
    /// The bank agrees.
    Approve,
    /// The loan is entered in the books.
    Register,
    /// The money is available.
    Activate,
    /// The bank says no.
    Decline,
    /// The customer gives up.
    Cancel,
    /// An offer is chosen to be made.
    SelectOffer,
    /// A selected offer is drawn up.
    CreateOffer,
    /// A created offer goes to the customer.
    SendOffer,
    /// The customer sends an offer back.
    ReturnOffer,
    /// An offer becomes the loan.
    AcceptOffer,
    /// An offer is withdrawn.
    CancelOffer,
    /// An offer is refused by the bank.
    DeclineOffer,
    /// Work is put on the list.
    ScheduleWork {
        /// E.g. `validate-application`.
        item: String,
    },
    /// Somebody begins.
    StartWork {
        /// A scheduled item.
        item: String,
    },
    /// Somebody pauses or is done.
    CompleteWork {
        /// A started item.
        item: String,
    },
}

/// What happened. Who did it is in the metadata, which events inherit from their
/// command.
#[derive(Message, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The stream's first event.
    #[quipu(version = 2)]
    ApplicationSubmitted {
        /// What the customer asks for.
        requested: Money,
    },
    /// The first checks were passed.
    ApplicationChecked,
    /// More was asked of the customer.
    #[quipu(alias = "application-preaccepted")]
    ApplicationShortlisted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were settled.
    ApplicationFinalized,
    /// The bank agreed.
    #[quipu(version = 2)]
    ApplicationApproved,
    /// The bank is bound to a loan; comes with the approval.
    CreditGranted {
        /// What was asked for, repeated so that a reader of this event alone can add up.
        credit: Money,
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
        work: String,
    },
    /// Somebody began.
    #[quipu(version = 2)]
    WorkStarted {
        /// What is done.
        work: String,
    },
    /// Somebody paused or was done.
    #[quipu(version = 2)]
    WorkCompleted {
        /// What was done.
        work: String,
    },
}
