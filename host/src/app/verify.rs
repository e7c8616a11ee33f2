//! Verification: recomputes and compares the history and the documents of a host. Also acknowledges
//! findings.

use std::time::Instant;

use super::Host;
use crate::projection::{self, Compared, Mismatched};
use crate::proof::{Error, Progress, ProjectionTally, Scope, Verified};
use crate::store::{Acknowledgement, Job};

impl Host {
    /// Checks the digests of commits, modules, snapshots, documents and audit records. Then
    /// re-decides recorded commands, each with the modules of its commit's plan, and compares the
    /// results with the recorded ones, byte for byte, unless the scope has only digests, or what was
    /// changed can't be read. If the scope includes projections, it then folds their documents from
    /// the first event and compares them, instead of their digests. When the whole history was
    /// checked and nothing was found, the store records that time. One run at a time. Dropping the
    /// future ends it. When the time of the scope is over, the result says up to where events were
    /// checked.
    ///
    /// # Errors
    /// When a run is in progress, a module of the history is missing, or the store fails. A
    /// difference is not an error but a finding.
    pub async fn verify(
        &self,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        self.keep_rejections().await;
        let run = self.tenant.prover.begin().await?;
        if scope.only_digests {
            return run.verify_digests(scope, progress).await;
        }
        let begun = Instant::now();
        let digests = run.verify_digests(scope, &mut |_| {}).await?;
        if digests.until < digests.head {
            return Ok(digests);
        }
        let scope = &Scope {
            time: scope.time.map(|time| time.saturating_sub(begun.elapsed())),
            ..scope.clone()
        };
        let mut verified = match run.verify(scope, &mut *progress).await {
            Ok(verified) => verified.with_digests(digests),
            // What can't be read is among the findings.
            Err(error) if error.is_damage() && digests.found() > 0 => {
                tracing::warn!(%error, "nothing was re-decided, because stored bytes were changed");
                return Ok(digests);
            }
            Err(error) => return Err(error),
        };
        if scope.projections && verified.until == verified.head {
            let mut found = |it: Mismatched| {
                let document = (&*it.projection, it.mismatch, &*it.key);
                run.find_document(&mut verified, document, it.position, it.text);
            };
            let mut reached = |position, head| progress(Progress { position, head });
            let projections = &self.tenant.projections;
            let compared = projections.verify(&mut found, &mut reached).await?;
            verified.projections = compared.iter().map(tally).collect();
        }
        let is_whole = scope.category.is_none() && scope.sample.is_none();
        if is_whole && verified.until == verified.head && verified.is_sound() {
            let reported = self.report_job(Job::Verify, begun.elapsed()).await;
            if let Err(error) = reported {
                tracing::warn!(%error, "the time of a verification was not stored");
            }
        }
        Ok(verified)
    }

    /// Acknowledges a finding by its name, with a reason of 1 to 1,024 bytes: from then on it is
    /// counted and fails no run. The finding need not exist; only the form of its name is checked.
    /// A finding that is acknowledged already gets the new reason. Acknowledgements belong to the
    /// store and are not exported.
    ///
    /// # Errors
    /// When the name or the reason is not well-formed, 10,000 others are acknowledged, or the
    /// store fails.
    pub async fn acknowledge(
        &self,
        finding: &str,
        reason: &str,
        by: Option<&str>,
    ) -> Result<Acknowledgement, Error> {
        self.tenant.prover.acknowledge(finding, reason, by).await
    }

    /// Withdraws an acknowledgement.
    ///
    /// # Errors
    /// When the finding is not acknowledged, its name is not well-formed, or the store fails.
    pub async fn withdraw(&self, finding: &str) -> Result<(), Error> {
        self.tenant.prover.withdraw(finding).await
    }

    /// Returns up to `limit` acknowledgements, at most 1,000, in the order of the bytes of their
    /// names, after a name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn acknowledged(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Acknowledgement>, Error> {
        self.tenant.prover.acknowledged(after, limit).await
    }
}

fn tally(compared: &Compared) -> ProjectionTally {
    ProjectionTally {
        projection: (*compared.projection).into(),
        position: compared.position,
        same: compared.same,
        different: compared.different,
        parked: compared.parked,
        is_complete: compared.is_complete,
    }
}

impl From<projection::Error> for Error {
    fn from(error: projection::Error) -> Self {
        match error {
            projection::Error::Store(error) => Self::Store(error),
            projection::Error::Stopped => Self::Stopped,
            other => Self::Projections(other.to_string()),
        }
    }
}
