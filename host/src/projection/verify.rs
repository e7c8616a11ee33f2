//! Documents of projections, compared with what is folded from the first event.
//!
//! The owner of a build goes on meanwhile. So documents are folded up to one position, and
//! those that differ are looked at a second time: such a one is folded on to the change that
//! the store has of it by then.

use std::collections::HashSet;
use std::sync::Arc;

use super::folded::{Folded, Part, Skips, Value};
use super::parked::Parked;
use super::rules::{Event, Keyed, Rules};
use super::settle::Suspect;
use super::shared::{Shared, blocking};
use super::{Error, Service};
use crate::model::{Lifecycle, Mismatch, Position, StreamId};
use crate::store::{Build, DOCUMENTS_PAGE_MAX, Direction, PAGE_BYTES_MAX, Scan, Subject};

/// Documents that are looked at a second time at once, and bytes of them.
const SUSPECTS_MAX: usize = 500;
const SUSPECT_BYTES_MAX: usize = 16 << 20;
/// Documents that are read at once before anything is known of their length.
const AT_FIRST: usize = 32;

/// What came of one projection.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Its name.
    pub projection: Arc<str>,
    /// Up to here it was folded; documents that changed meanwhile, further.
    pub position: Position,
    /// Documents that are equal, byte for byte.
    pub same: u64,
    /// Documents that are not, and streams with unreadable events.
    pub different: u64,
    /// Documents and streams that were left out, because events are parked for them.
    pub parked: u64,
    /// Every document was compared. False when the plan, the build, or what is parked for streams
    /// changed meanwhile, or when the build is stale: then nothing was.
    pub is_complete: bool,
}

/// A document that is not as it should be.
#[derive(Debug, Clone)]
pub struct Mismatched {
    /// The projection.
    pub projection: Arc<str>,
    /// The document's key; of an unreadable event, its stream.
    pub key: Arc<str>,
    /// What is wrong with it.
    pub mismatch: Mismatch,
    /// Up to here it was folded, or the event that fails.
    pub position: Position,
    /// For people.
    pub text: String,
}

/// Whom mismatches are reported to.
pub type Found<'a> = &'a mut (dyn FnMut(Mismatched) + Send);
/// Who hears how far a projection is folded, and where that ends.
pub type Reached<'a> = &'a mut (dyn FnMut(Position, Position) + Send);

impl Service {
    /// Folds every deployed projection from the first event, under the present plan and by the
    /// module of its active build, and compares its documents with the stored ones, byte for
    /// byte. Live projections have none. Nothing is written; dropping the future ends it.
    ///
    /// Documents and streams for which events are parked are left out, and so are skipped
    /// events. Documents are folded in parts of at most
    /// [`Options::verify_bytes`](super::Options::verify_bytes): for each part the log is read
    /// once.
    ///
    /// # Errors
    /// When a module can't be loaded, or the store fails.
    pub async fn verify(
        &self,
        found: Found<'_>,
        reached: Reached<'_>,
    ) -> Result<Vec<Compared>, Error> {
        // What is folded up to now was committed under a plan that is known then.
        self.shared.learn_plan().await?;
        let plan = self.shared.registry.plan();
        let mut all = Vec::new();
        for (name, projected) in plan.projections() {
            if projected.settings.lifecycle == Lifecycle::Live {
                continue;
            }
            let (build, position) = match self.shared.active(name).await {
                Ok(active) => (active.build, active.position),
                // It is live, or gone, by now.
                Err(Error::IsLive(_) | Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let rules = Arc::new(self.shared.rules(name, build.module).await?);
            if build.stale.is_some() {
                // It says so itself, and a rebuild is on its way.
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
            // Later than the position: it holds whatever was parked up to there.
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

/// Why a projection is not looked at further.
pub(super) enum Halt {
    /// Its build, its module, the plan, or the streams for which events are parked are others by
    /// now.
    Changed,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One projection.
pub(super) struct Checking<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rules: Arc<Rules>,
    pub(super) build: Build,
    pub(super) parked: Parked,
    pub(super) compared: Compared,
    /// Streams of unreadable events that were reported.
    pub(super) unreadable: HashSet<StreamId>,
    pub(super) found: Found<'a>,
}

/// For each document that is to be folded: the events after a position, up to another.
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

    /// Folds a part of the documents. Where it is too large, what is left of it becomes parts
    /// to come.
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

    /// Events after a position up to another, and where to go on.
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

    /// Folds events into the documents that are wanted.
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
                Err(stuck) => folded.fail(key, stuck),
            }
        }
        Ok(())
    }

    /// Runs a guest, one of a few at a time.
    async fn folding<T: Send + 'static>(
        &mut self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Halt> {
        let permit = self.shared.folding.acquire().await;
        let _permit = permit.map_err(|_| Error::Stopped)?;
        Ok(blocking(run).await?)
    }

    /// Compares a part of the documents with what is stored.
    async fn compare(&mut self, part: Part, mut folded: Folded) -> Result<(), Halt> {
        let at = self.compared.position;
        let (mut suspects, mut suspect_bytes) = (Vec::new(), 0);
        let (mut bytes, mut read, mut is_last) = (0, 0, false);
        let mut scan = Scan::default();
        while !is_last {
            scan.limit = fitting(bytes, read);
            let page = self.shared.documents.scan(self.build.id, &scan).await?;
            is_last = page.len() < scan.limit;
            for found in page {
                bytes += found.document.len();
                read += 1;
                scan.after = Some((found.value, Arc::clone(&found.key)));
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

/// How many documents are read at once, by what those before took.
fn fitting(bytes: usize, documents: usize) -> usize {
    match bytes.checked_div(documents) {
        None => AT_FIRST,
        Some(each) => (PAGE_BYTES_MAX / each.max(1)).clamp(1, DOCUMENTS_PAGE_MAX),
    }
}
