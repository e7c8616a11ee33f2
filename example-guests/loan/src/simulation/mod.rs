//! Simulates the loan applications of a real bank: a deterministic stream of commands whose figures
//! follow the published log (BPI Challenge 2012, B. van Dongen,
//! doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f).
//!
//! The table compares 262,200 commands of each; the simulation uses seed 2012. A test checks limits
//! that were chosen after these results were known. They detect changes, but do not prove
//! similarity. The largest difference is in the days from first to last command.
//!
//! | figure | published | simulated |
//! | --- | --- | --- |
//! | % declined | 58.3 | 57.8 |
//! | % cancelled | 21.4 | 21.7 |
//! | % granted | 17.2 | 17.2 |
//! | % open | 3.05 | 3.31 |
//! | commands per application, mean | 20.0 | 20.3 |
//! | commands per application, median | 11.0 | 12.0 |
//! | commands per application, 90 % | 47.0 | 48.0 |
//! | commands per application, 99 % | 85.0 | 81.0 |
//! | complete-work, of 1,000 commands | 276.2 | 276.9 |
//! | start-work, of 1,000 commands | 272.2 | 273.1 |
//! | schedule-work, of 1,000 commands | 100.4 | 100.6 |
//! | submit, of 1,000 commands | 49.9 | 49.4 |
//! | decline, of 1,000 commands | 29.1 | 28.5 |
//! | preaccept, of 1,000 commands | 28.1 | 28.0 |
//! | select-offer, of 1,000 commands | 26.8 | 26.9 |
//! | accept, of 1,000 commands | 19.5 | 19.8 |
//! | finalize, of 1,000 commands | 19.1 | 19.4 |
//! | cancel-offer, of 1,000 commands | 13.9 | 13.9 |
//! | return-offer, of 1,000 commands | 13.2 | 12.4 |
//! | cancel, of 1,000 commands | 10.7 | 10.7 |
//! | approve, of 1,000 commands | 8.57 | 8.50 |
//! | assess-fraud, starts per application | 0.021 | 0.021 |
//! | call-about-offer, starts per application | 1.71 | 1.75 |
//! | call-for-missing-information, starts per application | 0.871 | 0.877 |
//! | complete-application, starts per application | 1.80 | 1.82 |
//! | handle-lead, starts per application | 0.451 | 0.453 |
//! | validate-application, starts per application | 0.603 | 0.614 |
//! | % of applications with a rejection | 7.94 | 7.68 |
//! | % of commands after another application's | 56.8 | 55.1 |
//! | % of commands by nobody known | 6.87 | 6.53 |
//! | % of commands by the automaton | 17.4 | 17.7 |
//! | % with one offer, of those with any | 71.3 | 71.8 |
//! | amount granted, mean | 15,713 | 15,465 |
//! | amount, mean | 13,573 | 13,390 |
//! | amount, median | 10,000 | 10,000 |
//! | days from first to last command, 75 % | 14.2 | 17.6 |
//! | days from first to last command, 90 % | 30.5 | 30.8 |
//! | days from first to last command, median | 0.809 | 1.60 |
//! | offers per application with any | 1.40 | 1.39 |
//! | officers | 67.0 | 67.0 |
//! | rejected, of 1,000 commands | 3.97 | 3.79 |
//!
//! Not simulated: `change-contract-details` (12 commands), offers that are returned twice, and
//! accepted or cancelled offers while other offers remain sent. Times are UTC.
//!
//! ```
//! use loan::simulation::Simulation;
//!
//! let lines: Vec<_> = Simulation::new(7, 500).map(|line| line.to_json()).collect();
//! assert_eq!(lines.len(), 500);
//! assert!(lines[0].contains(r#""type":"submit","data":{"amount":"#));
//! ```

mod application;
mod figures;
mod quantiles;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::vec;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use application::{Step, application};
use figures::{ARRIVAL_GAP_SECONDS, ARRIVALS_BY_HOUR};

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A command as in the published log: the application's id, the actor, the command and the time.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Line {
    /// The application; its stream is `loan-<id>`.
    pub id: String,
    /// The command's type.
    pub r#type: &'static str,
    /// The command's body.
    pub data: Data,
    /// RFC 3339, never before the time of the previous line.
    pub at: String,
    /// The actor. `None` if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// The data of a command.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
