//! Jobs that keep a store safe, and when each was done last.

use async_trait::async_trait;

use super::Result;
use quipu_model::Timestamp;

/// A job that keeps a store safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A copy of the whole store, made with any tool.
    Backup,
    /// The log was written into the folder of a shipper.
    Ship,
    /// The whole history was verified without a finding.
    Verify,
}

impl Job {
    /// Every job.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Ship, Self::Verify];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Ship => "ship",
            Self::Verify => "verify",
        }
    }
}

/// When each job was last done; none when it never was. A job has the time at which it began, so
/// everything that was stored before is in its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastJobs {
    /// The last backup that was reported.
    pub backup: Option<Timestamp>,
    /// The last time at which a shipper had everything.
    pub ship: Option<Timestamp>,
    /// The last verification of the whole history without a finding.
    pub verify: Option<Timestamp>,
}

impl LastJobs {
    /// When a job was last done.
    pub fn of(&self, job: Job) -> Option<Timestamp> {
        match job {
            Job::Backup => self.backup,
            Job::Ship => self.ship,
            Job::Verify => self.verify,
        }
    }

    pub(crate) fn set(&mut self, job: Job, at: Timestamp) {
        let of = match job {
            Job::Backup => &mut self.backup,
            Job::Ship => &mut self.ship,
            Job::Verify => &mut self.verify,
        };
        *of = Some(at);
    }
}

/// When jobs were last done. It belongs to the store: an export does not contain it.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Records that a job which began at this time was done. An earlier time than the recorded one
    /// changes nothing.
    async fn done(&self, job: Job, began_at: Timestamp) -> Result<()>;

    /// When each job was last done.
    async fn last(&self) -> Result<LastJobs>;
}
