//! Reads, queries and change feeds of documents.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};

use super::cursor::Cursor;
use super::freshness::Active;
use super::scanned::Scanned;
use super::{
    Change, ChangePlace, Compares, Condition, Error, Freshness, Query, Service, Shared, View,
    ViewPage,
};
use crate::model::{Index, Invalid};
use crate::store::{
    Build, ChangedDocument, DOCUMENTS_PAGE_MAX, PAGE_BYTES_MAX, Scan, ScannedDocument,
};

/// Limit for the number of conditions in a query.
const CONDITIONS_MAX: usize = 16;
/// Limit for the number of documents that are scanned for one page.
const SCANNED_DOCUMENTS_MAX: usize = 5_000;
/// Number of changes in one read. It is more than a single event can make.
const CHANGES_PAGE: usize = 300;
/// Bytes of changed documents that one reader has in memory. A single larger one is still read.
const CHANGED_BYTES_MAX: u64 = 256 << 10;
/// Readers of changes that have so many bytes at once, together 128 MiB. Further ones have one
/// document each.
pub(super) const CHANGED_PAGES_MAX: usize = 512;
const HEARTBEAT: Duration = Duration::from_secs(15);

impl Service {
    /// Reads a document of a projection.
    ///
    /// # Errors
    /// When there is no such projection or document, the projection is live or does not become
    /// fresh enough in time, or the store fails.
    pub async fn view(&self, name: &str, key: &str, freshness: Freshness) -> Result<View, Error> {
        let Active {
            build,
            position,
            is_stale,
            ..
        } = self.fresh(name, Some(key), freshness).await?;
        // Read before the document: events folded meanwhile may still be reported as parked, but no
        // missing event goes unreported.
        let parked = match build.has_parked {
            true => self.shared.documents.parked_for(build.id, key).await?,
            false => None,
        };
        let keys = [Arc::from(key)];
        let mut read = self.shared.documents.documents(build.id, &keys).await?;
        let found = read.pop().flatten().and_then(|read| {
            Some(View {
                key: read.key,
                document: read.document?,
                change: read.change,
                position,
                is_stale,
                parked: parked.clone(),
            })
        });
        found.ok_or_else(|| Error::NoDocument {
            projection: name.to_owned(),
            key: key.to_owned(),
            position,
            parked,
        })
    }

    /// Reads a page of documents of a projection, by indexes or by key.
    ///
    /// # Errors
    /// As [`view`](Self::view), and when the projection has no such index.
    pub async fn views(
        &self,
        name: &str,
        query: &Query,
        freshness: Freshness,
    ) -> Result<ViewPage, Error> {
        if !(1..=DOCUMENTS_PAGE_MAX).contains(&query.limit) {
            let rule = format!("limits are from 1 to {DOCUMENTS_PAGE_MAX}");
            return Err(Invalid(rule).into());
        }
        let Active {
            build,
            position,
            is_stale,
            ..
        } = self.fresh(name, None, freshness).await?;
        let parked = match build.has_parked {
            true => self.shared.documents.parked_heads(build.id).await?.subjects,
            false => 0,
        };
        let module = self.shared.registry.module(build.module).await?;
        let definition = module.projection(name);
        let indexes = definition.map_or(&[][..], |definition| &definition.indexes);
        let search = Search::of(name, indexes, query)?;
        let mut pages = Scanned::new(&*self.shared.documents, build.id, search.scan.clone());
        let (mut documents, mut scanned, mut bytes) = (Vec::new(), 0, 0);
        let (mut after, mut is_full) = (None, false);
        while !is_full
            && let Some(page) = pages
                .next(search.most(query.limit - documents.len()))
                .await?
        {
            for found in page {
                scanned += 1;
                bytes += found.document.len();
                after = Some((found.value.clone(), Arc::clone(&found.key)));
                if search.takes(indexes, &found) {
                    documents.push(View {
                        key: found.key,
                        document: found.document,
                        change: found.change,
                        position,
                        is_stale,
                        parked: None,
                    });
                }
                is_full = documents.len() == query.limit
                    || bytes >= PAGE_BYTES_MAX
                    || scanned >= SCANNED_DOCUMENTS_MAX;
                if is_full {
                    break;
                }
            }
        }
        let after = after.filter(|_| is_full || !pages.is_over());
        Ok(ViewPage {
            documents,
            cursor: after.map(|after| Cursor::of(search.scan.index, after).written()),
            position,
            is_stale,
            parked,
        })
    }

