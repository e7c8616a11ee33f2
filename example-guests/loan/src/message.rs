use serde::{Deserialize, Serialize};

/// The commands, with the names from the published log.
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
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The first event of the stream.
    ApplicationSubmitted {
        /// Euros.
        amount: u64,
    },
    /// The first checks passed.
    ApplicationPartlySubmitted,
    /// The bank asked the customer for more information.
    ApplicationPreaccepted,
    /// The application was complete.
    ApplicationAccepted,
    /// The terms were agreed.
    ApplicationFinalized,
    /// The bank agreed.
    ApplicationApproved {
        /// Euros, repeated so that a reader of only this event can compute sums.
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
    WorkScheduled {
        /// The item of work.
        item: String,
    },
    /// Somebody started an item of work.
    WorkStarted {
        /// The item of work.
        item: String,
    },
    /// Somebody paused or completed an item of work.
    WorkCompleted {
        /// The item of work.
        item: String,
    },
}
