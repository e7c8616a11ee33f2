//! Inline projections within a commit: the rounds in which a batch is classified and folded, until
//! no accepted item fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::classify::{Classified, Heads, Parts, RecordedIds, Refused, classify};
use super::seen::{self, Origin};
use super::{
    BuildId, DocumentWrite, Error, InlineFold, Item, Pending, Result, StoredDocument, Unprojected,
};
use quipu_model::Position;

/// How often a batch is classified because of items that could not be folded.
const ROUNDS_MAX: usize = 16;

/// How long a batch waits for its documents. Guests have a deadline of their own; this limit
/// ensures that no writer is blocked forever.
const FOLD_MAX: Duration = Duration::from_secs(5);

/// The state on which a batch is classified.
pub struct Basis {
    pub heads: Heads,
    pub known: RecordedIds,
    pub parts: Parts,
    /// Position of the next event.
    pub next: Position,
}

/// The result of a batch, and of the documents that it touches.
pub struct Projected<'a> {
    pub classified: Classified<'a>,
    pub writes: Vec<DocumentWrite>,
    /// Of the accepted events, in order, if any of them was folded.
    pub positions: Vec<Position>,
}

/// The result of a writer's statements.
type WriteResult<T, D> = std::result::Result<T, <D as Documents>::Error>;

/// The documents, as a writer reads them.
#[async_trait]
pub trait Documents: Send {
    /// The error type of its statements.
    type Error: From<Error>;

    /// Reads documents, in order of build and key. Nobody else changes them before the batch ends.
    async fn read(
        &mut self,
        documents: &[(BuildId, Arc<str>)],
    ) -> WriteResult<Vec<Option<StoredDocument>>, Self>;

    /// Returns positions for this many events. Called after `read`, so that each document is folded
    /// in the order of positions.
    async fn draw(&mut self, next: Position, events: u64) -> WriteResult<Vec<Position>, Self>;
}

/// The projections, if one of them may take what some item writes.
pub fn wanted<'i>(
    inline: Option<&'i dyn InlineFold>,
    items: &[Item],
) -> Option<&'i dyn InlineFold> {
    inline.filter(|inline| {
        let writes = items.iter().flat_map(super::classify::writes);
        writes
            .filter(|write| !write.commit.events.is_empty())
            .any(|write| inline.wants(write.stream.category()))
    })
}

impl Basis {
    /// Returns the result of a batch without some items.
    pub fn classified<'a>(&self, items: &'a [Item], refused: &Refused) -> Classified<'a> {
        let (heads, parts) = (self.heads.clone(), self.parts.clone());
        classify(items, heads, &self.known, parts, self.next, refused)
    }

    /// Returns the result of a batch that no inline projection takes.
    pub fn plain(self, items: &[Item]) -> Projected<'_> {
        let Self {
            heads,
            known,
            parts,
            next,
        } = self;
        classify(items, heads, &known, parts, next, &Refused::new()).into()
    }
}

impl<'a> From<Classified<'a>> for Projected<'a> {
    fn from(classified: Classified<'a>) -> Self {
        Self {
            classified,
            writes: Vec::new(),
            positions: Vec::new(),
        }
    }
}

/// Classifies a batch and folds the accepted events. Items that can't be folded are refused, and
/// the batch is classified a second time without them.
///
/// # Errors
/// When the documents can't be read, or when too many rounds are needed.
pub async fn project<'a, D: Documents>(
    items: &'a [Item],
    basis: &Basis,
    inline: &dyn InlineFold,
    documents: &mut D,
) -> WriteResult<Projected<'a>, D> {
    let mut refused = Refused::new();
    for _ in 0..ROUNDS_MAX {
        let classified = basis.classified(items, &refused);
        match fold(&classified, basis.next, inline, documents).await? {
            Round::Folded(writes, positions) => {
                return Ok(Projected {
                    classified,
                    writes,
                    positions,
                });
            }
            Round::Failed(failed) => refused.extend(failed),
        }
    }
    let last = refused.into_values().next_back();
    let last = last.map_or_else(String::new, |it| {
        format!("; the last was {}: {}", it.projection, it.text)
    });
    Err(Error::Unexpected(format!(
        "inline projections still failed after {ROUNDS_MAX} attempts on one batch{last}"
    ))
    .into())
}

/// How an attempt ended.
enum Round {
    Folded(Vec<DocumentWrite>, Vec<Position>),
    Failed(Vec<(usize, Unprojected)>),
}

async fn fold<D: Documents>(
    classified: &Classified<'_>,
    next: Position,
    inline: &dyn InlineFold,
    documents: &mut D,
) -> WriteResult<Round, D> {
    let (pending, places) = pending(classified, inline);
    if pending.is_empty() {
        return Ok(Round::Folded(Vec::new(), Vec::new()));
    }
    let touched = bounded(inline.touch(pending)).await?;
    if !touched.failed().is_empty() {
        return Ok(Round::Failed(touched.failed().to_vec()));
    }
    let read = documents.read(touched.documents()).await?;
    let events = classified.accepted.iter();
    let events = events.map(|accepted| accepted.write.commit.events.len() as u64);
    let positions = documents.draw(next, events.sum()).await?;
    let given = places.iter().map(|place| positions.get(*place).copied());
    let given: Option<Vec<Position>> = given.collect();
    let given = given.ok_or_else(|| Error::Unexpected("positions are missing".to_owned()))?;
    let folded = bounded(touched.fold(given, read)).await?;
    if folded.failed.is_empty() {
        Ok(Round::Folded(folded.writes, positions))
    } else {
        Ok(Round::Failed(folded.failed))
    }
}

async fn bounded<T>(folding: impl Future<Output = Result<T>>) -> Result<T> {
    let folded = tokio::time::timeout(FOLD_MAX, folding).await;
    folded.unwrap_or_else(|_| {
        let seconds = FOLD_MAX.as_secs();
        let why = format!("inline projections took longer than {seconds} s");
        Err(Error::Unavailable(why))
    })
}

/// The accepted events that the projections may take, as they will be recorded, and the
/// place of each among all accepted ones.
fn pending(classified: &Classified<'_>, inline: &dyn InlineFold) -> (Vec<Pending>, Vec<usize>) {
    let (mut pending, mut places, mut place) = (Vec::new(), Vec::new(), 0);
    for accepted in &classified.accepted {
        let (stream, commit) = (&accepted.write.stream, &accepted.write.commit);
        let first = place;
        place += commit.events.len();
        if !inline.wants(stream.category()) {
            continue;
        }
        let origin = Origin::of(commit.command.as_deref(), commit.decided, commit.plan);
        for (offset, event) in commit.events.iter().enumerate() {
            let place = seen::Place {
                stream,
                version: accepted.first_version.plus(offset),
                position: Position(0),
                recorded_at: accepted.recorded_at,
            };
            pending.push(Pending {
                item: accepted.item,
                event: seen::event(event, &place, &origin),
            });
            places.push(first + offset);
        }
    }
    (pending, places)
}

/// Positions that follow each other: those of a store with one writer.
pub fn consecutive(next: Position, events: u64) -> Vec<Position> {
    (next.0..next.0.saturating_add(events))
        .map(Position)
        .collect()
}
