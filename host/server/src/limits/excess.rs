use std::time::Duration;

use quipu_api::{Code, LimitView, Problem};

/// A limit that a caller has reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct Excess {
    /// The name of the limit: its key in `[limits]`, if it can be set.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What is limited, with the value, as a sentence.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// When to come back.
    pub wait: Duration,
}

impl Excess {
    /// A rate that a caller has reached.
    pub fn rate(name: &'static str, value: u64, what: String, wait: Duration) -> Self {
        let remedy = format!("come back in {} s", seconds(wait));
        Self {
            name,
            value,
            what,
            remedy,
            wait,
        }
    }
}

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    whole.max(1)
}

impl From<Excess> for Box<Problem> {
    fn from(excess: Excess) -> Self {
        Box::new(Problem {
            limit: Some(LimitView {
                name: excess.name.to_owned(),
                value: excess.value,
            }),
            retry_after_s: Some(seconds(excess.wait)),
            ..Problem::new(Code::RateLimited, excess.to_string())
        })
    }
}

/// The excess that is the cause of an error.
pub fn excess_of(error: &axum::Error) -> Option<&Excess> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(it) = cause {
        if let Some(excess) = it.downcast_ref() {
            return Some(excess);
        }
        cause = it.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_come_back_is_in_whole_seconds() {
        for (millis, whole) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), whole, "{millis}");
        }
    }
}
