//! Runs over the log.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::Error;
use super::acknowledge::{Acknowledged, Run};
use super::cancel::Stop;
use super::decider_source::{ByCategory, Candidates, Judge};
use super::name::FindingName;
use super::preflight::{Objections, Policy, Preflight};
use super::reassemble::hash;
use super::replay::{Ended, Lane};
use super::report::{Finding, Kind, Progress, Verified};
use super::state_cache::Source;
use crate::deploy::{ProjectionChanges, Prospect, Registry, Release};
use crate::fold::{self, Agreement, Folder, Rules};
use crate::model::{Clock, Position, StreamId};
use crate::store::{
    self, AcknowledgementStore, ArchivedStreams, Direction, EventReader, LOG_PAGE_MAX,
    REJECTIONS_PAGE_MAX, Rejected, RejectionFilter, RejectionStore, SNAPSHOTS_PAGE_MAX,
    StoredBytes, StoredEvent, StoredSnapshot, StreamFilter, TypeStore,
};
use crate::supervise::joined;

/// Limit for the number of event batches that are queued for a thread.
const WAITING_MAX: usize = 2;

/// Limit for the number of snapshots per category that are compared, starting with the newest.
const SNAPSHOTS_COMPARED: usize = 50;

/// Limits for the stored rejections per category that are re-decided, and for the bytes of all
/// their commands.
const REJECTIONS_MAX: usize = 10_000;
const REJECTION_BYTES_MAX: usize = 64 << 20;

/// The part of a history to check. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Checks only the streams of this category.
    pub category: Option<String>,
    /// Checks this number of streams, chosen at random.
    pub sample: Option<usize>,
    /// Reads at most this number of events, starting with the first one.
    pub events: Option<u64>,
    /// Checks events for at most this time.
    pub time: Option<Duration>,
    /// Whether to fold the documents of projections from scratch as well: those of all projections,
    /// whichever streams are selected. A preflight ignores this.
    pub projections: bool,
    /// Whether only digests are checked, and nothing is re-decided. A preflight ignores this.
    pub only_digests: bool,
}

/// Re-decides the history of a store. A host runs one at a time, and one shadow next to it.
pub struct Prover {
    pub(super) registry: Arc<Registry>,
    pub(super) reader: Arc<dyn EventReader>,
    folder: Arc<Folder>,
    types: Arc<dyn TypeStore>,
    pub(super) rejections: Arc<dyn RejectionStore>,
    pub(super) acknowledgements: Arc<dyn AcknowledgementStore>,
    pub(super) bytes: StoredBytes,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) under_way: Mutex<()>,
    pub(super) shadowing: Mutex<()>,
}

/// The threads of a run. Each stream belongs to one thread.
struct Lanes {
    all: Vec<(mpsc::Sender<Vec<StoredEvent>>, Running)>,
    stop: Arc<Stop>,
}

type Running = JoinHandle<Result<Ended, store::Error>>;