    /// Streams the changes of a projection's documents after a checkpoint, followed by new changes,
    /// with a heartbeat every 15 s. Without a checkpoint, the stream starts with all documents. If
    /// another build than that of the checkpoint is or becomes active, [`Change::Switched`] is
    /// reported, followed by all documents of that build. The stream ends after an error, or when
    /// the host shuts down.
    ///
    /// # Errors
    /// When there is no such projection, it is live, or it has not come to the change of the
    /// checkpoint; or when the store fails.
    pub async fn changes(
        &self,
        name: &str,
        after: Option<ChangePlace>,
    ) -> Result<BoxStream<'static, Result<Change, Error>>, Error> {
        let build = self.shared.active(name).await?.build;
        if let Some(after) = after.filter(|after| after.build == build.id) {
            self.check_change(name, &build, after).await?;
        }
        let following = Following {
            shared: Arc::clone(&self.shared),
            name: name.into(),
            at: after.unwrap_or(ChangePlace {
                build: build.id,
                change: 0,
            }),
            changed: VecDeque::new(),
            buffer: Vec::new().into_iter(),
            held: None,
            has_failed: false,
        };
        Ok(stream::unfold(following, Following::next).boxed())
    }

    /// Refuses a change that the build does not have: its reader would miss the next ones.
    async fn check_change(
        &self,
        name: &str,
        build: &Build,
        after: ChangePlace,
    ) -> Result<(), Error> {
        let mut last = build.changes;
        if after.change > last && build.is_inline {
            let taken = self.shared.reader.last_taken().await?;
            last = last.max(taken.0 + build.change_offset());
        }
        if after.change <= last {
            return Ok(());
        }
        let place = format!("change {after} of projection {name}");
        Err(Invalid::after_the_end(place, last).into())
    }
}

/// The execution plan of a query: one index is scanned, and the other conditions are checked
/// against the documents.
struct Search {
    scan: Scan,
    /// The conditions: number of the index, operator and encoded value.
    conditions: Vec<(usize, Compares, Box<[u8]>)>,
}

impl Search {
    fn of(name: &str, indexes: &[Index], query: &Query) -> Result<Self, Error> {
        if query.conditions.len() > CONDITIONS_MAX {
            let rule = format!("a query has at most {CONDITIONS_MAX} conditions");
            return Err(Invalid(rule).into());
        }
        let mut conditions = Vec::with_capacity(query.conditions.len());
        for condition in &query.conditions {
            conditions.push(encoded(name, indexes, condition)?);
        }
        let by_first = conditions.first().map(|(index, ..)| *index);
        let (index, is_descending) = match &query.order {
            None => (by_first, false),
            Some(order) => {
                let index = order.index.as_deref();
                let number = index
                    .map(|index| number(name, indexes, index))
                    .transpose()?;
                (number, order.is_descending)
            }
        };
        let mut scan = Scan {
            index: index.and_then(|index| u16::try_from(index).ok()),
            is_descending,
            ..Scan::default()
        };
        for (other, compares, value) in &conditions {
            if Some(*other) == index {
                let (from, to) = compares.bounds(value);
                scan.narrow(from, to);
            }
        }
        if let Some(cursor) = &query.cursor {
            scan.after = Some(Cursor::read(cursor)?.into_start(scan.index)?);
        }
        Ok(Self { scan, conditions })
    }

    /// Returns how many documents to scan at most, when this many are missing.
    fn most(&self, missing: usize) -> usize {
        let index = self.scan.index.map(usize::from);
        let mut conditions = self.conditions.iter();
        match conditions.all(|(number, ..)| Some(*number) == index) {
            true => missing,
            false => DOCUMENTS_PAGE_MAX,
        }
    }

    /// Whether a document that the scan found belongs to the result: all conditions hold, and the
    /// scan did not find it before by another of its values.
    fn takes(&self, indexes: &[Index], found: &ScannedDocument) -> bool {
        if self.conditions.is_empty() && self.scan.index.is_none() {
            return true;
        }
        let document: Value = serde_json::from_str(&found.document).unwrap_or_default();
        let values = |index: usize| indexes[index].entries(&document);
        let holds = self.conditions.iter().all(|(index, compares, wanted)| {
            let mut values = values(*index).into_iter();
            values.any(|value| compares.holds(&value, wanted))
        });
        let Some(index) = self.scan.index.filter(|_| holds) else {
            return holds;
        };
        let mut inside: Vec<Vec<u8>> = values(usize::from(index))
            .into_iter()
            .filter(|value| self.scan.admits(value))
            .collect();
        inside.sort_unstable();
        let first = match self.scan.is_descending {
            true => inside.last(),
            false => inside.first(),
        };
        first.is_some_and(|first| **first == *found.value)
    }
}

impl Compares {
    fn holds(self, value: &[u8], wanted: &[u8]) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::AtMost => value <= wanted,
            Self::Greater => value > wanted,
            Self::AtLeast => value >= wanted,
        }
    }

    /// Returns the range that contains all values for which the comparison holds. The bounds
    /// themselves may be outside.
    fn bounds(self, value: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
        let from = matches!(self, Self::Equal | Self::Greater | Self::AtLeast);
        let to = matches!(self, Self::Equal | Self::Less | Self::AtMost);
        (from.then_some(value), to.then_some(value))
    }
}

