//! Jobs that keep the store safe: when each was last done.

use std::time::Duration;

use super::Host;
use crate::model::{Clock, SystemClock, Timestamp};
use crate::store::{self, Job, LastJobs};

impl Host {
    /// Records that a job which began this long ago was done. The store has the time, so every host
    /// of the store knows it. Whoever makes a backup with another tool reports it here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn report_job(&self, job: Job, began: Duration) -> store::Result<Timestamp> {
        let micros = u64::try_from(began.as_micros()).unwrap_or(u64::MAX);
        let at = Timestamp(SystemClock.now().0.saturating_sub(micros));
        self.tenant.jobs.done(job, at).await?;
        Ok(at)
    }

    /// When each job was last done.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last_jobs(&self) -> store::Result<LastJobs> {
        self.tenant.jobs.last().await
    }
}
