//! Example guest: documents about the applications whose events the guests `loan` and
//! `loan-v2` write, equal whichever of them does.
//!
//! | projection | key | document |
//! | --- | --- | --- |
//! | `applications` | the application's id | an application as it stands: [`Application`] |
//! | `officers` | the member `actor` of the metadata | what somebody did: [`Officer`] |
//! | `pipeline` | `all` | how all applications go: [`Pipeline`] |
//!
//! `applications` is found by `status` and `amount` too. Times are those of the member `at`
//! of the metadata, as it is given. Whatever grows with the data is bounded, so that a
//! document stays small; and what `officers` and `pipeline` have does not depend on the
//! order in which different applications come.

mod applications;
mod event;
mod officers;
mod pipeline;

pub use applications::{Application, Applications, OPEN_ITEMS_MAX, Offers, Work};
pub use event::{Event, Status};
pub use officers::{APPLICATIONS_MAX, Done, ITEMS_MAX, Officer, Officers};
pub use pipeline::{Counts, Furthest, Pipeline, Pipelines};

quipu_guest::projections!("loan-views", Applications, Officers, Pipelines);

// Saturating, since events may also have been appended without a decision.
fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

fn take(count: &mut u64) {
    *count = count.saturating_sub(1);
}
