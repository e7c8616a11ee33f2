use std::sync::Arc;

use super::live::{self, Documents};
use super::rules::{Event, Rules};
use super::shared::blocking;
use super::{Error, Service};
use crate::model::{Name, Position, StreamId, Version};
use crate::store::Direction;

/// Most events whose steps are returned at once.
pub const STEPS_MAX: usize = 50;
/// Steps end early when their documents have more bytes.
const BYTES_MAX: usize = 4 << 20;

/// What a projection makes of events of one stream, event by event.
#[derive(Debug, Clone)]
pub struct Steps {
    /// The steps, in the order of the versions.
    pub steps: Vec<Step>,
    /// Version of the stream.
    pub version: Version,
    /// Events before this version were truncated. The documents do not include them.
    pub truncated_before: Version,
    /// The version at which to continue; none at the end, and after an error.
    pub next: Option<Version>,
}

/// What one event changes.
#[derive(Debug, Clone)]
pub struct Step {
    /// Version of the event.
    pub version: Version,
    /// Position of the event.
    pub position: Position,
    /// Type of the event, as it is stored.
    pub name: Name,
    /// The documents that the event concerns. None when the projection does not read the event.
    pub changes: Vec<StepChange>,
    /// Why the event can't be folded. It is the last step then.
    pub error: Option<Box<str>>,
}

/// What an event changes in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepChange {
    /// Key of the document.
    pub key: Arc<str>,
    /// The document before the event; none if there was none.
    pub before: Option<Arc<str>>,
    /// The document after the event; none if there is none.
    pub after: Option<Arc<str>>,
}

impl Service {
    /// Folds the events of one stream up to a version, then event by event, and returns what each
    /// of these changes. At most [`STEPS_MAX`] steps, and fewer when their documents have more than
    /// 4 MiB. Works with every lifecycle, and stores nothing.
    ///
    /// # Errors
    /// When there is no such projection or stream, or the events before cannot be folded.
    pub async fn steps(
        &self,
        name: &str,
        stream: &StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Steps, Error> {
        let rules = self.live_rules(name)?;
        let from = from.max(Version(1));
        let mut documents = Documents::new();
        if from > Version(1) {
            let before = Version(from.0 - 1);
            documents = self.live_until(name, &rules, stream, Some(before)).await?.0;
        }
        let limit = limit.clamp(1, STEPS_MAX);
        let reader = &self.shared.reader;
        let page = reader.read_stream(stream, from, Direction::Forward, limit);
        let page = page.await?;
        let page = page.ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
        let permit = self.shared.folding.acquire().await;
        let _permit = permit.map_err(|_| Error::Stopped)?;
        let events: Vec<Event> = page.events.into_iter().map(Arc::new).collect();
        let (steps, is_whole) = blocking(move || step_all(&rules, documents, events)).await?;
        let last = steps.last().map(|step| step.version);
        let has_failed = steps.last().is_some_and(|step| step.error.is_some());
        let next = match (has_failed, is_whole) {
            (true, _) => None,
            (false, true) => page.next,
            (false, false) => last.map(|last| last.plus(1)),
        };
        Ok(Steps {
            steps,
            version: page.version,
            truncated_before: page.truncated_before,
            next,
        })
    }
}

/// Folds event by event. Returns whether every event was folded.
fn step_all(rules: &Rules, mut documents: Documents, events: Vec<Event>) -> (Vec<Step>, bool) {
    let (mut steps, mut bytes) = (Vec::with_capacity(events.len()), 0);
    for event in events {
        if bytes > BYTES_MAX {
            return (steps, false);
        }
        let step = step(rules, &mut documents, &event);
        bytes += step.changes.iter().map(StepChange::bytes).sum::<usize>();
        let has_failed = step.error.is_some();
        steps.push(step);
        if has_failed {
            return (steps, false);
        }
    }
    (steps, true)
}

fn step(rules: &Rules, documents: &mut Documents, event: &Event) -> Step {
    let mut step = Step {
        version: event.version,
        position: event.position,
        name: event.name.clone(),
        changes: Vec::new(),
        error: None,
    };
    match live::fold(rules, documents.clone(), vec![Arc::clone(event)]) {
        Ok((after, keys)) => {
            step.changes = changes(documents, &after, keys);
            *documents = after;
        }
        Err(stuck) => step.error = Some(stuck.error),
    }
    step
}

fn changes(before: &Documents, after: &Documents, keys: Vec<Arc<str>>) -> Vec<StepChange> {
    let change = |key: Arc<str>| StepChange {
        before: before.get(&key).cloned(),
        after: after.get(&key).cloned(),
        key,
    };
    keys.into_iter().map(change).collect()
}

impl StepChange {
    fn bytes(&self) -> usize {
        let bytes = |document: &Option<Arc<str>>| document.as_ref().map_or(0, |it| it.len());
        bytes(&self.before) + bytes(&self.after)
    }
}
