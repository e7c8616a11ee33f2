use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use serde::Serialize;

use super::digests::CommitDigests;
use super::line::Totals;
use super::lines::{LINE_BYTES_MAX, Lines};
use super::read::{Begin, Entry, Module, entry};
use super::resume::{Open, Present};
use super::{Error, Failed};
use crate::commit;
use crate::deploy::Signing;
use crate::model::{Digest, Position, StreamId, Timestamp, without_mark};
use crate::store::{
    self, Anchor, Deployment, DocumentStore, DroppedEvent, EventReader, ModuleStore, SnapshotStore,
    StoredCommit, StoredEvent,
};

/// Limit for the number of events dropped from one projection, because owners of builds hold all of
/// them in memory.
const DROPPED_MAX: u64 = 1_000_000;

/// The target of an import.
#[derive(Clone)]
pub struct Target {
    /// Reads what the store already has.
    pub reader: Arc<dyn EventReader>,
    /// Stores the components.
    pub modules: Arc<dyn ModuleStore>,
    /// Finds the streams that are already truncated.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Stores the dropped events.
    pub documents: Arc<dyn DocumentStore>,
    /// Stores everything else.
    pub committer: commit::Handle,
    /// Checks the signatures of components.
    pub signing: Signing,
}

/// The progress of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Components in the file.
    pub modules: u64,
    /// Activations in the file.
    pub plans: u64,
    /// Events in the file that were dropped from projections.
    pub dropped: u64,
    /// Events that were imported.
    pub events: u64,
    /// Events that an earlier, interrupted import had imported.
    pub skipped: u64,
    /// Archived streams in the file.
    pub streams: u64,
    /// Truncated streams in the file.
    pub anchors: u64,
    /// Position of the store's last event.
    pub head: Position,
}

/// Imports the lines of an export. The store must be empty, or have what an interrupted import of
/// the same log left: the import then continues after the last event. Progress is reported through
/// `report` after each part. No other host writes to the store until the end.
///
/// # Errors
/// Before anything is imported, when other hosts stay connected to the store. [`Failed`] reports the
/// progress. What was imported is retained.
pub async fn import<S, E>(
    target: &Target,
    input: S,
    report: &mut (dyn FnMut(&Imported) + Send),
) -> Result<Imported, Failed>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::fmt::Display,
{
    let fresh = |error: store::Error| Failed {
        error: error.into(),
        imported: Imported::default(),
    };
    let _exclusion = match target.committer.exclude_hosts().await {
        Ok(exclusion) => exclusion,
        Err(error) => {
            let mut failed = fresh(error);
            failed.imported.head = target.reader.log_head().await.unwrap_or_default();
            return Err(failed);
        }
    };
    let present = Present::read(target).await.map_err(fresh)?;
    let mut lines = Lines::new(input, LINE_BYTES_MAX);
    let mut importing = Importing::new(target, present, report);
    let error = match importing.run(&mut lines).await {
        Ok(()) => return Ok(importing.imported),
        Err(error) => error,
    };
    if !matches!(error, Error::Part { .. } | Error::Store(_)) {
        // Stores what was read before the error, which would otherwise have to be sent a second
        // time. Only the first error is reported.
        _ = importing.put_whole_commits().await;
    }
    Err(Failed {
        error,
        imported: importing.imported,
    })
}

/// The parts of a file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Nothing,
    Begin,
    Modules,
    Plans,
    Dropped,
    Log,
    Streams,
    Anchors,
    End,
}

/// The state of a running import.
pub(super) struct Importing<'a> {
    pub(super) target: &'a Target,
    pub(super) report: &'a mut (dyn FnMut(&Imported) + Send),
    pub(super) present: Present,
    pub(super) imported: Imported,
    /// The part of the file that was reached.
    part: Part,
    /// Number of the current line.
    pub(super) line: u64,
    /// Whether the file starts directly after the store's last event, so that the store has none of
    /// its events.
    extends: bool,
    /// Whether the store's last event was found in the file, or need not be in it.
    pub(super) is_found: bool,
    /// The first line of the file.
    begin: Option<Begin>,
    pub(super) counts: Totals,
    /// The projection of the current dropped events, and their number so far.
    drops: Option<(String, u64)>,
    known: HashSet<Digest>,
    /// The commit whose first event is the next line.
    pub(super) commit: Option<(Position, StoredCommit)>,
    pub(super) open: Option<Open>,
    pub(super) digests: CommitDigests,
    pub(super) batch: Vec<StoredEvent>,
    pub(super) batch_bytes: usize,
    /// Number of the batch's first line.
    pub(super) batch_line: u64,
}

