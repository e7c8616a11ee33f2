//! Example guest: the second generation of `loan`, for streams that the first one began.
//!
//! Commands, decisions and rejections are those of the package `loan`; its documentation lists
//! them. Only the stored data has changed:
//!
//! | first generation | second generation | by |
//! | --- | --- | --- |
//! | `application-preaccepted` | `application-shortlisted` | an alias |
//! | `application-partly-submitted` | `application-checked` | a step that renames the type |
//! | `application-submitted` 1 `{"amount": euros}` | `application-submitted` 2 `{"requested": money}` | a step that maps |
//! | `application-approved` 1 `{"amount": euros}` | `application-approved` 2 `{}`, `credit-granted` 1 `{"credit": money}` | a step that splits |
//! | `work-scheduled` 1, `-started` 1, `-completed` 1 `{"item"}` | version 2 `{"work"}` | steps that rename a field |
//! | state 1: amount in euros, a flag for each grant | state 2: money, a set of grants | a migration |
//!
//! Money is `{"units": integer, "currency": "EUR"}`.
//!
//! # View
//!
//! The view of the first generation, and `"currency"`.

mod decide;
mod history;
mod message;
mod money;
mod state;

pub use decide::ITEM_BYTES_MAX;
pub use history::LoanUpcasts;
pub use message::{Command, Event};
pub use money::{Currency, Money};
pub use state::{Grant, Loan, Offers, Status};
