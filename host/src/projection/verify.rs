//! Compares the documents of projections with what the events produce when they are folded from
//! scratch.
//!
//! The owner of a build continues meanwhile. So documents are folded up to one position, and those
//! that differ are rechecked: such a document is folded further, up to the change that the store
//! has of it by then.

use std::collections::HashSet;
use std::sync::Arc;

use super::folded::{Folded, Part, Skips, Value};
use super::parked::Parked;
use super::rules::{Event, FoldFailure, Keyed, Rules};
use super::scanned::Scanned;
use super::settle::Suspect;
use super::shared::{Shared, blocking};
use super::{Error, Service};
use crate::model::{Lifecycle, Mismatch, Position, StreamId};
use crate::store::{Build, DOCUMENTS_PAGE_MAX, Direction, Scan, Subject};

/// Limits for the number and bytes of the documents that are rechecked together.
const SUSPECTS_MAX: usize = 500;
const SUSPECT_BYTES_MAX: usize = 16 << 20;

/// The result of verifying one projection.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Name of the projection.
    pub projection: Arc<str>,
    /// The position up to which the projection was folded. Documents that changed meanwhile were
    /// folded further.
    pub position: Position,
    /// Documents that are equal, byte for byte.
    pub same: u64,
    /// Documents that differ, and streams with unreadable events.
    pub different: u64,
    /// Documents and streams that were left out because events are parked for them.
    pub parked: u64,
    /// Whether every document was compared. False if the plan, the build or the events parked for
    /// streams changed meanwhile, or if the build is stale. A stale build is not compared at all.
    pub is_complete: bool,
}

/// A document that differs from what it should be.
#[derive(Debug, Clone)]
pub struct Mismatched {
    /// Name of the projection.
    pub projection: Arc<str>,
    /// Key of the document. For an unreadable event, its stream.
    pub key: Arc<str>,
    /// What is wrong with the document.
    pub mismatch: Mismatch,
    /// The position up to which the document was folded, or that of the event that fails.
    pub position: Position,
    /// A description for operators.
    pub text: String,
}

/// Receives the mismatches.
pub type MismatchSink<'a> = &'a mut (dyn FnMut(Mismatched) + Send);
/// Receives the progress of a projection: the position reached, and the last one to reach.
pub type Reached<'a> = &'a mut (dyn FnMut(Position, Position) + Send);

