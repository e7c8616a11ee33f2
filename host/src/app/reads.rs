//! Reads of a host's streams and its log.

use super::Host;
use super::pages::{ReadLog, ReadStream};
use crate::deploy::{ProjectionChanges, Release};
use crate::engine::{At, Checked, Error, SchemaMismatches, StateView};
use crate::fold::{Snapshots, Taken};
use crate::model::{CommandRecord, Digest, Invalid, Position, RecordedEvent, StreamId, Version};
use crate::proof::{self, Policy, Preflight, Progress, Report, Scope, Shadow, Shadowing};
use crate::store::{
    Direction, Filter, Rejected, RejectionFilter, StoredEvent, StreamFilter, StreamsPage, Versions,
};

impl Host {
    /// Writes the rejections that are not stored yet.
    pub(super) async fn keep_rejections(&self) {
        if let Err(error) = self.tenant.engine.rejections().flush().await {
            tracing::warn!(%error, "the last rejections were not stored");
        }
    }

    /// Returns up to `limit` of the last rejected commands, newest first, before a number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rejections(
        &self,
        filter: RejectionFilter<'_>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Rejected>, Error> {
        let rejections = self.tenant.engine.rejections();
        rejections.flush().await?;
        let before = before.unwrap_or(i64::MAX.unsigned_abs());
        let store = rejections.store();
        let page = store.read(filter, before, Direction::Backward, limit);
        Ok(page.await?)
    }

    /// Returns the types of commands of which some did not match the schema that their decider
    /// declares, with their number on this host since the decider became active. Only those of
    /// categories whose commands are validated.
    pub fn schema_mismatches(&self) -> Vec<SchemaMismatches> {
        self.tenant.engine.schema_mismatches()
    }

    /// Returns up to `limit` streams after an id, in the order of their ids' bytes.
    ///
    /// # Errors
    /// When the limit is 0, or the store fails.
    pub async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage, Error> {
        if limit == 0 {
            return Err(Invalid("limits begin at 1".to_owned()).into());
        }
        Ok(self.tenant.reader.streams(after, limit, filter).await?)
    }

    /// Reads up to `limit` events of a stream, lifted, once it is awaited. The page says where to
    /// continue. Forward, it is empty from the version after the last event, and a later version is
    /// refused. [`ReadStream`] has what else can be chosen.
    ///
    /// # Errors
    /// When there is no such stream, when a bound is 0, when the version before `from` does not
    /// exist and the read is forward, or when the store fails.
    pub fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> ReadStream<'a> {
        let versions = Versions {
            from,
            to: None,
            direction,
        };
        ReadStream::new(self, stream, versions, limit)
    }

    /// Returns the version of a stream; none when there is no such stream.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn version(&self, stream: &StreamId) -> Result<Option<Version>, Error> {
        let head = self.tenant.reader.head(stream).await?;
        Ok(head.map(|head| head.version))
    }

    /// Reads up to `limit` events of the log that pass the filter, lifted, once it is awaited. The
    /// page says where to continue. A type of the filter also selects events that are stored under
    /// its older names, and events that are stored under this name but have another name now. All
    /// parts of a split event are on one page, which may therefore have more events than `limit`.
    /// Forward, the page after the last event is empty, and a later position is refused.
    ///
    /// # Errors
    /// When the limit is 0, a part of the filter is empty, the position does not exist and the read
    /// is forward, the first event can't be lifted, or the store fails. The page ends before any
    /// other event that can't be lifted.
    pub fn read_log<'a>(
        &'a self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> ReadLog<'a> {
        ReadLog::new(self, after, direction, limit, filter)
    }

    /// Refuses a position after the end of the log. `head` is where the log ended when the request
    /// was read or later, so a page with events needs no query.
    pub(super) async fn check_end(&self, after: Position, head: Position) -> Result<(), Error> {
        if after <= head {
            return Ok(());
        }
        // The caller may have appended an event that the head does not show yet.
        let last = self.tenant.reader.last_taken().await?;
        if after <= last {
            return Ok(());
        }
        let place = format!("position {after} of the log");
        Err(Invalid::after_the_end(place, last.0).into())
    }

    /// Lifts events for readers that are not guests: each to the version that the active decider of
    /// its category reads, or as far as the upcasters go if there is no decider. The parts of a
    /// split event follow each other. A dropped event is left out.
    ///
    /// # Errors
    /// At the first event that can't be lifted.
    pub async fn lifted(&self, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>, Error> {
        Ok(self.tenant.registry.lift(events).await?)
    }

    /// Returns the event at a position, as it is stored; none when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn event(&self, position: Position) -> Result<Option<RecordedEvent>, Error> {
        let Some(before) = position.0.checked_sub(1) else {
            return Ok(None);
        };
        let page = self
            .tenant
            .reader
            .read_log(Position(before), Direction::Forward, 1, &Filter::default())
            .await?;
        Ok(page
            .events
            .into_iter()
            .next()
            .filter(|event| event.position == position))
    }

    /// Returns the command that led to an event of the log, as it was accepted. None for events
    /// that no module decided.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn command_of(&self, event: &RecordedEvent) -> Result<Option<CommandRecord>, Error> {
        if event.commit.module.is_none() {
            return Ok(None);
        }
        let Some(stored) = self.stored(event.position).await? else {
            return Ok(None);
        };
        // The command of a commit is stored with its first event. The positions of a commit follow
        // each other within a stream.
        let offset = stored.commit_offset;
        let first = match (offset, event.position.0.checked_sub(offset)) {
            (0, _) => Some(stored),
            (_, Some(first)) => self.stored(Position(first)).await?,
            (_, None) => None,
        };
        let is_its = |first: &StoredEvent| {
            let version = event.version.0.checked_sub(offset);
            first.stream == event.stream && Some(first.version.0) == version
        };
        let commit = first.filter(is_its).and_then(|first| first.commit);
        Ok(commit.and_then(|commit| commit.command))
    }

    async fn stored(&self, position: Position) -> Result<Option<StoredEvent>, Error> {
        let Some(before) = position.0.checked_sub(1) else {
            return Ok(None);
        };
        let page = self.tenant.reader.read_stored(Position(before), 1).await?;
        let mut events = page.events.into_iter();
        Ok(events.find(|event| event.position == position))
    }

    /// Returns the position of the last event; 0 for an empty log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_head(&self) -> Result<Position, Error> {
        Ok(self.tenant.reader.log_head().await?)
    }

    /// Returns the committed state of a stream, as its decider renders it.
    ///
    /// # Errors
    /// When there is no such stream, no decider for it, or the decider does not show the state.
    pub async fn state(&self, stream: &StreamId) -> Result<StateView, Error> {
        self.state_at(stream, At::Now, None).await
    }

    /// Returns the state of a stream now or in the past, as rendered by its decider or by another
    /// module of the store that decides the same category.
    ///
    /// # Errors
    /// As [`state`](Self::state); when the stream never had the version, or the module is
    /// not in the store or decides another category.
    pub async fn state_at(
        &self,
        stream: &StreamId,
        at: At,
        module: Option<Digest>,
    ) -> Result<StateView, Error> {
        self.tenant.engine.state(stream, at, module).await
    }

    /// Takes a snapshot of a stream, folded from its first event, and compares it with the stored
    /// ones.
    ///
    /// # Errors
    /// When there is no such stream or decider, an event can't be read, or the guest makes no
    /// snapshot that it can open.
    pub async fn snapshot(&self, stream: &StreamId) -> Result<Taken, Error> {
        self.tenant.engine.snapshot(stream).await
    }

    /// Compares the latest snapshots of a category, at most this many, with the states that are
    /// folded from the first event.
    ///
    /// # Errors
    /// When the category has no decider, or the store fails.
    pub async fn check_snapshots(
        &self,
        category: &str,
        sample: usize,
    ) -> Result<Vec<Checked>, Error> {
        self.tenant.engine.check_snapshots(category, sample).await
    }

    /// Runs a module as a shadow next to the active one: it also decides the commands that are
    /// decided from now on, on every host, and the results are compared. Nothing of it is stored.
    /// `report` receives the results once a second. One shadow at a time on a host. Dropping the
    /// future ends it.
    ///
    /// # Errors
    /// When a shadow is running, the module could not be activated, or the store fails.
    pub async fn shadow(
        &self,
        module: Digest,
        policy: &Policy,
        how: &Shadowing,
        report: Report<'_>,
    ) -> Result<Shadow, proof::Error> {
        self.tenant.prover.shadow(module, policy, how, report).await
    }

    /// Reports what would be different if a module, or a release of several, were activated: it
    /// re-decides recorded commands of the categories whose deciding it would change, and the
    /// results are compared with the recorded ones. Nothing is written. One run at a time, including
    /// [`verify`](Self::verify). With changes of projections' lifecycles, use
    /// [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// When a run is in progress, the release could not be activated, or the store fails.
    pub async fn preflight(
        &self,
        release: impl Into<Release>,
        policy: &Policy,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Preflight, proof::Error> {
        let (release, unchanged) = (release.into(), ProjectionChanges::default());
        let given = (&unchanged, policy);
        self.check_release(&release, given, scope, progress).await
    }

    /// Makes a preflight of a release with changes of projections' lifecycles.
    pub(super) async fn check_release(
        &self,
        release: &Release,
        given: (&ProjectionChanges, &Policy),
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Preflight, proof::Error> {
        self.keep_rejections().await;
        let prover = &self.tenant.prover;
        let found = prover.preflight(release, given, scope, progress).await?;
        let meters = self.meters();
        let result = if found.passes() { "passed" } else { "objected" };
        meters.preflights.count(result);
        for objection in &found.objections {
            meters.objections.count(objection.kind.as_str());
        }
        Ok(found)
    }

    /// Returns how snapshots were used since the host was started.
    pub fn snapshot_counts(&self) -> Snapshots {
        self.tenant.engine.snapshot_counts()
    }
}
