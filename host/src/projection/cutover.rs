//! Handles builds that have caught up: a build becomes inline, or replaces the active one.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::cache::Diff;
use super::compare::compare;
use super::dropped::Drops;
use super::guard::{Checked, Replaced};
use super::owner::{End, Owner};
use super::rules::{Event, Rules};
use super::shared::{Shared, blocking};
use super::{Comparison, Error};
use crate::deploy::{self, Entry, LifecycleChange, ProjectionChanges, Release};
use crate::model::{Lifecycle, Position};
use crate::store::{
    self, BuildId, Direction, DocumentStore, DocumentWrite, EventReader, InlineBuild, LOG_PAGE_MAX,
    Role, Settle, Turn,
};

/// How long a comparison is reused. A rebuild may have to wait a moment before it can take over.
const COMPARED_FOR: Duration = Duration::from_secs(60);

/// Limit for the number of events that are folded in the transaction in which a build becomes
/// inline.
const SETTLED_MAX: usize = 2_000;

/// What is known of the moment at which a rebuild replaces the active build.
pub(super) struct TakeOver {
    /// Whether the rebuild waits for a `switch`.
    pub(super) is_held: bool,
    /// The last comparison with the build that is replaced, and its time.
    pub(super) comparison: Option<(Instant, Option<String>)>,
    /// Why the rebuild does not take over automatically.
    pub(super) waits: Option<Box<str>>,
    /// The last check whether it may.
    pub(super) checked: Option<Checked>,
    /// The build that the rebuild replaces, as of the last check of the store.
    pub(super) replaced: Option<Replaced>,
}

impl Owner {
    /// Acts on the fact that the build has just caught up with the log.
    pub(super) async fn caught_up(&mut self) -> Result<(), End> {
        if self.verdict.stale.is_some() {
            return Ok(());
        }
        let settings = self.rules.plan.projection(&self.name);
        let wants_inline = settings.is_some_and(|it| it.settings.lifecycle == Lifecycle::Inline);
        match self.build.role {
            Role::Active if wants_inline => self.become_inline().await,
            Role::Next if !self.takeover.is_held => self.take_over().await,
            _ => Ok(()),
        }
    }

    /// Makes the build inline: from then on, it is folded in the transactions of appends.
    async fn become_inline(&mut self) -> Result<(), End> {
        if self.rules.plan.inline_projection(&self.name).is_some() || self.parked.len() > 0 {
            return Ok(());
        }
        self.turn(Vec::new(), true).await
    }

    /// Makes the rebuild the active build.
    async fn take_over(&mut self) -> Result<(), End> {
        if !self.may_take_over().await? {
            return Ok(());
        }
        let comparison = self.compared().await?;
        let inline = self.rules.plan.inline_projection(&self.name);
        if let Some(inline) = inline {
            let switch = Turn::Switch {
                projection: (*self.name).into(),
                next: self.build.id,
            };
            let turns = vec![Turn::Async(inline.build), switch];
            // Parked events can't be retried within an append, so the build becomes inline only
            // when none are left.
            return self.turn(turns, self.parked.len() == 0).await;
        }
        let (shared, name, id) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.name),
            self.build.id,
        );
        let switching = async move {
            let documents = &shared.documents;
            documents.switch(&name, id, comparison.as_deref()).await
        };
        let has_switched = self.holding(switching).await?;
        if has_switched.map_err(|error| End::Failed(error.into()))? {
            tracing::info!(
                projection = &*self.name,
                version = self.build.version,
                "a rebuild took over"
            );
            self.build.role = Role::Active;
            (self.build.is_confirmed, self.build.waits) = (false, None);
            self.takeover.waits = None;
            self.shared.notify();
        }
        Ok(())
    }

    /// Returns the comparison with the build that is replaced, encoded for the store.
    async fn compared(&mut self) -> Result<Option<String>, End> {
        if let Some((at, known)) = &self.takeover.comparison
            && at.elapsed() < COMPARED_FOR
        {
            return Ok(known.clone());
        }
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        let comparing = async move {
            let Some(stored) = shared.documents.projection(&name).await? else {
                return Ok(None);
            };
            compare(&shared, &stored).await
        };
        let comparison = self.holding(comparing).await?.map_err(End::Failed)?;
        let written = comparison.map(|it: Comparison| serde_json::to_string(&it));
        let comparison = written.and_then(Result::ok);
        self.takeover.comparison = Some((Instant::now(), comparison.clone()));
        Ok(comparison)
    }

    fn inline_turn(&self) -> Turn {
        Turn::Inline {
            build: self.build.id,
            settle: Arc::new(Settling {
                reader: Arc::clone(&self.shared.reader),
                documents: Arc::clone(&self.shared.documents),
                rules: Arc::clone(&self.rules),
                build: self.build.id,
            }),
        }
    }

    /// Raises the plan, so that the build is inline from then on, or is not.
    async fn turn(&mut self, mut turns: Vec<Turn>, is_inline: bool) -> Result<(), End> {
        turns.extend(is_inline.then(|| self.inline_turn()));
        let inline = InlineBuild {
            build: self.build.id,
            version: self.build.version,
            module: self.build.module,
        };
        let turning = LifecycleChange {
            projection: (*self.name).into(),
            turns,
            inline: is_inline.then_some(inline),
            judged: Some(self.rules.plan.number),
        };
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        let raising = async move { turn(&shared, &name, turning).await };
        match self.holding(raising).await? {
            Ok(()) => {
                self.shared.notify();
                Err(End::Lost)
            }
            Err(Error::Plan(error)) => {
                // Retried the next time the build has caught up.
                tracing::info!(projection = &*self.name, %error, "a build did not become inline yet");
                Ok(())
            }
            Err(error) => Err(End::Failed(error)),
        }
    }
}

