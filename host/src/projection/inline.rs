//! Inline projections: they are folded in the transactions of appends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::cache::Diff;
use super::rules::{Event, FoldFailure, Guests, Keyed, Rules, Task};
use super::shared::Options;
use crate::deploy::Reading;
use crate::fold::off_the_reactor;
use crate::model::Position;
use crate::store::{
    self, Build, BuildId, DocumentStore, DocumentWrite, Folded, InlineFold, Pending,
    StoredDocument, Touched, Unprojected,
};

/// The inline projections of a store, under whichever plan is current. Created before the registry;
/// until `begin` is called, it has no projections.
pub struct Inline {
    reading: OnceLock<(Reading, Arc<Guests>, Arc<dyn DocumentStore>)>,
    options: Options,
    current: Mutex<Option<(u64, Option<Arc<Set>>)>>,
    breakers: Mutex<HashMap<Arc<str>, Breaker>>,
}

/// Counts how often in a row a projection has failed.
#[derive(Debug, Default, Clone)]
struct Breaker {
    failures: u32,
    /// Until then the projection is not called.
    until: Option<Instant>,
    why: String,
}

/// Items that are tried one by one may together take this many times the time of a batch.
const TRIES_TIME: u32 = 10;

/// Shortest and longest pause before a failing projection is called again.
const BREAK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl Inline {
    /// Creates the value without any projections.
    pub fn new(options: Options) -> Self {
        Self {
            reading: OnceLock::new(),
            options,
            current: Mutex::default(),
            breakers: Mutex::default(),
        }
    }

    /// Sets the source of the current plan.
    pub(super) fn begin(
        &self,
        reading: Reading,
        guests: Arc<Guests>,
        documents: Arc<dyn DocumentStore>,
    ) {
        // Called only once per host.
        _ = self.reading.set((reading, guests, documents));
    }

    /// Returns the inline projections of the current plan. `None` if there are none.
    pub fn current(self: &Arc<Self>) -> Option<Arc<dyn InlineFold>> {
        let (reading, guests, documents) = self.reading.get()?;
        let plan = reading.plan();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = current
            .as_ref()
            .is_some_and(|(number, _)| *number == plan.number);
        if !is_known {
            let folded = plan.inline().filter_map(|(name, inline)| {
                let rules = Rules::new(name, &inline.module, &plan, guests)?;
                Some((inline.build, Arc::new(rules)))
            });
            let folded: Vec<_> = folded.collect();
            let set = (!folded.is_empty()).then(|| {
                Arc::new(Set {
                    inline: Arc::clone(self),
                    folded,
                    documents: Arc::clone(documents),
                    offsets: OnceCell::new(),
                })
            });
            *current = Some((plan.number, set));
            self.give_a_chance();
        }
        let set = current.as_ref().and_then(|(_, set)| set.clone())?;
        Some(set)
    }

    /// Returns the last error of a projection that counts as failing. `None` if it does not.
    pub(super) fn failing(&self, name: &str) -> Option<String> {
        let breakers = self.breakers();
        let breaker = breakers.get(name)?;
        let is_failing = breaker.failures >= self.options.failing_after;
        is_failing.then(|| breaker.why.clone())
    }

    /// Ends the pause of a failing projection, so that the next append calls it.
    pub(super) fn resume(&self, name: &str) {
        self.breakers().remove(name);
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why a projection must not be called now, or `None` if it may be. While it is
    /// failing, only one caller at a time may try it.
    fn refusal(&self, name: &Arc<str>) -> Option<String> {
        let mut breakers = self.breakers();
        let breaker = breakers.get_mut(name)?;
        if breaker.failures < self.options.failing_after {
            return None;
        }
        let now = Instant::now();
        if breaker.until.is_none_or(|until| until <= now) {
            breaker.until = Some(now + BREAK.0);
            return None;
        }
        Some(breaker.why.clone())
    }

    fn failed(&self, name: &Arc<str>, stuck: &FoldFailure, why: &str) {
        if stuck.is_of_host() {
            tracing::warn!(
                projection = &**name,
                why,
                "the host could not fold an event for an inline projection"
            );
            return;
        }
        let mut breakers = self.breakers();
        let breaker = breakers.entry(Arc::clone(name)).or_default();
        breaker.failures = breaker.failures.saturating_add(1);
        why.clone_into(&mut breaker.why);
        let beyond = breaker.failures.saturating_sub(self.options.failing_after);
        let pause = BREAK.0.saturating_mul(1 << beyond.min(10)).min(BREAK.1);
        if breaker.failures >= self.options.failing_after {
            breaker.until = Some(Instant::now() + pause);
            tracing::error!(projection = &**name, why, "an inline projection is failing");
        }
    }

    /// Ends all pauses, because a deployment may have fixed the failures. The next append shows
    /// whether it did.
    fn give_a_chance(&self) {
        let nearly = self.options.failing_after.saturating_sub(1);
        for breaker in self.breakers().values_mut() {
            breaker.failures = breaker.failures.min(nearly);
            breaker.until = None;
        }
    }

    fn succeeded(&self, name: &Arc<str>) {
        self.breakers().remove(name);
    }
}

/// The inline projections of one plan.
struct Set {
    inline: Arc<Inline>,
    folded: Vec<(BuildId, Arc<Rules>)>,
    documents: Arc<dyn DocumentStore>,
    /// Of each build in `folded`, how much greater than positions its change numbers are.
    offsets: OnceCell<Vec<u64>>,
}

/// The events of one projection, and the documents that they concern.
struct Part {
    build: BuildId,
    rules: Arc<Rules>,
    keyed: Keyed,
    /// How much greater than positions the change numbers of the build are.
    offset: u64,
}

/// The documents of all projections that a batch of appends has to fold.
struct Batch {
    inline: Arc<Inline>,
    /// The item that each event belongs to, by its index in the batch.
    items: Vec<usize>,
    parts: Vec<Part>,
    documents: Vec<(BuildId, Arc<str>)>,
    failed: Vec<(usize, Unprojected)>,
}

impl InlineFold for Set {
    fn wants(&self, category: &str) -> bool {
        let mut folded = self.folded.iter();
        folded.any(|(_, rules)| rules.sources.take(category))
    }

    fn touch(&self, events: Vec<Pending>) -> BoxFuture<'_, store::Result<Box<dyn Touched>>> {
        async move {
            let items: Vec<usize> = events.iter().map(|pending| pending.item).collect();
            // Until an event has its position, its index in the batch serves as one.
            let numbered = events.into_iter().zip(1..).map(|(pending, place)| {
                let mut event = pending.event;
                event.position = Position(place);
                Arc::new(event)
            });
            let events: Vec<Event> = numbered.collect();
            let mut batch = Batch {
                inline: Arc::clone(&self.inline),
                items,
                parts: Vec::new(),
                documents: Vec::new(),
                failed: Vec::new(),
            };
            let offsets = self.offsets.get_or_try_init(|| self.read_offsets()).await?;
            for ((build, rules), offset) in self.folded.iter().zip(offsets) {
                batch.key((*build, *offset), rules, &events).await;
            }
            let documents: BTreeSet<(BuildId, Arc<str>)> = batch
                .parts
                .iter()
                .flat_map(|part| {
                    let keys = part.keyed.works.iter();
                    keys.map(|(key, _)| (part.build, Arc::clone(key)))
                })
                .collect();
            batch.documents = documents.into_iter().collect();
            let touched: Box<dyn Touched> = Box::new(batch);
            Ok(touched)
        }
        .boxed()
    }
}

