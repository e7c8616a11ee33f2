//! Example guest: applications for a loan, in the functional style
//! ([`Decider`](quipu_guest::Decider)). The process is that of a Dutch bank whose event log was
//! published as the BPI Challenge 2012 (B. van Dongen,
//! doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f).
//!
//! Each application has a stream `loan-<id>`.
//!
//! | command | body | when | event |
//! | --- | --- | --- | --- |
//! | `submit` | `{"amount": euros}` | first, once | `application-submitted` `{"amount"}` |
//! | `partly-submit` | `{}` | `submitted` | `application-partly-submitted` |
//! | `preaccept` | `{}` | `partly-submitted` | `application-preaccepted` |
//! | `accept` | `{}` | `preaccepted` | `application-accepted` |
//! | `finalize` | `{}` | `accepted` | `application-finalized` |
//! | `approve` | `{}` | `finalized` or `granted`, once | `application-approved` `{"amount"}` |
//! | `register`, `activate` | `{}` | the same | `application-registered`, `-activated` |
//! | `decline`, `cancel` | `{}` | `partly-submitted` to `finalized` | `application-declined`, `-cancelled` |
//! | `select-offer` | `{}` | `accepted` or `finalized` | `offer-selected` |
//! | `create-offer` | `{}` | `finalized`, an offer is selected | `offer-created` |
//! | `send-offer` | `{}` | `finalized`, an offer is created | `offer-sent` |
//! | `return-offer` | `{}` | an offer is sent | `offer-returned` |
//! | `accept-offer`, `cancel-offer`, `decline-offer` | `{}` | an offer is sent or returned | `offer-accepted`, `-cancelled`, `-declined` |
//! | `schedule-work` | `{"item": text}` | submitted | `work-scheduled` `{"item"}` |
//! | `start-work` | `{"item"}` | the item was scheduled | `work-started` `{"item"}` |
//! | `complete-work` | `{"item"}` | the item is started more often than completed | `work-completed` `{"item"}` |
//!
//! Offers have no names. They are counted by stage. If offers are both sent and returned, the next
//! one is taken from the returned offers. Sent offers and work can continue after the application
//! has ended.
//!
//! # Status
//!
//! `none`, `submitted`, `partly-submitted`, `preaccepted`, `accepted`, `finalized`, then one of the
//! final statuses: `declined`, `cancelled`, or `granted`, which is reached by the first of
//! `approve`, `register` and `activate`. From then on the bank is committed. An application whose
//! last status is not final is still open.
//!
//! # Rejections
//!
//! | code | when |
//! | --- | --- |
//! | `not-submitted` | there is no application yet |
//! | `already-submitted` | a second `submit` |
//! | `wrong-status` | the step doesn't follow on the status; details `{"status"}` |
//! | `ended` | the application is declined, cancelled or granted; details `{"status"}` |
//! | `already-done` | a second `approve`, `register` or `activate` |
//! | `no-offer-selected`, `no-offer-created`, `no-offer-sent` | no offer is at the stage that is needed |
//! | `work-not-scheduled` | the item was never scheduled |
//! | `work-not-started` | the item is not started more often than completed |
//! | `invalid-item` | an item's name is empty, or longer than [`ITEM_BYTES_MAX`] |
//!
//! # View
//!
//! `{"status", "amount", "granted_amount" (null unless granted), "approved", "registered",
//! "activated", "offers": {"selected", "created", "sent", "returned", "accepted", "cancelled",
//! "declined"}, "open_work": {item: times}}`. Each offer is counted at its current stage.
//! `open_work` contains the items that were started and not completed.

mod decide;
mod message;
#[cfg(not(target_family = "wasm"))]
pub mod simulation;
mod state;

pub use decide::ITEM_BYTES_MAX;
pub use message::{Command, Event};
pub use state::{Loan, Offers, Status};