/// Raises the plan for a projection whose lifecycle or active build changes.
pub(super) async fn turn(
    shared: &Shared,
    name: &str,
    turning: LifecycleChange,
) -> Result<(), Error> {
    let plan = shared.registry.plan();
    let Some(projected) = plan.projection(name) else {
        return Err(Error::NotFound(name.to_owned()));
    };
    let keeping = ProjectionChanges {
        turning: Some(turning),
        ..ProjectionChanges::default()
    };
    let entry = Entry::by(Some("quipu".to_owned()));
    let release = Release::from(projected.module.digest());
    let registry = &shared.registry;
    let raised = registry.activate(&release, entry, &keeping).await;
    raised.map(|_| ()).map_err(deploy::Error::into)
}

/// Folds the events that a build has not processed yet, while appends are blocked.
struct Settling {
    reader: Arc<dyn EventReader>,
    documents: Arc<dyn DocumentStore>,
    rules: Arc<Rules>,
    build: BuildId,
}

impl Settle for Settling {
    fn settle(
        &self,
        from: Position,
        to: Position,
        offset: u64,
    ) -> BoxFuture<'_, store::Result<Option<Vec<DocumentWrite>>>> {
        self.settled(from, to, offset).boxed()
    }
}

impl Settling {
    async fn settled(
        &self,
        from: Position,
        to: Position,
        offset: u64,
    ) -> store::Result<Option<Vec<DocumentWrite>>> {
        let begun_at = Instant::now();
        let Some(events) = self.events(from, to).await? else {
            return Ok(None);
        };
        let name = &self.rules.name;
        let failed = |why: &str| {
            store::Error::Unexpected(format!("projection {name} can't become inline: {why}"))
        };
        if !events.is_empty() {
            let drops = Drops::read(&*self.documents, name, from).await?;
            if let Some(event) = events.iter().find(|event| drops.hold(event.position)) {
                // The owner of the build leaves the event out and records that. After that, the
                // event is not in the way any more.
                let position = event.position;
                return Err(failed(&format!(
                    "the event at position {position}, which an operator dropped, is not left out \
                     yet; let the build catch up, then try again"
                )));
            }
        }
        let rules = Arc::clone(&self.rules);
        let keying = blocking(move || rules.key(events)).await;
        let (keyed, stuck) = keying.map_err(|error| failed(&error.to_string()))?;
        if let Some(stuck) = stuck {
            return Err(match stuck.is_of_host() {
                true => stuck.unavailable(),
                false => failed(&stuck.error),
            });
        }
        let keys: Vec<Arc<str>> = keyed.works.iter().map(|(key, _)| Arc::clone(key)).collect();
        let mut before = std::collections::HashMap::new();
        for keys in keys.chunks(store::DOCUMENTS_PAGE_MAX) {
            let read = self.documents.documents(self.build, keys).await?;
            for (key, read) in keys.iter().zip(read) {
                before.insert(Arc::clone(key), read.and_then(|read| read.document));
            }
        }
        let tasks = keyed.tasks(|key| before.get(key).cloned().flatten());
        let places: Vec<(Arc<str>, Position)> = tasks
            .iter()
            .map(|task| (Arc::clone(&task.key), task.position()))
            .collect();
        let rules = Arc::clone(&self.rules);
        let applying = blocking(move || rules.apply(&tasks)).await;
        let folded = applying.map_err(|error| failed(&error.to_string()))?;
        let documents = folded.map_err(|stuck| match stuck.is_of_host() {
            true => stuck.unavailable(),
            false => failed(&stuck.error),
        })?;
        let indexes = &self.rules.definition().indexes;
        let writes = places.iter().zip(&documents).map(|((key, position), now)| {
            let diff = Diff {
                stored: before.get(key).and_then(Option::as_ref),
                entries: None,
                document: now.as_ref(),
            };
            diff.of(indexes, (self.build, key, position.0 + offset)).0
        });
        let writes = writes.collect();
        tracing::debug!(took = ?begun_at.elapsed(), from = from.0, to = to.0, "a build caught up");
        Ok(Some(writes))
    }

    /// Returns the events after one position up to another. `None` if there are too many.
    async fn events(&self, from: Position, to: Position) -> store::Result<Option<Vec<Event>>> {
        let filter = self.rules.sources.filter();
        let (mut events, mut at): (Vec<Event>, _) = (Vec::new(), from);
        while at < to {
            let reading = self
                .reader
                .read_log(at, Direction::Forward, LOG_PAGE_MAX, filter);
            let page = reader_page(reading.await?, to);
            events.extend(page.0);
            if events.len() > SETTLED_MAX {
                return Ok(None);
            }
            match page.1 {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(Some(events))
    }
}

/// Returns the events of a page up to a position, and where the next page starts.
fn reader_page(page: store::LogPage, to: Position) -> (Vec<Event>, Option<Position>) {
    let next = page.next.filter(|next| *next < to);
    let events = page.events.into_iter().filter(|event| event.position <= to);
    (events.map(Arc::new).collect(), next)
}
