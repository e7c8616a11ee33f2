//! Listing, retrying and dropping of parked events by operators.

use super::dropped::Drops;
use super::management::refused;
use super::{Error, ParkedPage, Service};
use crate::model::{Invalid, Position, REASON_BYTES_MAX};
use crate::store::{
    BuildId, DOCUMENTS_PAGE_MAX, FailedEvent, ParkedFilter, Role, StoredProjection, Subject,
};

/// Limit for the number of earlier parked events that an error names.
const NAMED_MAX: usize = 5;

impl Service {
    /// Lists at most 1,000 parked events of a projection, after the given one.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn parked(
        &self,
        name: &str,
        role: Role,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let all = ParkedFilter::default();
        self.parked_of(name, role, &all, after, limit).await
    }

    /// Lists the parked events of one document or stream, or a single event parked for it.
    ///
    /// # Errors
    /// As [`parked`](Self::parked), and when a position is given without a subject.
    pub async fn parked_of(
        &self,
        name: &str,
        role: Role,
        which: &ParkedFilter,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        check_filter(which)?;
        let build = self.build(name, role).await?;
        let limit = limit.clamp(1, DOCUMENTS_PAGE_MAX);
        let Some(subject) = &which.subject else {
            let events = self.shared.documents.parked(build.id, after, limit).await?;
            return Ok(ParkedPage::of(events, limit));
        };
        let after = after.filter(|(of, _)| of == subject);
        let before = which.position.unwrap_or(Position(1));
        let before = Position(before.0.saturating_sub(1));
        let from = after.map_or(before, |(_, position)| before.max(*position));
        let mut events = self.sequence(build.id, subject, from, limit).await?;
        if let Some(position) = which.position {
            events.retain(|event| event.position == position);
        }
        Ok(ParkedPage::of(events, limit))
    }

    /// Returns the events that are parked for a subject after a position.
    async fn sequence(
        &self,
        build: BuildId,
        subject: &Subject,
        after: Position,
        limit: usize,
    ) -> Result<Vec<FailedEvent>, Error> {
        let after = (subject.clone(), after);
        let documents = &self.shared.documents;
        let mut events = documents.parked(build, Some(&after), limit).await?;
        events.retain(|event| event.subject == *subject);
        Ok(events)
    }

    /// Lists at most 1,000 skipped events of a projection, after the given one.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn skipped(
        &self,
        name: &str,
        role: Role,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let build = self.build(name, role).await?;
        let limit = limit.clamp(1, DOCUMENTS_PAGE_MAX);
        let events = self
            .shared
            .documents
            .skipped(build.id, after, limit)
            .await?;
        Ok(ParkedPage::of(events, limit))
    }

    /// Requests a retry of a subject's parked events, in order, starting with the first. If a
    /// position is given, it must be that of the first one.
    pub(super) async fn retry_parked(
        &self,
        stored: &StoredProjection,
        subject: &Subject,
        position: Option<Position>,
    ) -> Result<(), Error> {
        let name = &*stored.name;
        let mut earlier: Option<Vec<FailedEvent>> = None;
        let mut is_first = false;
        for build in stored.builds.iter().filter(|it| it.role != Role::Previous) {
            let first = self.sequence(build.id, subject, Position(0), 1).await?;
            let Some(first) = first.first() else { continue };
            let position = position.unwrap_or(first.position);
            if first.position == position {
                is_first = true;
                continue;
            }
            let before = Position(position.0.saturating_sub(1));
            let found = self.sequence(build.id, subject, before, 1).await?;
            if found.first().is_some_and(|it| it.position == position) {
                let events = self
                    .sequence(build.id, subject, Position(0), NAMED_MAX)
                    .await?;
                let is_before = |event: &FailedEvent| event.position < position;
                earlier = Some(events.into_iter().filter(is_before).collect());
            }
        }
        match earlier {
            _ if is_first => {
                self.shared
                    .documents
                    .retry_parked(name, Some(subject))
                    .await?;
                Ok(())
            }
            Some(earlier) => {
                let positions: Vec<String> =
                    earlier.iter().map(|it| it.position.to_string()).collect();
                let more = match positions.len() < NAMED_MAX {
                    true => "",
                    false => " and maybe more",
                };
                let position = position.unwrap_or_default();
                let why = format!(
                    "the event at position {position} can't be retried yet: before it, for {subject}, \
                     wait those at {}{more}; retry or drop them first",
                    positions.join(", ")
                );
                Err(refused(name, &why))
            }
            None => {
                let at = position.map_or_else(String::new, |at| format!(" at position {at}"));
                let why =
                    format!("no event{at} is parked for {subject}; `parked` lists those that are");
                Err(refused(name, &why))
            }
        }
    }

    /// Drops parked events from the projection for good.
    pub(super) async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
    ) -> Result<(), Error> {
        check_filter(which)?;
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            let rule =
                format!("a reason for dropping parked events has 1 to {REASON_BYTES_MAX} bytes");
            return Err(Invalid(rule).into());
        }
        let (documents, now) = (&self.shared.documents, self.shared.clock.now());
        let known = Drops::read(&**documents, name, Position(0)).await?.len();
        let max = self.shared.options.parked_max;
        if known >= max {
            let why = format!(
                "{known} events are dropped, at most {max} may be; deploy what can fold those that \
                 wait, then `retry-parked`"
            );
            return Err(refused(name, &why));
        }
        if documents.drop_parked(name, which, reason, now).await? == 0 {
            return Err(refused(
                name,
                "no such event is parked; `parked` lists those that are, with the document or the \
                 stream for which each waits: name it with --document or --stream",
            ));
        }
        Ok(())
    }
}

/// Checks that a position comes with the document or stream for which the event is parked.
fn check_filter(which: &ParkedFilter) -> Result<(), Error> {
    match (&which.subject, which.position) {
        (None, Some(position)) => Err(Invalid(format!(
            "position {position} is given without the document or stream for which the event is \
             parked"
        ))
        .into()),
        _ => Ok(()),
    }
}

impl ParkedPage {
    fn of(events: Vec<FailedEvent>, limit: usize) -> Self {
        let last = events.last().filter(|_| events.len() >= limit);
        let next = last.map(|last| (last.subject.clone(), last.position));
        Self { events, next }
    }
}