#[serde(untagged)]
pub enum Data {
    /// Data of `submit`.
    Amount {
        /// Euros.
        amount: u64,
    },
    /// Data of the commands about work.
    Item {
        /// The work item.
        item: &'static str,
    },
    /// Data of all other commands.
    None {},
}

impl Line {
    /// Returns the line as JSON, without a line break.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers have a JSON form")
    }
}

/// Generates exactly the requested number of commands, ordered by time, from many applications at
/// once. Equal seeds and numbers produce equal lines.
///
/// All applications are complete except the last one, which is cut, so the figures are also valid
/// for small numbers. Memory: the applications that are open at the same time, about 700.
pub struct Simulation {
    arrivals: Arrivals,
    /// Number of commands of applications that have not arrived yet, without the rest of the last
    /// one.
    coming: u64,
    open: BinaryHeap<Reverse<Open>>,
}

impl Simulation {
    /// Creates a simulation. Commands are generated only when they are requested.
    pub fn new(seed: u64, commands: u64) -> Self {
        Simulation {
            arrivals: Arrivals::new(seed),
            coming: commands,
            open: BinaryHeap::new(),
        }
    }

    /// Lets applications arrive until the earliest command is known.
    fn admit(&mut self) {
        while self.coming > 0 {
            let earliest = self
                .open
                .peek()
                .map_or(u64::MAX, |Reverse(open)| open.step.at_ms);
            if earliest < self.arrivals.now_ms {
                return;
            }
            let (index, mut steps) = self.arrivals.next();
            steps.truncate(usize::try_from(self.coming).unwrap_or(usize::MAX));
            self.coming -= steps.len() as u64;
            self.open
                .extend(Open::new(index, steps.into_iter()).map(Reverse));
        }
    }
}

impl Iterator for Simulation {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        self.admit();
        let Reverse(Open {
            index, step, rest, ..
        }) = self.open.pop()?;
        self.open.extend(Open::new(index, rest).map(Reverse));
        Some(line(index, &step))
    }
}

/// An application with remaining commands.
struct Open {
    index: u64,
    step: Step,
    rest: vec::IntoIter<Step>,
}

impl Open {
    fn new(index: u64, mut steps: vec::IntoIter<Step>) -> Option<Self> {
        let step = steps.next()?;
        Some(Open {
            index,
            step,
            rest: steps,
        })
    }

    /// Sort key: commands at the same time are ordered by the arrival of their applications.
    fn turn(&self) -> (u64, u64) {
        (self.step.at_ms, self.index)
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.turn() == other.turn()
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.turn().cmp(&other.turn())
    }
}

/// An endless stream of applications.
struct Arrivals {
    rng: StdRng,
    index: u64,
    now_ms: u64,
}

impl Arrivals {
    fn new(seed: u64) -> Self {
        /// 2011-10-01, the beginning of the published log.
        const START_MS: u64 = 1_317_427_200_000;
        Arrivals {
            rng: StdRng::seed_from_u64(seed),
            index: 0,
            now_ms: START_MS,
        }
    }

    fn next(&mut self) -> (u64, Vec<Step>) {
        let (index, submitted_ms) = (self.index, self.now_ms);
        self.index += 1;
        self.now_ms += self.gap_ms();
        (index, application(self.rng.random(), submitted_ms))
    }

    /// Hours with few arrivals have long gaps.
    fn gap_ms(&mut self) -> u64 {
        let hour = usize::try_from(self.now_ms / HOUR_MS % 24).expect("there are 24 hours");
        let usual = ARRIVALS_BY_HOUR.iter().sum::<u64>() / 24;
        let mean = ARRIVAL_GAP_SECONDS * SECOND_MS * usual / ARRIVALS_BY_HOUR[hour];
        self.rng.random_range(0..=2 * mean.min(HOUR_MS))
    }
}

fn line(index: u64, step: &Step) -> Line {
    const FIRST_ID: u64 = 173_688;
    const APART: u64 = 3;
    let at_ms = i64::try_from(step.at_ms).expect("time stays far below its end");
    let at = Timestamp::from_millisecond(at_ms).expect("time stays far below its end");
    Line {
        id: (FIRST_ID + APART * index).to_string(),
        r#type: step.command,
        data: step.data,
        at: format!("{at:.3}"),
        actor: step.actor.map(|actor| actor.to_string()),
    }
}