impl<'a> Importing<'a> {
    fn new(
        target: &'a Target,
        present: Present,
        report: &'a mut (dyn FnMut(&Imported) + Send),
    ) -> Self {
        Self {
            target,
            report,
            imported: Imported {
                head: present.head(),
                ..Imported::default()
            },
            present,
            part: Part::Nothing,
            line: 0,
            extends: false,
            is_found: false,
            begin: None,
            counts: Totals::default(),
            drops: None,
            known: HashSet::new(),
            commit: None,
            open: None,
            digests: CommitDigests::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_line: 0,
        }
    }

    async fn run<S, E>(&mut self, lines: &mut Lines<S>) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: std::fmt::Display,
    {
        while let Some(text) = lines.next().await? {
            self.line = lines.number();
            let text = match self.line {
                1 => without_mark(&text),
                _ => &text,
            };
            // Editors leave an empty last line.
            if self.part == Part::End && text.trim_ascii().is_empty() {
                continue;
            }
            let entry = entry(text).map_err(|invalid| self.wrong(invalid.0))?;
            self.take(entry).await?;
        }
        match self.part {
            Part::End => Ok(()),
            _ => Err(Error::Incomplete(lines.number())),
        }
    }

    async fn take(&mut self, entry: Entry) -> Result<(), Error> {
        self.enter(match &entry {
            Entry::Begin(_) => Part::Begin,
            Entry::Module(_) => Part::Modules,
            Entry::Plan(_) => Part::Plans,
            Entry::Dropped(..) => Part::Dropped,
            Entry::Commit(..) | Entry::Event(_) => Part::Log,
            Entry::Archived(..) => Part::Streams,
            Entry::Truncated(_) => Part::Anchors,
            Entry::End(_) => Part::End,
        })
        .await?;
        match entry {
            Entry::Begin(begin) => self.begin(begin),
            Entry::Module(module) => self.module(module).await,
            Entry::Plan(plan) => self.plan(plan).await,
            Entry::Dropped(projection, event) => self.dropped(&projection, &event).await,
            Entry::Commit(first, commit) => self.commit(first, *commit).await,
            Entry::Event(event) => self.event(*event).await,
            Entry::Archived(stream, since) => self.archived(stream, since).await,
            Entry::Truncated(anchor) => self.truncated(anchor).await,
            Entry::End(totals) => self.end(&totals),
        }
    }

    /// Checks that a line is allowed here, and that nothing is missing before it.
    async fn enter(&mut self, part: Part) -> Result<(), Error> {
        let before = self.part;
        let is_once = matches!(part, Part::Begin | Part::End);
        if part < before || (is_once && part == before) {
            return Err(self.wrong("the line does not belong here".to_owned()));
        }
        if before == Part::Nothing && part != Part::Begin {
            return Err(self.wrong("the first line is not a quipu.export".to_owned()));
        }
        if before <= Part::Modules && part > Part::Modules {
            let plans = self.present.plans.iter();
            let mut needed = plans.flat_map(modules_of);
            if let Some(module) = needed.find(|module| !self.known.contains(module)) {
                let reason = format!("it has module {module}, the file has not");
                return Err(Error::Differs(reason));
            }
        }
        if before <= Part::Plans && part > Part::Plans {
            let there = self.present.plans.get(self.counts.plans as usize);
            if let Some(plan) = there {
                let reason = format!("it has plan {}, the file has not", plan.plan);
                return Err(Error::Differs(reason));
            }
        }
        if before <= Part::Log && part > Part::Log {
            self.finish_log().await?;
        }
        self.part = part;
        Ok(())
    }

    async fn finish_log(&mut self) -> Result<(), Error> {
        self.check_commit_is_whole()?;
        if !self.is_found {
            return Err(self.not_found());
        }
        self.put().await
    }

    fn begin(&mut self, begin: Begin) -> Result<(), Error> {
        self.extends = self
            .present
            .is_extended_by(&begin)
            .map_err(Error::Differs)?;
        self.is_found = self.extends;
        if self.extends {
            let last = self.present.last.as_ref();
            self.open = last.and_then(|last| last.open.clone());
        }
        self.counts.head = begin.after.map_or(0, |(position, _)| position.0);
        self.begin = Some(begin);
        Ok(())
    }

    async fn module(&mut self, module: Module) -> Result<(), Error> {
        let checked = self
            .target
            .signing
            .check(module.digest, &module.bytes, &module.signatures);
        checked.map_err(|error| self.wrong(error.to_string()))?;
        let mut there = self.present.modules.iter();
        match there.find(|there| there.digest == module.digest) {
            // A module that was only uploaded is not part of the history, so having it already is
            // not a conflict.
            Some(_) if !self.known.contains(&module.digest) => {}
            Some(_) => return Err(self.wrong(format!("module {} occurs twice", module.digest))),
            None if self.extends => {
                let Module {
                    digest,
                    bytes,
                    uploaded_at,
                    ..
                } = &module;
                if !self
                    .target
                    .modules
                    .put(*digest, bytes, *uploaded_at)
                    .await?
                {
                    return Err(self.wrong(format!("module {digest} occurs twice")));
                }
            }
            None => {
                let reason = format!("it lacks module {} of the file", module.digest);
                return Err(Error::Differs(reason));
            }
        }
        for signature in &module.signatures {
            self.target.modules.sign(module.digest, *signature).await?;
        }
        self.known.insert(module.digest);
        self.counts.modules += 1;
        self.imported.modules += 1;
        Ok(())
    }

