//! Paths and shares from the complete published log: 262,200 commands of 13,087 applications.
//!
//! Not all values are as measured. Adjusted to match the results: `validate_times` of the paths to
//! granted, cancelled and declined (measured 1.60, 1.67, 1.51), and `NOBODY` (0.112). Rounded by
//! eye: `FRAUD_SHARE`, `FRAUD_TIMES`, `CALL_AGAIN`, and the times of the rare paths. Office hours
//! and the workload of each officer are invented.

use rand::Rng;
use rand::rngs::StdRng;

/// How an application ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Granted,
    Declined,
    Cancelled,
    /// No more commands came before the log ended.
    Open,
}

/// The last step that an application reaches before its end.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Reach {
    PartlySubmitted,
    Preaccepted,
    Accepted,
    Finalized,
}

/// One path through the process. Shares refer to the applications of the path. `times` fields say
/// how often a work item is started each time it is scheduled.
pub(super) struct Path {
    pub reach: Reach,
    pub end: End,
    /// Number of applications in the published log.
    pub applications: u32,
    /// Share whose lead is handled before the first decision.
    pub lead: f64,
    pub complete_times: f64,
    pub call_times: f64,
    /// Mean number of offers after the first one. Each replaces the previous one.
    pub more_offers: f64,
    /// Share that lapses a month after submission, with a superfluous `complete-work` of the
    /// current item.
    pub lapse: f64,
    /// Share whose offer is returned and validated.
    pub validated: f64,
    pub validate_times: f64,
    /// Share of the validated applications in which information is missing.
    pub missing: f64,
    /// How often information is missing in these applications.
    pub missing_rounds: f64,
    pub missing_times: f64,
}

const NEVER: Path = Path {
    reach: Reach::PartlySubmitted,
    end: End::Open,
    applications: 0,
    lead: 0.0,
    complete_times: 1.0,
    call_times: 1.0,
    more_offers: 0.0,
    lapse: 0.0,
    validated: 0.0,
    validate_times: 1.0,
    missing: 0.0,
    missing_rounds: 1.0,
    missing_times: 1.0,
};

/// All paths, except that of one application that was cancelled at its first step.
pub(super) const PATHS: [Path; 10] = [
    Path {
        reach: Reach::PartlySubmitted,
        end: End::Declined,
        applications: 5719,
        lead: 0.392,
        ..NEVER
    },
    Path {
        reach: Reach::Finalized,
        end: End::Granted,
        applications: 2246,
        lead: 0.255,
        complete_times: 2.18,
        call_times: 3.59,
        more_offers: 0.48,
        validated: 1.0,
        validate_times: 1.47,
        missing: 0.548,
        missing_rounds: 1.45,
        missing_times: 4.34,
        ..NEVER
    },
    Path {
        reach: Reach::Finalized,
        end: End::Cancelled,
        applications: 1640,
        lead: 0.277,
        complete_times: 2.56,
        call_times: 5.86,
        more_offers: 0.33,
        lapse: 0.385,
        validated: 0.096,
        validate_times: 1.57,
        missing: 0.885,
        missing_rounds: 1.57,
        missing_times: 7.67,
    },
    Path {
        reach: Reach::Preaccepted,
        end: End::Cancelled,
        applications: 1100,
        lead: 0.344,
        complete_times: 6.36,
        lapse: 0.405,
        ..NEVER
    },
    Path {
        reach: Reach::Preaccepted,
        end: End::Declined,
        applications: 1085,
        lead: 0.644,
        complete_times: 3.08,
        ..NEVER
    },
    Path {
        reach: Reach::Finalized,
        end: End::Declined,
        applications: 802,
        lead: 0.323,
        complete_times: 2.54,
        call_times: 4.04,
        more_offers: 0.30,
        validated: 0.94,
        validate_times: 1.40,
        missing: 0.283,
        missing_rounds: 1.27,
        missing_times: 5.18,
        ..NEVER
    },
    Path {
        reach: Reach::Finalized,
        end: End::Open,
        applications: 327,
        lead: 0.281,
        complete_times: 3.0,
        call_times: 4.53,
        more_offers: 0.47,
        validated: 0.294,
        validate_times: 1.18,
        missing: 0.51,
        missing_rounds: 1.84,
        missing_times: 5.29,
        ..NEVER
    },
    Path {
        reach: Reach::Preaccepted,
        end: End::Open,
        applications: 69,
        lead: 0.362,
        complete_times: 10.2,
        ..NEVER
    },
    Path {
        reach: Reach::Accepted,
        end: End::Cancelled,
        applications: 66,
        lead: 0.273,
        complete_times: 3.79,
        lapse: 0.076,
        ..NEVER
    },
    Path {
        reach: Reach::Accepted,
        end: End::Declined,
        applications: 29,
        lead: 0.31,
        complete_times: 3.0,
        ..NEVER
    },
];

pub(super) const LEAD_TIMES: f64 = 1.24;

/// Share of all applications with a fraud assessment, and how often it is started.
pub(super) const FRAUD_SHARE: f64 = 0.0085;
pub(super) const FRAUD_TIMES: f64 = 2.5;

/// Share of offers that are selected before `finalize`.
pub(super) const SELECTED_EARLY: f64 = 0.58;
/// Share of further offers after which another call is scheduled.
pub(super) const CALL_AGAIN: f64 = 0.7;
/// Share of cancelled applications whose offer is cancelled after them.
pub(super) const CANCELLED_FIRST: f64 = 0.53;

/// The actor that represents the bank's own programs.
pub(super) const AUTOMATON: u32 = 112;
pub(super) const OFFICERS: u32 = 67;
/// Share of pieces of work whose actor is unknown.
pub(super) const NOBODY: f64 = 0.12;

pub(super) const ARRIVAL_GAP_SECONDS: u64 = 1004;
/// Number of applications by the hour of their submission.
pub(super) const ARRIVALS_BY_HOUR: [u64; 24] = [
    211, 109, 53, 32, 27, 7, 42, 107, 206, 573, 806, 952, 918, 970, 1040, 936, 965, 750, 787, 880,
    937, 800, 618, 361,
];

/// Returns a random number of at least 1 with this mean. The probability falls geometrically.
pub(super) fn times(rng: &mut StdRng, mean: f64) -> u32 {
    1 + repeats(rng, mean - 1.0)
}

/// Returns a random number of at least 0 with this mean.
pub(super) fn repeats(rng: &mut StdRng, mean: f64) -> u32 {
    const MAX: u32 = 60;
    let again = mean / (1.0 + mean);
    let mut count = 0;
    while count < MAX && rng.random_bool(again) {
        count += 1;
    }
    count
}

pub(super) fn path(rng: &mut StdRng) -> &'static Path {
    let all = PATHS.iter().map(|path| path.applications).sum();
    let mut drawn = rng.random_range(0..all);
    let mut paths = PATHS.iter();
    loop {
        let path = paths.next().expect("what is drawn is below the sum");
        match drawn.checked_sub(path.applications) {
            Some(rest) => drawn = rest,
            None => return path,
        }
    }
}
