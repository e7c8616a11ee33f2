//! When jobs were last done: a time in the table of single values for each.

use async_trait::async_trait;

use super::cell::Cells;
use super::dialect::{Connections, Query, greatest};
use crate::{Error, Job, JobStore, LastJobs, Result};
use quipu_model::Timestamp;

const LAST: &str = "SELECT name, value FROM meta \
     WHERE name IN ('last_backup', 'last_ship', 'last_verify')";
const DONE: &str = concat!(
    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = ",
    greatest!("meta.value", "excluded.value")
);

/// A time that is lost in a power failure is an earlier one, so nothing waits for the disk.
pub struct Jobs(pub Connections);

fn name(job: Job) -> &'static str {
    match job {
        Job::Backup => "last_backup",
        Job::Ship => "last_ship",
        Job::Verify => "last_verify",
    }
}

/// The statement that records a job.
pub fn done(job: Job, began_at: Timestamp) -> Query<'static> {
    // In the order of the bytes, later times are greater.
    let bytes = began_at.0.to_be_bytes().to_vec();
    sqlx::query(DONE).bind(name(job)).bind(bytes)
}

#[async_trait]
impl JobStore for Jobs {
    async fn done(&self, job: Job, began_at: Timestamp) -> Result<()> {
        self.0.execute(done(job, began_at)).await?;
        Ok(())
    }

    async fn last(&self) -> Result<LastJobs> {
        let rows = sqlx::query(LAST).fetch_all(self.0.pool()).await?;
        let mut last = LastJobs::default();
        for row in &rows {
            let found: &str = row.cell("name")?;
            let bytes: &[u8] = row.cell("value")?;
            let bytes = <[u8; 8]>::try_from(bytes)
                .map_err(|_| Error::Damaged(format!("the time {found:?} in meta")))?;
            if let Some(job) = Job::ALL.into_iter().find(|job| name(*job) == found) {
                last.set(job, Timestamp(u64::from_be_bytes(bytes)));
            }
        }
        Ok(last)
    }
}
