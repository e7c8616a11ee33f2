//! Archives and restores streams.

use std::sync::Arc;
use std::time::Instant;

use super::retry::learn_plan;
use super::{Engine, Error};
use crate::model::{
    Body, CommandId, CommandRecord, Context, ExpectedVersion, Name, NewEvent, Position, StreamId,
    fresh_id,
};
use crate::store::{Change, Commit, Item, Mark, Outcome, Write};

/// The stream with events about other streams.
pub const STREAMS: &str = "$streams";

impl Engine {
    /// Archives or restores a stream. Returns the position of the resulting event in `$streams`, or
    /// `None` when nothing had to be done.
    ///
    /// # Errors
    /// When the stream does not exist, this host can't load the plan, or the store fails.
    pub async fn archive(
        &self,
        stream: &StreamId,
        archived: bool,
        context: Context,
    ) -> Result<Option<Position>, Error> {
        super::check(stream, None)?;
        let (name, act) = match archived {
            true => ("archived", "$archive"),
            false => ("restored", "$restore"),
        };
        let data = serde_json::json!({ "stream": stream });
        let context = self.enrichers.mark(stream, context)?;
        let permit = self.permit()?;
        let deadline = Instant::now() + self.shared.options.deadline;
        let mut tries = 0;
        loop {
            let write = self.mark_write(name, act, &data, context.clone())?;
            self.shared.options.limits.check(&write.commit.events)?;
            let mark = Mark {
                stream: stream.clone(),
                change: Change::Archived(archived),
                write,
            };
            match self.stage(&permit, Item::Mark(mark)).await? {
                Outcome::Marked(position) => return Ok(position),
                Outcome::NoStream(stream) => return Err(Error::StreamNotFound(stream)),
                Outcome::Unprojected(failed) => return Err(failed.into()),
                // Other inline projections receive the event now.
                Outcome::PlanMoved => {
                    learn_plan(&self.shared.registry, &mut tries, deadline).await?;
                }
                _ => return Err(Error::Stopped),
            }
        }
    }

    /// Creates the event about an action on a stream, with the additions of enrichers to its
    /// context and metadata.
    pub(super) fn mark_write(
        &self,
        name: &str,
        act: &str,
        data: &serde_json::Value,
        (context, metadata): (Context, Option<bytes::Bytes>),
    ) -> Result<Write, Error> {
        let streams = StreamId::new(STREAMS)?;
        let id = CommandId::made_by_host();
        let now = self.shared.clock.now();
        let body = Body::json(data.to_string())?;
        let command = CommandRecord {
            seed: self.seed(&streams, &id),
            context: context.correlated(&id),
            id,
            name: Name::new(act)?,
            schema_version: 1,
            body: body.clone(),
            metadata: None,
            accepted_at: now,
        };
        let event = NewEvent {
            id: fresh_id(),
            id_is_callers: false,
            name: Name::new(name)?,
            schema_version: 1,
            body,
            metadata,
            tags: Vec::new(),
        };
        Ok(Write {
            stream: streams,
            expected: ExpectedVersion::Any,
            commit: Commit {
                command: Some(Arc::new(command)),
                decided: None,
                plan: self.shared.registry.plan().number,
                recorded_at: now,
                events: vec![event],
                id_is_new: false,
            },
        })
    }
}