fn encoded(
    name: &str,
    indexes: &[Index],
    condition: &Condition,
) -> Result<(usize, Compares, Box<[u8]>), Error> {
    let number = number(name, indexes, &condition.index)?;
    let value = indexes[number].kind.parse(&condition.value)?;
    Ok((number, condition.comparison, value.into()))
}

fn number(name: &str, indexes: &[Index], wanted: &str) -> Result<usize, Error> {
    let mut names = indexes.iter();
    let found = names.position(|index| *index.name == *wanted);
    found.ok_or_else(|| {
        let names = indexes.iter().map(|index| &*index.name);
        let names: Vec<&str> = names.collect();
        let known = match names.is_empty() {
            true => "it has none; its documents are found by key".to_owned(),
            false => format!("it has {}", names.join(", ")),
        };
        Error::Invalid(Invalid(format!(
            "projection {name} has no index {wanted:?}: {known}"
        )))
    })
}

/// A reader that follows the changes of a projection.
struct Following {
    shared: Arc<Shared>,
    name: Arc<str>,
    at: ChangePlace,
    /// Documents of the build that have changed, and are read next.
    changed: VecDeque<ChangedDocument>,
    buffer: std::vec::IntoIter<Change>,
    /// The permit for several documents in memory. Without it there is at most one.
    held: Option<OwnedSemaphorePermit>,
    has_failed: bool,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Change, Error>, Self)> {
        if self.has_failed {
            return None;
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        let mut progress = self.shared.progress.subscribe();
        let mut grown = self.shared.grown.clone();
        loop {
            if let Some(change) = self.buffer.next() {
                return Some((Ok(change), self));
            }
            self.held = None;
            progress.borrow_and_update();
            grown.borrow_and_update();
            match self.read().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    self.has_failed = true;
                    return Some((Err(error), self));
                }
            }
            tokio::select! {
                _ = progress.changed() => {}
                changed = grown.changed() => if changed.is_err() { return None },
                () = sleep(self.shared.options.poll) => {}
                () = sleep_until(heartbeat) => {
                    let change = Change::Heartbeat(self.at);
                    return Some((Ok(change), self));
                }
                () = self.shared.ending.cancelled() => return None,
            }
        }
    }

    /// Reads the next changes. Returns false if there are none.
    async fn read(&mut self) -> Result<bool, Error> {
        if !self.changed.is_empty() {
            self.read_documents().await?;
            return Ok(true);
        }
        let Active {
            build, position, ..
        } = self.shared.active(&self.name).await?;
        if build.id != self.at.build {
            self.at = ChangePlace {
                build: build.id,
                change: 0,
            };
            let switched = Change::Switched {
                version: build.version,
                at: self.at,
            };
            self.buffer = vec![switched].into_iter();
            return Ok(true);
        }
        let documents = &self.shared.documents;
        let changed = documents.changed(build.id, self.at.change, CHANGES_PAGE);
        let mut changed = changed.await?;
        if build.is_inline {
            // Changes after the head are left out, because changes before them may still be
            // committed.
            let last = position.0 + build.change_offset();
            changed.retain(|document| document.change <= last);
        }
        self.changed = changed.into();
        Ok(!self.changed.is_empty())
    }

    /// Reads as many of the changed documents as may be in memory.
    async fn read_documents(&mut self) -> Result<(), Error> {
        self.held = Arc::clone(&self.shared.changed_pages)
            .try_acquire_owned()
            .ok();
        let bytes_max = match self.held {
            Some(_) => CHANGED_BYTES_MAX,
            None => 0,
        };
        let (mut read, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.changed.front()
            && (read.is_empty() || bytes + next.bytes <= bytes_max)
        {
            bytes += next.bytes;
            read.extend(self.changed.pop_front());
        }
        let keys: Vec<_> = read.iter().map(|it| Arc::clone(&it.key)).collect();
        let documents = self.shared.documents.documents(self.at.build, &keys);
        let documents = documents.await?;
        let mut next = read
            .iter()
            .skip(1)
            .chain(self.changed.front())
            .map(|it| it.change);
        let mut buffer = Vec::with_capacity(read.len());
        for (place, found) in read.iter().zip(documents) {
            self.at.change = place.change;
            let is_last = next.next() != Some(place.change);
            // One that has changed since comes with its new change.
            if let Some(found) = found.filter(|found| found.change == place.change) {
                buffer.push(Change::Document {
                    is_last,
                    at: self.at,
                    key: found.key,
                    document: found.document,
                });
            }
        }
        drop(next);
        self.buffer = buffer.into_iter();
        Ok(())
    }
}