impl Prover {
    /// Creates a prover for the store whose modules the registry has.
    pub fn new(
        registry: Arc<Registry>,
        folder: Arc<Folder>,
        types: Arc<dyn TypeStore>,
        rejections: Arc<dyn RejectionStore>,
        bytes: StoredBytes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            registry,
            reader: Arc::clone(folder.reader()),
            folder,
            types,
            rejections,
            acknowledgements: Arc::clone(&bytes.acknowledgements),
            bytes,
            clock,
            under_way: Mutex::default(),
            shadowing: Mutex::default(),
        }
    }

    /// Reports what would be different after a release, for all events up to the current end of the
    /// log. Dropping the future cancels the preflight.
    ///
    /// # Errors
    /// When a run is under way, the module can't be activated, or the store fails.
    pub async fn preflight(
        &self,
        release: &Release,
        (keeping, policy): (&ProjectionChanges, &Policy),
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Preflight, Error> {
        let prospect = self.registry.prospect(release, keeping).await?;
        let rules: ByCategory = served(&prospect).collect();
        let mut objections = Objections::default();
        objections.readers(&prospect);
        if rules.is_empty() {
            // The release changes neither who decides nor who folds.
            let head = self.reader.log_head().await?;
            let nothing = Verified {
                until: head,
                head,
                ..Verified::default()
            };
            return Ok(objections.concluded(&prospect, nothing, policy));
        }
        let Ok(_guard) = self.under_way.try_lock() else {
            return Err(Error::UnderWay);
        };
        for (category, rules) in &rules {
            let newest = self.folder.newest(category, SNAPSHOTS_COMPARED).await?;
            for (stream, snapshot) in newest {
                let worth = self.folder.compare(rules, &stream, snapshot).await;
                objections.snapshot(&stream, &worth);
            }
        }
        let chosen = choose(&*self.reader, scope).await?;
        let candidates = self.candidates(rules.clone());
        let active = candidates.active.clone();
        let judge = Arc::new(Judge::Candidate(candidates));
        let by = (&judge, &self.acknowledged_of_log().await?);
        let head = self.reader.log_head().await?;
        let verified = self.run(by, head, (scope, &chosen), progress).await?;
        // Done last, so that types written meanwhile are included.
        objections.types((&rules, &active), self.types.types().await?);
        Ok(objections.concluded(&prospect, verified, policy))
    }

    /// Reads the log and re-decides the commands.
    async fn run(
        &self,
        (judge, acknowledged): (&Arc<Judge>, &Arc<Acknowledged>),
        head: Position,
        (scope, chosen): (&Scope, &Option<HashSet<StreamId>>),
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let stop = Arc::new(Stop::after(scope.time));
        let source = Source {
            reader: Arc::clone(&self.reader),
            lifter: self.registry.lifter(),
            runtime: Handle::current(),
            limits: judge
                .is_past()
                .then(|| self.registry.limits().of_history().into()),
        };
        let rejections = self.rejections(judge, (scope, chosen)).await?;
        let lanes = Lanes::begin(&stop, rejections, |rejections| {
            Lane::new(judge, &source, (&stop, acknowledged), rejections)
        });
        let (mut at, mut read) = (Position(0), 0);
        let is_enough = |read: u64| scope.events.is_some_and(|max| read >= max);
        while at < head && !is_enough(read) && !stop.is_over() {
            let mut events = self.reader.read_stored(at, LOG_PAGE_MAX).await?.events;
            at = events.last().map_or(head, |last| last.position).min(head);
            read += events.len() as u64;
            events.retain(|event| {
                let stream = &event.stream;
                event.position <= head
                    && judge.is_for(stream.category())
                    && is_chosen(stream, scope, chosen)
            });
            if !lanes.take(events).await {
                break;
            }
            let position = at;
            progress(Progress { position, head });
        }
        let (mut verified, cut_at) = lanes.end(at == head).await?;
        let before = cut_at.map(|cut_at| Position(cut_at.0.saturating_sub(1)));
        verified.until = before.map_or(at, |before| before.min(at));
        verified.head = head;
        Ok(verified)
    }

    /// Returns the candidates, together with the active rules that they would replace.
    pub(super) fn candidates(&self, rules: ByCategory) -> Candidates {
        let plan = self.registry.plan();
        let active = rules.keys().filter_map(|category| {
            let deployed = plan.decider(category)?;
            Some((category.clone(), Arc::clone(&deployed.rules)))
        });
        let active = active.collect();
        Candidates { rules, active }
    }

    /// Returns the newest stored rejections of each category.
    async fn rejections(
        &self,
        judge: &Judge,
        (scope, chosen): (&Scope, &Option<HashSet<StreamId>>),
    ) -> Result<Vec<Rejected>, Error> {
        let plan = self.registry.plan();
        let mut categories: Vec<&str> = match judge.categories() {
            Some(categories) => categories.collect(),
            None => plan.readers().map(|(category, _)| category).collect(),
        };
        if let Some(only) = &scope.category {
            categories.retain(|category| category == only);
        }
        let (mut all, mut bytes) = (Vec::new(), 0);
        for category in categories {
            let (mut before, mut count) = (i64::MAX.unsigned_abs(), 0);
            while count < REJECTIONS_MAX && bytes < REJECTION_BYTES_MAX {
                let limit = REJECTIONS_PAGE_MAX.min(REJECTIONS_MAX - count);
                let store = &self.rejections;
                let of_category = RejectionFilter::Category(category);
                let page = store.read(of_category, before, Direction::Backward, limit);
                let page = page.await?;
                let Some(last) = page.last() else {
                    break;
                };
                before = last.id;
                count += page.len();
                let wanted = page.into_iter().filter(|rejected| {
                    judge.knows(rejected.plan) && is_chosen(&rejected.stream, scope, chosen)
                });
                for rejected in wanted {
                    let metadata = rejected.command.metadata.as_ref();
                    bytes += rejected.command.body.len() + metadata.map_or(0, |it| it.len());
                    bytes += rejected.message.len();
                    all.push(rejected);
                }
            }
        }
        Ok(all)
    }

    /// Compares the newest snapshots of each category with the events.
    async fn compare_snapshots(
        &self,
        scope: &Scope,
        chosen: &Option<HashSet<StreamId>>,
        (verified, acknowledged): (&mut Verified, &Acknowledged),
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
                if is_chosen(&stream, scope, chosen) {
                    let verified = (&mut *verified, acknowledged);
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
        (verified, acknowledged): (&mut Verified, &Acknowledged),
    ) -> Result<(), Error> {
        let name = FindingName::of_snapshot(&stream, snapshot.version, snapshot.fold);
        let (version, is_used) = (snapshot.version, rules.trusts(snapshot.fold));
        if !is_used && !snapshot.is_anchor {
            verified.snapshots.unusable += 1;
            return Ok(());
        }
        let text = match self.folder.compare(rules, &stream, snapshot).await {
            Err(error @ (fold::Error::Store(_) | fold::Error::Stopped)) => return Err(error.into()),
            Err(error) => format!("a snapshot opens although the events lead to no state: {error}"),
            Ok(Agreement::Differs) => "a snapshot says something else than the events".to_owned(),
            Ok(Agreement::Agrees) => {
                verified.snapshots.agree += 1;
                return Ok(());
            }
            Ok(Agreement::Unusable(_)) => {
                verified.snapshots.unusable += 1;
                return Ok(());
            }
        };
        verified.snapshots.differ += 1;
        verified.find(Finding {
            weight: acknowledged.weight(&name),
            name,
            kind: Kind::Snapshot,
            position: Position(0),
            stream,
            version,
            command: None,
            module: Some(rules.module.digest()),
            plan: self.registry.plan().number,
            text,
        });
        Ok(())
    }
}

/// Chooses the streams of a sample. `None` if all streams are checked.
pub(super) async fn choose(
    reader: &dyn EventReader,
    scope: &Scope,
) -> Result<Option<HashSet<StreamId>>, Error> {
    let Some(sample) = scope.sample else {
        return Ok(None);
    };
    let filter = StreamFilter {
        category: scope.category.as_deref().map(Into::into),
        archived: ArchivedStreams::With,
    };
    let (mut chosen, mut seen, mut after) = (Vec::new(), 0_usize, None::<String>);
    loop {
        let page = reader.streams(after.as_deref(), LOG_PAGE_MAX, &filter);
        let page = page.await?;
        for stream in page.streams {
            seen += 1;
            // Each stream has the same chance of being chosen.
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

pub(super) fn is_chosen(
    stream: &StreamId,
    scope: &Scope,
    chosen: &Option<HashSet<StreamId>>,
) -> bool {
    match (chosen, scope.category.as_deref()) {
        (Some(chosen), _) => chosen.contains(stream),
        (None, Some(category)) => stream.category() == category,
        (None, None) => true,
    }
}

/// Returns the categories that a candidate would serve differently, with their new rules.
pub(super) fn served(prospect: &Prospect) -> impl Iterator<Item = (Box<str>, Arc<Rules>)> {
    let categories = prospect.categories.iter();
    categories.filter_map(|category| {
        let deployed = prospect.next.decider(category)?;
        Some((category.as_str().into(), Arc::clone(&deployed.rules)))
    })
}

impl Run<'_> {
    /// Re-decides recorded commands and compares the results, up to the current end of the log.
    /// Dropping the future cancels the verification.
    ///
    /// # Errors
    /// When a module of the history is gone, or the store fails.
    pub async fn verify(
        &self,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let (prover, acknowledged) = (self.prover, &self.acknowledged);
        // Read before the history of plans, so that the history has the plan of every event up to
        // here.
        let head = prover.reader.log_head().await?;
        let judge = Arc::new(Judge::Past(prover.registry.past().await?));
        let chosen = choose(&*prover.reader, scope).await?;
        let running = prover.run((&judge, acknowledged), head, (scope, &chosen), progress);
        let mut verified = running.await?;
        if verified.until == verified.head {
            let found = (&mut verified, &**acknowledged);
            prover.compare_snapshots(scope, &chosen, found).await?;
        }
        Ok(verified)
    }
}

impl Lanes {
    fn begin(
        stop: &Arc<Stop>,
        rejections: Vec<Rejected>,
        lane: impl Fn(Vec<Rejected>) -> Lane,
    ) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let rejections = shared_out(rejections, threads, |rejected| &rejected.stream);
        let begin = |rejections| {
            let (sender, mut batches) = mpsc::channel::<Vec<StoredEvent>>(WAITING_MAX);
            let mut lane = lane(rejections);
            let running = tokio::task::spawn_blocking(move || {
                while let Some(batch) = batches.blocking_recv() {
                    lane.take(batch)?;
                }
                lane.end()
            });
            (sender, running)
        };
        Self {
            all: rejections.into_iter().map(begin).collect(),
            stop: Arc::clone(stop),
        }
    }

    /// Distributes events among the threads by stream. Returns false if a thread has ended.
    async fn take(&self, events: Vec<StoredEvent>) -> bool {
        let shares = shared_out(events, self.all.len(), |event| &event.stream);
        for ((lane, _), share) in self.all.iter().zip(shares) {
            if !share.is_empty() && lane.send(share).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Returns the results and the first event that was not checked. `is_whole` says that no events
    /// after the last one were left out.
    async fn end(mut self, is_whole: bool) -> Result<(Verified, Option<Position>), Error> {
        let (mut verified, mut cut_at) = (Verified::default(), None::<Position>);
        let all = std::mem::take(&mut self.all);
        let (lanes, running): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        drop(lanes);
        for running in running {
            let mut ended = joined(running.await).ok_or(Error::Stopped)??;
            if is_whole && ended.cut_at.is_none() {
                for finding in ended.unfinished {
                    ended.verified.find(finding);
                }
            }
            cut_at = cut_at.into_iter().chain(ended.cut_at).min();
            verified.add(ended.verified);
        }
        Ok((verified, cut_at))
    }
}

/// Splits a list into `count` shares by stream.
fn shared_out<T>(all: Vec<T>, count: usize, stream: fn(&T) -> &StreamId) -> Vec<Vec<T>> {
    let mut shares: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    for one in all {
        let share = usize::try_from(hash(stream(&one)) % count as u64).unwrap_or_default();
        shares[share].push(one);
    }
    shares
}

impl Drop for Lanes {
    /// Stops the threads, because nobody waits for their results any more.
    fn drop(&mut self) {
        self.stop.give_up();
    }
}
