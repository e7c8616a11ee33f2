//! Taking in a part of an export.

use super::Log;
use crate::stored::{
    check_anchor, check_import, holds_inline, id_is_known, module_missing, no_stream_to_archive,
    plan_out_of_order,
};
use crate::{Import, Result, StoredCommit, StoredEvent};
use quipu_model::{Digest, StreamId, Version};

impl Log {
    pub(super) fn import(&mut self, part: &Import) -> Result<()> {
        if let Some(projection) = self.builds.inline() {
            return Err(holds_inline(projection));
        }
        match part {
            Import::Events(events) => {
                for continued in
                    check_import(events, self.last_position(), |stream| self.head(stream))?
                {
                    let first = self.commit_at(continued.stream, continued.first);
                    continued.check(first.map(|commit| commit.events))?;
                }
                events.iter().try_for_each(|event| self.check_ids(event))?;
                events.iter().for_each(|event| self.keep(event.clone()));
            }
            Import::Plan(deployment) => {
                if deployment.plan != self.parts.plan + 1 {
                    return Err(plan_out_of_order(deployment.plan, self.parts.plan));
                }
                for digest in deployment.members().filter_map(|(_, digest)| digest) {
                    self.check_module(digest)?;
                }
                self.parts
                    .activate(&deployment.categories, &deployment.projections);
                self.deployments.push((**deployment).clone());
            }
            Import::Archived(stream, since) => match self.streams.get_mut(stream) {
                Some(places) => places.archived_at = Some(*since),
                None => return Err(no_stream_to_archive(stream)),
            },
            Import::Truncated(anchor) => {
                check_anchor(anchor, self.head(&anchor.stream))?;
                let places = self.streams.entry(anchor.stream.clone()).or_default();
                places.kept.truncate(anchor.before, Some(&anchor.snapshot));
            }
        }
        Ok(())
    }

    /// The commit that begins at a version.
    fn commit_at(&self, stream: &StreamId, first: Version) -> Option<&StoredCommit> {
        let index = usize::try_from(first.0.checked_sub(1)?).ok()?;
        let place = *self.streams.get(stream)?.events.get(index)?;
        self.events[place].stored.commit.as_ref()
    }

    /// Refuses an event of an import whose ids are known, or whose module is not.
    fn check_ids(&self, event: &StoredEvent) -> Result<()> {
        let commit = event.commit.as_ref();
        if let Some(decided) = commit.and_then(|commit| commit.decided) {
            self.check_module(decided.module)?;
        }
        let stream = &event.stream;
        let id = commit.and_then(|commit| commit.command.as_ref());
        let is_known = id.is_some_and(|command| {
            self.commands
                .contains_key(&(stream.clone(), command.id.clone()))
        }) || event.event.id_is_callers
            && self
                .event_ids
                .contains_key(&(stream.clone(), event.event.id));
        if is_known {
            Err(id_is_known(stream))
        } else {
            Ok(())
        }
    }

    fn check_module(&self, digest: Digest) -> Result<()> {
        let mut modules = self.modules.iter();
        let is_there = modules.any(|kept| kept.module.digest == digest);
        if is_there {
            Ok(())
        } else {
            Err(module_missing(digest))
        }
    }
}
