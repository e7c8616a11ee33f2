//! Scenarios: what has happened, what is asked, what must follow.
//!
//! A scenario file is YAML. Each scenario is played against components, twice: once as a host
//! usually calls a guest, and once with every event in a call of its own and the state taken
//! through a snapshot. Both must give the same answers, because a host may cut anywhere.
//!
//! ```yaml
//! scenarios:
//!   - name: a withdrawal above the balance is rejected
//!     stream: account-1
//!     given:
//!       - event: opened
//!         data: {owner: ann}
//!       - command: deposit
//!         data: {amount: 5}
//!     when:
//!       command: withdraw
//!       data: {amount: 7}
//!     then:
//!       rejected: insufficient-funds
//!       state: {open: true, balance: 5}
//! ```

mod check;
mod coverage;
mod declared;
mod decode;
mod difference;
mod file;
mod json;
mod message;
pub(crate) mod play;
mod problem;
mod report;
mod sources;
mod stream;

pub use coverage::Coverage;
pub use decode::Error;
pub use difference::Difference;
pub use file::{Event, Expected, FullRejection, Message, Rejected, Scenario, Scenarios};
pub use json::Json;
pub use report::{Report, Verdict};

use crate::Components;

/// Plays every scenario of some files.
pub fn play(components: &Components, files: &[Scenarios]) -> Report {
    let mut coverage = Coverage::of(components);
    let mut verdicts = Vec::new();
    for file in files {
        for scenario in &file.scenarios {
            let (differences, notes) = match play::twice(components, scenario) {
                Ok(played) => {
                    coverage.count(&played);
                    let then = &scenario.then;
                    let mut differences = check::check(then, &played);
                    differences.extend(declared::check(components, &played));
                    let passed = differences.is_empty();
                    let notes = sources::notes(components, then, &played, passed);
                    (differences, notes)
                }
                Err(problem) => (vec![Difference::problem(problem)], Vec::new()),
            };
            verdicts.push(Verdict {
                file: file.path.clone(),
                name: scenario.name.clone(),
                differences,
                notes,
            });
        }
    }
    Report {
        verdicts,
        coverage,
        notes: sources::unknown(components),
    }
}
