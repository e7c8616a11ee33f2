//! Example guest: documents about the applications whose events the guests `loan` and `loan-v2`
//! write. The documents are equal for both guests.
//!
//! | projection | key | document |
//! | --- | --- | --- |
//! | `applications` | the application's id | the current state of an application: [`Application`] |
//! | `officers` | the member `actor` of the metadata | the work of an officer: [`Officer`] |
//! | `pipeline` | `all` | totals over all applications: [`Pipeline`] |
//!
//! `applications` also has indexes on `status` and `amount`. Times are those of the member `at` of
//! the metadata, unchanged. Everything that grows with the data is limited, so that a document
//! stays small. The documents of `officers` and `pipeline` do not depend on the order in which
//! different applications are processed.

mod applications;
mod event;
mod officers;
mod pipeline;

pub use applications::{Application, Applications, OPEN_ITEMS_MAX, Offers, Work};
pub use event::{Event, Status};
pub use officers::{APPLICATIONS_MAX, Done, ITEMS_MAX, Officer, Officers};
pub use pipeline::{Counts, Furthest, Pipeline, Pipelines};

quipu_guest::projections!("loan-views", Applications, Officers, Pipelines);

// Saturating, because events may also be appended without a decision.
fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

fn take(count: &mut u64) {
    *count = count.saturating_sub(1);
}
