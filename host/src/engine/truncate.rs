//! Truncates streams, and reverts truncation.

use std::time::Instant;

use super::retry::learn_plan;
use super::{Engine, Error};
use crate::model::{Context, Position, StreamId, Version};
use crate::store::{Change, Item, Mark, Outcome, StoredSnapshot};

impl Engine {
    /// Hides events before a version from stream reads and loading; 0 reverts this.
    ///
    /// The events stay in the log. A new snapshot, folded from the first event, replaces them as
    /// the stream's anchor. Returns the position of the resulting event in `$streams`, or `None`
    /// when nothing had to be done.
    ///
    /// # Errors
    /// When the stream, version or decider does not exist, the context can't be stored, no snapshot
    /// can be taken, or this host can't load the plan.
    pub async fn truncate(
        &self,
        stream: &StreamId,
        before: Version,
        context: Context,
    ) -> Result<Option<Position>, Error> {
        super::check(stream, None)?;
        let context = self.enrichers.mark(stream, context)?;
        let _steady = self.shared.registry.steady().await;
        let deadline = Instant::now() + self.shared.options.deadline;
        let mut tries = 0;
        loop {
            let plan = self.shared.registry.plan().number;
            let change = match before {
                Version::NONE => Change::Whole,
                before => Change::Truncated {
                    before,
                    anchor: Box::new(self.anchor(stream, before).await?),
                },
            };
            let data = serde_json::json!({ "before": before, "stream": stream });
            let mut write = self.mark_write("truncated", "$truncate", &data, context.clone())?;
            write.commit.plan = plan;
            self.shared.options.limits.check(&write.commit.events)?;
            let permit = self.permit()?;
            let mark = Mark {
                stream: stream.clone(),
                change,
                write,
            };
            match self.stage(&permit, Item::Mark(mark)).await? {
                Outcome::Marked(position) => {
                    // A warm state may depend on the previous anchor.
                    self.worker(stream).forget(stream);
                    self.resumes().forget(stream);
                    return Ok(position);
                }
                Outcome::NoStream(stream) => return Err(Error::StreamNotFound(stream)),
                Outcome::Unprojected(failed) => return Err(failed.into()),
                // The rules that folded the anchor are no longer deployed, or other inline
                // projections receive the event now.
                Outcome::PlanMoved => {
                    drop(permit);
                    learn_plan(&self.shared.registry, &mut tries, deadline).await?;
                }
                _ => return Err(Error::Stopped),
            }
        }
    }

    /// Folds the state that replaces the events before a version.
    async fn anchor(&self, stream: &StreamId, before: Version) -> Result<StoredSnapshot, Error> {
        let shared = &self.shared;
        let head = shared.reader.head(stream).await?;
        let head = head.ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
        let refused = |text| Error::TruncateRefused {
            stream: stream.clone(),
            text,
        };
        if before > head.version {
            let found = head.version;
            return Err(refused(format!(
                "it has version {found}, and no event {before}; its last event stays"
            )));
        }
        let rules = self.rules(stream)?;
        let taken = shared.folder.take(&rules, stream, shared.clock.now()).await;
        let taken = taken.map_err(|error| match error.into() {
            Error::SnapshotRefused { text, .. } => refused(text),
            other => other,
        })?;
        Ok(StoredSnapshot {
            is_anchor: true,
            ..taken.snapshot
        })
    }
}