impl Set {
    /// Reads the offsets of the builds. They stay the same while the plan is current.
    async fn read_offsets(&self) -> store::Result<Vec<u64>> {
        let mut offsets = Vec::with_capacity(self.folded.len());
        for (build, rules) in &self.folded {
            let stored = self.documents.projection(&rules.name).await?;
            let mut builds = stored.iter().flat_map(|it| &it.builds);
            let build = builds.find(|it| it.id == *build);
            offsets.push(build.map_or(0, Build::change_offset));
        }
        Ok(offsets)
    }
}

impl Batch {
    /// Asks a projection which documents the events concern.
    async fn key(&mut self, (build, offset): (BuildId, u64), rules: &Arc<Rules>, events: &[Event]) {
        let wanted: Vec<Event> = events
            .iter()
            .filter(|event| rules.sources.takes(event))
            .cloned()
            .collect();
        if wanted.is_empty() {
            return;
        }
        if let Some(why) = self.inline.refusal(&rules.name) {
            self.refuse(rules, &wanted, &why);
            return;
        }
        let (known, events) = (Arc::clone(rules), wanted.clone());
        let keyed = match self.in_time(move || known.key(events)).await {
            Some((keyed, None)) => keyed,
            _ => self.key_each(rules, &wanted).await,
        };
        self.parts.push(Part {
            build,
            rules: Arc::clone(rules),
            keyed,
            offset,
        });
    }

