//! Whether the last write of a writer failed.
//!
//! A writer whose writes fail receives no more commands once a load balancer has noticed it. So it
//! tries a small write by itself from time to time, until one succeeds.

use std::time::{Duration, Instant};

use crate::{Error, Result};

/// The shortest time between two trials.
const PAUSE: Duration = Duration::from_secs(2);

/// The last write of a writer.
#[derive(Debug, Default)]
pub struct LastWrite {
    /// Why it failed; none after one that succeeded.
    error: Option<Error>,
    tried_at: Option<Instant>,
}

impl LastWrite {
    /// Records a write that succeeded.
    pub fn succeeded(&mut self) {
        self.error = None;
    }

    /// Records a write that failed. An error that says nothing about the next write is ignored.
    pub fn failed(&mut self, error: &Error) {
        if error.may_last() {
            self.error = Some(error.clone());
        }
    }

    /// Returns whether the next write may be expected to succeed; none when a trial has to find that
    /// out.
    pub fn expected(&mut self) -> Option<Result<()>> {
        self.expected_at(Instant::now())
    }

    fn expected_at(&mut self, now: Instant) -> Option<Result<()>> {
        let Some(error) = &self.error else {
            return Some(Ok(()));
        };
        let is_due = |tried_at| now.saturating_duration_since(tried_at) >= PAUSE;
        if self.tried_at.is_none_or(is_due) {
            self.tried_at = Some(now);
            return None;
        }
        Some(Err(error.clone()))
    }

    /// Records the result of a trial.
    pub fn tried(&mut self, trial: &Result<()>) {
        match trial {
            Ok(()) => self.succeeded(),
            Err(error) => self.error = Some(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Error {
        Error::Full("for a while".to_owned())
    }

    #[test]
    fn a_failed_write_is_expected_to_fail_until_a_trial_succeeds() {
        let (mut last, now) = (LastWrite::default(), Instant::now());
        assert!(matches!(last.expected_at(now), Some(Ok(()))));
        last.failed(&full());
        assert!(last.expected_at(now).is_none());
        last.tried(&Err(full()));
        assert!(matches!(last.expected_at(now), Some(Err(Error::Full(_)))));
        assert!(last.expected_at(now + PAUSE).is_none());
        last.tried(&Ok(()));
        assert!(matches!(last.expected_at(now + PAUSE), Some(Ok(()))));
    }

    #[test]
    fn trials_have_a_pause_between_them_whatever_they_found() {
        let (mut last, now) = (LastWrite::default(), Instant::now());
        last.failed(&full());
        assert!(last.expected_at(now).is_none());
        last.tried(&Ok(()));
        last.failed(&full());
        assert!(matches!(last.expected_at(now), Some(Err(Error::Full(_)))));
        last.succeeded();
        assert!(matches!(last.expected_at(now), Some(Ok(()))));
    }

    #[test]
    fn an_error_of_one_item_says_nothing_about_the_next_write() {
        let mut last = LastWrite::default();
        last.failed(&Error::Unexpected("a module is missing".to_owned()));
        assert!(matches!(last.expected(), Some(Ok(()))));
    }
}
