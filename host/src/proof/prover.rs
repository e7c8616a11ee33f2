//! A run over the log.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::Error;
use super::commits::hash;
use super::lane::Lane;
use super::report::{Finding, Kind, Progress, Verified};
use super::states::Source;
use crate::deploy::Registry;
use crate::fold::{Agreement, Folder, Rules};
use crate::model::{Position, StreamId};
use crate::store::{
    self, ArchivedStreams, EventReader, LOG_PAGE_MAX, SNAPSHOTS_PAGE_MAX, StoredEvent,
    StoredSnapshot, StreamFilter,
};

/// Batches of events that wait for a thread.
const WAITING_MAX: usize = 2;

/// What of a history is looked at. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Streams of this category alone.
    pub category: Option<String>,
    /// So many streams, drawn at random.
    pub sample: Option<usize>,
}

/// Decides the history of a store again. One run at a time.
pub struct Prover {
    registry: Arc<Registry>,
    reader: Arc<dyn EventReader>,
    folder: Arc<Folder>,
    under_way: Mutex<()>,
}

/// Threads of a run, each with streams of its own.
struct Lanes(Vec<(mpsc::Sender<Vec<StoredEvent>>, Running)>);

type Running = JoinHandle<Result<Verified, store::Error>>;

impl Prover {
    /// For a store whose modules the registry has.
    pub fn new(registry: Arc<Registry>, folder: Arc<Folder>) -> Self {
        Self {
            registry,
            reader: Arc::clone(folder.reader()),
            folder,
            under_way: Mutex::default(),
        }
    }

    /// Decides recorded commands again and compares, up to the event that is the last one
    /// now. Dropping the future ends it.
    ///
    /// # Errors
    /// When a run is under way, a module of the history is gone, or the store fails.
    pub async fn verify(
        &self,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let Ok(_alone) = self.under_way.try_lock() else {
            return Err(Error::UnderWay);
        };
        let past = Arc::new(self.registry.past().await?);
        let chosen = self.chosen(scope).await?;
        let is_chosen = |stream: &StreamId| match &chosen {
            Some(chosen) => chosen.contains(stream),
            None => is_of(stream, scope),
        };
        let source = Source {
            reader: Arc::clone(&self.reader),
            lifter: self.registry.lifter(),
            runtime: Handle::current(),
        };
        let lanes = Lanes::begin(|| Lane::new(Arc::clone(&past), source.clone()));
        let head = self.reader.log_head().await?;
        let mut at = Position(0);
        while at < head {
            let mut events = self.reader.read_stored(at, LOG_PAGE_MAX).await?.events;
            at = events.last().map_or(head, |last| last.position);
            events.retain(|event| event.position <= head && is_chosen(&event.stream));
            if !lanes.take(events).await {
                break;
            }
            let position = at.min(head);
            progress(Progress { position, head });
        }
        let mut verified = lanes.end().await?;
        verified.head = head;
        self.compare_snapshots(scope, &is_chosen, &mut verified)
            .await?;
        Ok(verified)
    }

    /// The streams of a sample; none: there is no sample.
    async fn chosen(&self, scope: &Scope) -> Result<Option<HashSet<StreamId>>, Error> {
        let Some(sample) = scope.sample else {
            return Ok(None);
        };
        let filter = StreamFilter {
            category: scope.category.as_deref().map(Into::into),
            archived: ArchivedStreams::With,
        };
        let (mut chosen, mut seen, mut after) = (Vec::new(), 0_usize, None::<String>);
        loop {
            let page = self.reader.streams(after.as_deref(), LOG_PAGE_MAX, &filter);
            let page = page.await?;
            for stream in page.streams {
                seen += 1;
                // Each stream is among them with the same chance.
                if chosen.len() < sample {
                    chosen.push(stream.stream);
                } else if let Some(place) = chosen.get_mut(rand::random_range(0..seen)) {
                    *place = stream.stream;
                }
            }
            match page.next {
                Some(next) => after = Some(next.as_str().to_owned()),
                None => return Ok(Some(chosen.into_iter().collect())),
            }
        }
    }

    /// Compares the snapshots of each category that were taken last with the events.
    async fn compare_snapshots(
        &self,
        scope: &Scope,
        is_chosen: &(dyn Fn(&StreamId) -> bool + Sync),
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let plan = self.registry.plan();
        for (category, _) in plan.readers() {
            let Some(deployed) = plan.decider(category) else {
                continue;
            };
            if scope
                .category
                .as_deref()
                .is_some_and(|only| only != category)
            {
                continue;
            }
            let newest = self.folder.newest(category, SNAPSHOTS_PAGE_MAX).await?;
            for (stream, snapshot) in newest {
                if is_chosen(&stream) {
                    let found = self.compare(&deployed.rules, stream, snapshot, verified);
                    found.await?;
                }
            }
        }
        Ok(())
    }

    async fn compare(
        &self,
        rules: &Arc<Rules>,
        stream: StreamId,
        snapshot: StoredSnapshot,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let (version, is_used) = (snapshot.version, rules.trusts(snapshot.fold));
        if !is_used && !snapshot.is_anchor {
            verified.snapshots.unusable += 1;
            return Ok(());
        }
        match self.folder.compare(rules, &stream, snapshot).await? {
            Agreement::Agrees => verified.snapshots.agree += 1,
            Agreement::Unusable(_) => verified.snapshots.unusable += 1,
            Agreement::Differs => {
                verified.snapshots.differ += 1;
                verified.find(Finding {
                    kind: Kind::Snapshot,
                    position: Position(0),
                    stream,
                    version,
                    command: None,
                    module: Some(rules.module.digest()),
                    plan: self.registry.plan().number,
                    text: "a snapshot says something else than the events".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn is_of(stream: &StreamId, scope: &Scope) -> bool {
    let category = scope.category.as_deref();
    category.is_none_or(|category| stream.category() == category)
}

impl Lanes {
    fn begin(lane: impl Fn() -> Lane) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let begin = |_| {
            let (sender, mut batches) = mpsc::channel::<Vec<StoredEvent>>(WAITING_MAX);
            let mut lane = lane();
            let running = tokio::task::spawn_blocking(move || {
                while let Some(batch) = batches.blocking_recv() {
                    lane.take(batch)?;
                }
                Ok(lane.end())
            });
            (sender, running)
        };
        Self((0..threads).map(begin).collect())
    }

    /// Shares events out by their streams. False when a thread has ended.
    async fn take(&self, events: Vec<StoredEvent>) -> bool {
        let count = self.0.len() as u64;
        let mut shares: Vec<Vec<StoredEvent>> = self.0.iter().map(|_| Vec::new()).collect();
        for event in events {
            let share = usize::try_from(hash(&event.stream) % count).unwrap_or_default();
            shares[share].push(event);
        }
        for ((lane, _), share) in self.0.iter().zip(shares) {
            if !share.is_empty() && lane.send(share).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn end(self) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let (lanes, running): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        drop(lanes);
        for running in running {
            let part = running.await.map_err(|_| Error::Stopped)??;
            verified.add(part);
        }
        Ok(verified)
    }
}