    async fn plan(&mut self, plan: Box<Deployment>) -> Result<(), Error> {
        let number = plan.plan;
        if number != self.counts.plans + 1 {
            let expected = self.counts.plans + 1;
            return Err(self.wrong(format!("plan {number} is where {expected} belongs")));
        }
        modules_of(&plan).try_for_each(|digest| self.check_module(digest))?;
        match self.present.plans.get(self.counts.plans as usize) {
            Some(there) if there.exported() == *plan => {}
            None if self.extends => {
                let put = self
                    .target
                    .committer
                    .import(store::Import::Plan(plan))
                    .await;
                put.map_err(|error| self.refused(self.line, error))?;
            }
            _ => {
                return Err(Error::Differs(format!(
                    "its plan {number} is not the file's"
                )));
            }
        }
        self.counts.plans += 1;
        self.imported.plans += 1;
        Ok(())
    }

    /// Stores a dropped event. Dropped events come before the log, so that no build folds them.
    async fn dropped(&mut self, projection: &str, event: &DroppedEvent) -> Result<(), Error> {
        let head = self.begin.as_ref().map_or(Position(0), |begin| begin.head);
        if event.position > head {
            let position = event.position;
            return Err(self.wrong(format!(
                "position {position} is dropped, the last is {head}"
            )));
        }
        self.drops = match self.drops.take() {
            Some((of, _)) if *of > *projection => {
                let order = "dropped events are in the order of their projections' names";
                return Err(self.wrong(order.to_owned()));
            }
            Some((of, count)) if of == projection => Some((of, count + 1)),
            _ => Some((projection.to_owned(), 1)),
        };
        if self
            .drops
            .as_ref()
            .is_some_and(|(_, count)| *count > DROPPED_MAX)
        {
            return Err(self.wrong(format!(
                "more than {DROPPED_MAX} events are dropped from projection {projection}"
            )));
        }
        let recorded = self.target.documents.record_drop(projection, event).await;
        recorded?;
        self.counts.dropped += 1;
        self.imported.dropped += 1;
        Ok(())
    }

    async fn archived(&mut self, stream: StreamId, since: Timestamp) -> Result<(), Error> {
        let mark = store::Import::Archived(stream, since);
        let put = self.target.committer.import(mark).await;
        put.map_err(|error| self.refused(self.line, error))?;
        self.counts.streams += 1;
        self.imported.streams += 1;
        Ok(())
    }

    async fn truncated(&mut self, anchor: Box<Anchor>) -> Result<(), Error> {
        self.present.truncated.remove(anchor.stream.as_str());
        let mark = store::Import::Truncated(anchor);
        let put = self.target.committer.import(mark).await;
        put.map_err(|error| self.refused(self.line, error))?;
        self.counts.anchors += 1;
        self.imported.anchors += 1;
        Ok(())
    }

    fn end(&mut self, totals: &Totals) -> Result<(), Error> {
        let head = self.begin.as_ref().map(|begin| begin.head.0);
        if *totals != self.counts || head != Some(totals.head) {
            let (expected, found) = (totals, &self.counts);
            let reason =
                format!("lines are missing: the last line counts {expected}, the file has {found}");
            return Err(self.wrong(reason));
        }
        // An import can't remove a mark that an earlier import has set.
        if let Some(stream) = self.present.truncated.first() {
            return Err(Error::Differs(format!(
                "stream {stream} is truncated in it, and whole in the file"
            )));
        }
        (self.report)(&self.imported);
        Ok(())
    }

    pub(super) fn check_module(&self, module: Digest) -> Result<(), Error> {
        match self.known.contains(&module) {
            true => Ok(()),
            false => Err(self.wrong(format!("module {module} is not in the file"))),
        }
    }

    pub(super) fn wrong(&self, reason: String) -> Error {
        let line = self.line;
        Error::Line { line, reason }
    }

    pub(super) fn not_found(&self) -> Error {
        let head = self.present.head();
        Error::Differs(format!(
            "the store's last event, at position {head}, is not in the file"
        ))
    }

    pub(super) fn refused(&self, first: u64, error: store::Error) -> Error {
        let last = self.line;
        Error::Part { first, last, error }
    }
}

/// Returns the modules that an activation names.
fn modules_of(plan: &Deployment) -> impl Iterator<Item = Digest> {
    plan.members().filter_map(|(_, digest)| digest)
}