    /// Does the same item by item, to find those that fail.
    async fn key_each(&mut self, rules: &Arc<Rules>, wanted: &[Event]) -> Keyed {
        let (mut all, until) = (Keyed::default(), self.until());
        let items: Vec<usize> = wanted.iter().map(|event| self.item(event)).collect();
        let mut rest = wanted;
        for same in items.chunk_by(|one, next| one == next) {
            let (events, tail) = rest.split_at(same.len());
            rest = tail;
            let item = same[0];
            if let Some(why) = self.inline.failing(&rules.name) {
                self.refuse(rules, events, &why);
                continue;
            }
            let (known, owned) = (Arc::clone(rules), events.to_vec());
            match self.in_time(move || known.key(owned)).await {
                Some((keyed, None)) if Instant::now() < until => all.join(keyed),
                Some((_, Some(stuck))) => self.fail(rules, item, &stuck),
                _ => self.fail(rules, item, &late(&events[0])),
            }
        }
        all
    }

    /// Returns the time at which items that are tried one by one have together taken too long.
    fn until(&self) -> Instant {
        Instant::now() + self.inline.options.inline_time.saturating_mul(TRIES_TIME)
    }

    /// Folds the documents of every projection.
    async fn folded(
        mut self,
        positions: Vec<Position>,
        documents: Vec<Option<StoredDocument>>,
    ) -> store::Result<Folded> {
        let read = self.documents.iter().cloned().zip(documents);
        let before: HashMap<(BuildId, Arc<str>), Arc<str>> = read
            .filter_map(|(place, read)| Some((place, read?.document?)))
            .collect();
        let mut writes = Vec::new();
        for mut part in std::mem::take(&mut self.parts) {
            let places: Vec<Position> = part.keyed.events.iter().map(|it| it.position).collect();
            for event in &mut part.keyed.events {
                let place = usize::try_from(event.position.0).unwrap_or_default();
                let position = positions.get(place.wrapping_sub(1)).copied();
                Arc::make_mut(event).position = position.unwrap_or_default();
            }
            let tasks = part.keyed.tasks(|key| {
                let place = (part.build, Arc::from(key));
                before.get(&place).cloned()
            });
            let rules = Arc::clone(&part.rules);
            let folding = self.in_time(move || {
                let folded = rules.apply(&tasks);
                (tasks, folded)
            });
            match folding.await {
                Some((tasks, Ok(documents))) => {
                    self.inline.succeeded(&part.rules.name);
                    writes.extend(written(&part, &before, &tasks, &documents));
                }
                _ => writes.extend(self.fold_each(&part, &places, &before).await),
            }
        }
        Ok(Folded {
            failed: self.failed,
            writes,
        })
    }

    /// Folds the events item by item, to find the items that fail.
    async fn fold_each(
        &mut self,
        part: &Part,
        places: &[Position],
        before: &HashMap<(BuildId, Arc<str>), Arc<str>>,
    ) -> Vec<DocumentWrite> {
        let until = self.until();
        let mut items: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, place) in places.iter().enumerate() {
            let item = self.item_at(*place);
            items.entry(item).or_default().push(index);
        }
        let mut documents = before.clone();
        for (item, events) in items {
            if let Some(why) = self.inline.failing(&part.rules.name) {
                self.refuse_item(&part.rules, item, &why);
                continue;
            }
            let own = part.keyed.only(&events);
            let tasks = own.tasks(|key| {
                let place = (part.build, Arc::from(key));
                documents.get(&place).cloned()
            });
            let rules = Arc::clone(&part.rules);
            let folding = self.in_time(move || {
                let folded = rules.apply(&tasks);
                (tasks, folded)
            });
            match folding.await {
                Some((tasks, Ok(folded))) if Instant::now() < until => {
                    for (task, document) in tasks.into_iter().zip(folded) {
                        let place = (part.build, task.key);
                        match document {
                            Some(document) => _ = documents.insert(place, document),
                            None => _ = documents.remove(&place),
                        }
                    }
                }
                Some((_, Err(stuck))) => self.fail(&part.rules, item, &stuck),
                _ => self.fail(&part.rules, item, &late(&part.keyed.events[events[0]])),
            }
        }
        // If an item failed, these writes are not used, because the batch is classified a second
        // time.
        let tasks = part.keyed.tasks(|_| None);
        let now: Vec<Option<Arc<str>>> = tasks
            .iter()
            .map(|task| documents.get(&(part.build, Arc::clone(&task.key))).cloned())
            .collect();
        written(part, before, &tasks, &now)
    }

    /// Runs a guest within the time limit of a batch. Returns `None` if the limit was exceeded; the
    /// guest then goes on until its own limits stop it.
    async fn in_time<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let running = timeout(self.inline.options.inline_time, off_the_reactor(run));
        running.await.ok()?.ok()
    }

    fn item(&self, event: &Event) -> usize {
        self.item_at(event.position)
    }

    /// Returns the item of an event by its index in the batch.
    fn item_at(&self, place: Position) -> usize {
        let place = usize::try_from(place.0).unwrap_or_default();
        let item = self.items.get(place.wrapping_sub(1));
        item.copied().unwrap_or_default()
    }

    fn fail(&mut self, rules: &Rules, item: usize, stuck: &FoldFailure) {
        let document = stuck.document.as_ref();
        let document = document.map_or_else(String::new, |key| format!(", document {key:?}"));
        let text = format!("stream {}{document}: {}", stuck.stream, stuck.error);
        self.inline.failed(&rules.name, stuck, &text);
        let unprojected = Unprojected {
            projection: Arc::clone(&rules.name),
            is_failing: false,
            fault: stuck.fault,
            text,
        };
        self.failed.push((item, unprojected));
    }

    /// Rejects the items of some events without calling the projection.
    fn refuse(&mut self, rules: &Rules, events: &[Event], why: &str) {
        let items: BTreeSet<usize> = events.iter().map(|event| self.item(event)).collect();
        for item in items {
            self.refuse_item(rules, item, why);
        }
    }

    fn refuse_item(&mut self, rules: &Rules, item: usize, why: &str) {
        let unprojected = Unprojected {
            projection: Arc::clone(&rules.name),
            is_failing: true,
            fault: None,
            text: why.to_owned(),
        };
        self.failed.push((item, unprojected));
    }
}