impl Service {
    /// Folds every deployed projection from scratch, under the current plan and with the module of
    /// its active build, and compares the documents with the stored ones, byte for byte. Live
    /// projections have no stored documents. Nothing is written. Dropping the future cancels the
    /// verification.
    ///
    /// Documents and streams for which events are parked are left out, and so are skipped events.
    /// Documents are folded in parts of at most
    /// [`Options::verify_bytes`](super::Options::verify_bytes). The log is read once for each part.
    ///
    /// # Errors
    /// When a module can't be loaded, or the store fails.
    pub async fn verify(
        &self,
        found: MismatchSink<'_>,
        reached: Reached<'_>,
    ) -> Result<Vec<Compared>, Error> {
        // Everything folded so far was committed under a plan that is known after this.
        self.shared.learn_plan().await?;
        let plan = self.shared.registry.plan();
        let mut all = Vec::new();
        for (name, projected) in plan.projections() {
            if projected.settings.lifecycle == Lifecycle::Live {
                continue;
            }
            let (build, position) = match self.shared.active(name).await {
                Ok(active) => (active.build, active.position),
                // The projection has become live or has been removed.
                Err(Error::IsLive(_) | Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let rules = Arc::new(self.shared.rules(name, build.module).await?);
            if build.stale.is_some() {
                // The status already shows this, and a rebuild is under way.
                all.push(Compared {
                    projection: Arc::clone(&rules.name),
                    position,
                    same: 0,
                    different: 0,
                    parked: 0,
                    is_complete: false,
                });
                continue;
            }
            // Read after the position, so that it includes everything parked up to there.
            let parked = Parked::read(&*self.shared.documents, build.id).await?;
            let checking = Checking {
                compared: Compared {
                    projection: Arc::clone(&rules.name),
                    position,
                    same: 0,
                    different: 0,
                    parked: parked.subjects().len() as u64,
                    is_complete: true,
                },
                shared: &self.shared,
                rules,
                build,
                parked,
                unreadable: HashSet::new(),
                found: &mut *found,
            };
            all.push(checking.run(&mut *reached).await?);
        }
        Ok(all)
    }
}

/// Why the comparison of a projection ends early.
pub(super) enum Halt {
    /// The build, its module, the plan, or the streams for which events are parked have changed.
    Changed,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Fails when the host could not fold an event, which says nothing about the document.
fn check_host(stuck: &FoldFailure) -> Result<(), Halt> {
    match stuck.is_of_host() {
        true => Err(stuck.unavailable().into()),
        false => Ok(()),
    }
}

/// The comparison of one projection.
pub(super) struct Checking<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rules: Arc<Rules>,
    pub(super) build: Build,
    pub(super) parked: Parked,
    pub(super) compared: Compared,
    /// Streams whose unreadable events have been reported.
    pub(super) unreadable: HashSet<StreamId>,
    pub(super) found: MismatchSink<'a>,
}

/// For each document to be folded, the range of its events: after the first position, up to the
/// second.
type Wanted<'a> = &'a (dyn Fn(&Arc<str>) -> Option<(Position, Position)> + Sync);

impl Checking<'_> {
    async fn run(mut self, reached: Reached<'_>) -> Result<Compared, Error> {
        match self.compare_all(reached).await {
            Ok(()) => {}
            Err(Halt::Changed) => self.compared.is_complete = false,
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(self.compared)
    }

    async fn compare_all(&mut self, reached: Reached<'_>) -> Result<(), Halt> {
        let mut parts = vec![Part::default()];
        while let Some(part) = parts.pop() {
            let (part, folded) = self.fold_part(part, &mut parts, &mut *reached).await?;
            self.compare(part, folded).await?;
        }
        Ok(())
    }

    /// Folds a part of the documents. If the part is too large, it is halved, and the other halves
    /// are added to the parts to fold later.
    async fn fold_part(
        &mut self,
        mut part: Part,
        parts: &mut Vec<Part>,
        reached: Reached<'_>,
    ) -> Result<(Part, Folded), Halt> {
        let (mut folded, mut skips) = (Folded::default(), Skips::after(Position(0)));
        let (mut at, until) = (Position(0), self.compared.position);
        let bytes_max = self.shared.options.verify_bytes;
        while at < until {
            let (events, next) = self.page(at, until).await?;
            let wanted = |key: &Arc<str>| part.holds(key).then_some((Position(0), until));
            self.fold(events, &wanted, &mut folded, &mut skips).await?;
            while folded.bytes() > bytes_max
                && let Some(rest) = part.split()
            {
                parts.push(rest);
                folded.keep(part);
            }
            at = next;
            reached(at, until);
        }
        Ok((part, folded))
    }

    /// Returns the events after one position up to another, and where the next page starts.
    pub(super) async fn page(
        &mut self,
        at: Position,
        until: Position,
    ) -> Result<(Vec<Event>, Position), Halt> {
        let (filter, limit) = (self.rules.sources.filter(), self.shared.options.page_events);
        let reading = self
            .shared
            .reader
            .read_log(at, Direction::Forward, limit, filter);
        let page = reading.await?;
        let next = page.next.filter(|next| *next < until).unwrap_or(until);
        let events = page.events.into_iter();
        let events = events.filter(|event| event.position <= until);
        let events: Vec<Event> = events.map(Arc::new).collect();
        let newest = events.iter().map(|event| event.commit.plan).max();
        if newest.is_some_and(|newest| newest > self.rules.plan.number) {
            return Err(Halt::Changed);
        }
        Ok((events, next))
    }

    /// Folds events into the wanted documents.
    pub(super) async fn fold(
        &mut self,
        mut events: Vec<Event>,
        wanted: Wanted<'_>,
        folded: &mut Folded,
        skips: &mut Skips,
    ) -> Result<(), Halt> {
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(());
        };
        let documents = &*self.shared.documents;
        let skipped = skips.until(documents, self.build.id, last).await?;
        if self.parked.len() > 0 || !skipped.is_empty() {
            events.retain(|event| {
                let subject = Subject::Stream(event.stream.as_str().into());
                let parked_from = self.parked.first(&subject);
                let is_parked = parked_from.is_some_and(|first| first <= event.position);
                !is_parked && !skipped.contains(&(event.position, subject))
            });
        }
        while !events.is_empty() {
            let (rules, given) = (Arc::clone(&self.rules), events.clone());
            let (keyed, stuck) = self.folding(move || rules.key(given)).await?;
            self.apply(keyed, wanted, &skipped, folded).await?;
            let Some(stuck) = stuck else {
                break;
            };
            check_host(&stuck)?;
            events.retain(|event| event.position > stuck.position);
            self.report_unreadable(stuck);
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        mut keyed: Keyed,
        wanted: Wanted<'_>,
        skipped: &HashSet<(Position, Subject)>,
        folded: &mut Folded,
    ) -> Result<(), Halt> {
        let events = &keyed.events;
        keyed.works.retain_mut(|(key, indexes)| {
            if self.parked.holds_document(key) || folded.has_failed(key) {
                return false;
            }
            let Some((after, until)) = wanted(key) else {
                return false;
            };
            indexes.retain(|index| {
                let position = events[*index].position;
                let is_skipped = || {
                    let subject = Subject::Document(Arc::clone(key));
                    skipped.contains(&(position, subject))
                };
                after < position && position <= until && (skipped.is_empty() || !is_skipped())
            });
            !indexes.is_empty()
        });
        let tasks = keyed.tasks(|key| folded.document(key));
        if tasks.is_empty() {
            return Ok(());
        }
        let rules = Arc::clone(&self.rules);
        let applying = self.folding(move || match rules.apply(&tasks) {
            Ok(documents) => {
                let keys = tasks.into_iter().map(|task| task.key);
                keys.zip(documents.into_iter().map(Ok)).collect()
            }
            Err(_) => {
                let one_by_one = tasks.into_iter().map(|task| {
                    let document = rules.apply_one(&task);
                    (task.key, document)
                });
                one_by_one.collect::<Vec<_>>()
            }
        });
        for (key, document) in applying.await? {
            match document {
                Ok(document) => folded.put(key, document),
                Err(stuck) => {
                    check_host(&stuck)?;
                    folded.fail(key, stuck);
                }
            }
        }
        Ok(())
    }

    /// Runs a guest. The number of guests that run at the same time is limited.
    async fn folding<T: Send + 'static>(
        &mut self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Halt> {
        let permit = self.shared.folding.acquire().await;
        let _permit = permit.map_err(|_| Error::Stopped)?;
        Ok(blocking(run).await?)
    }

    /// Compares a part of the documents with the stored ones.
    async fn compare(&mut self, part: Part, mut folded: Folded) -> Result<(), Halt> {
        let at = self.compared.position;
        let (mut suspects, mut suspect_bytes) = (Vec::new(), 0);
        let mut pages = Scanned::new(&*self.shared.documents, self.build.id, Scan::default());
        while let Some(page) = pages.next(DOCUMENTS_PAGE_MAX).await? {
            for found in page {
                if !part.holds(&found.key) || self.parked.holds_document(&found.key) {
                    continue;
                }
                let document = match folded.take(&found.key) {
                    Some(Value::Document(document)) if document == found.document => {
                        self.compared.same += 1;
                        continue;
                    }
                    Some(Value::Failed(stuck)) => {
                        self.report_unfoldable(found.key, &stuck);
                        continue;
                    }
                    Some(Value::Document(document)) => Some(document),
                    None => None,
                };
                suspect_bytes += found.document.len();
                suspect_bytes += document.as_ref().map_or(0, |document| document.len());
                suspects.push(Suspect {
                    key: found.key,
                    folded: document,
                    at,
                    seen: (Some(found.document), found.change),
                });
                if suspects.len() >= SUSPECTS_MAX || suspect_bytes >= SUSPECT_BYTES_MAX {
                    suspect_bytes = 0;
                    self.settle(std::mem::take(&mut suspects)).await?;
                }
            }
        }
        for (key, value) in folded {
            match value {
                Value::Failed(stuck) => self.report_unfoldable(key, &stuck),
                Value::Document(document) => suspects.push(Suspect {
                    key,
                    folded: Some(document),
                    at,
                    seen: (None, 0),
                }),
            }
            if suspects.len() >= SUSPECTS_MAX {
                self.settle(std::mem::take(&mut suspects)).await?;
            }
        }
        self.settle(suspects).await
    }
}