impl Keyed {
    /// Appends the events and documents of a later item.
    fn join(&mut self, later: Self) {
        let offset = self.events.len();
        self.events.extend(later.events);
        for (key, events) in later.works {
            let events = events.into_iter().map(|index| index + offset);
            match self.works.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => known.extend(events),
                None => self.works.push((key, events.collect())),
            }
        }
    }

    /// Returns only the documents that the given events concern.
    fn only(&self, events: &[usize]) -> Self {
        let works = self.works.iter().filter_map(|(key, indexes)| {
            let own = indexes.iter().filter(|index| events.contains(index));
            let own: Vec<usize> = own.copied().collect();
            (!own.is_empty()).then(|| (Arc::clone(key), own))
        });
        Self {
            events: self.events.clone(),
            works: works.collect(),
        }
    }
}

impl Touched for Batch {
    fn failed(&self) -> &[(usize, Unprojected)] {
        &self.failed
    }

    fn documents(&self) -> &[(BuildId, Arc<str>)] {
        &self.documents
    }

    fn fold(
        self: Box<Self>,
        positions: Vec<Position>,
        documents: Vec<Option<StoredDocument>>,
    ) -> BoxFuture<'static, store::Result<Folded>> {
        self.folded(positions, documents).boxed()
    }
}

/// The failure of an event during which the time limit of a batch was exceeded.
fn late(event: &Event) -> FoldFailure {
    FoldFailure {
        position: event.position,
        stream: event.stream.clone(),
        document: None,
        fault: Some("deadline"),
        error: "the time for inline projections is over".into(),
    }
}

/// Returns the documents of a projection that changed and have to be written.
fn written(
    part: &Part,
    before: &HashMap<(BuildId, Arc<str>), Arc<str>>,
    tasks: &[Task],
    documents: &[Option<Arc<str>>],
) -> Vec<DocumentWrite> {
    let indexes = &part.rules.definition().indexes;
    let pairs = tasks.iter().zip(documents);
    pairs
        .filter_map(|(task, now)| {
            let place = (part.build, Arc::clone(&task.key));
            let stored = before.get(&place);
            if stored == now.as_ref() {
                return None;
            }
            let diff = Diff {
                stored,
                entries: None,
                document: now.as_ref(),
            };
            let change = task.position().0 + part.offset;
            Some(diff.of(indexes, (part.build, &task.key, change)).0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StreamId;
    use crate::runtime::FaultKind;

    #[test]
    fn only_faults_of_the_guest_make_a_projection_fail() {
        let inline = Inline::new(Options::default());
        let name: Arc<str> = "totals".into();
        let stuck = |kind: FaultKind| FoldFailure {
            position: Position(1),
            stream: StreamId::new("note-1").unwrap(),
            document: None,
            fault: Some(kind.as_str()),
            error: "no".into(),
        };
        for _ in 0..inline.options.failing_after + 1 {
            inline.failed(&name, &stuck(FaultKind::HostOutOfMemory), "no");
        }
        assert_eq!(inline.failing(&name), None);
        for _ in 0..inline.options.failing_after {
            inline.failed(&name, &stuck(FaultKind::OutOfMemory), "no");
        }
        assert_eq!(inline.failing(&name).as_deref(), Some("no"));
    }
}
