//! A candidate that decides live commands without effect, next to the active decider.
//!
//! Commands are read from the log and from the stored rejections after they were decided, including
//! those of other hosts. One thread re-decides them, for a share of its time. Those it can't keep
//! up with are skipped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::acknowledge::Acknowledged;
use super::cancel::Stop;
use super::decider_source::Judge;
use super::preflight::{Objections, Policy, Preflight};
use super::prover::{Prover, served};
use super::reassemble::{Commits, hash};
use super::replay::Lane;
use super::report::Verified;
use super::state_cache::Source;
use crate::deploy::{ProjectionChanges, Prospect, Release};
use crate::model::{Digest, Position, StreamId};
use crate::store::{self, Direction, REJECTIONS_PAGE_MAX, Rejected, RejectionFilter, StoredEvent};

/// Number of events that are decided between two checks of the time.
const PAGE: usize = 200;
/// Pause between two reads of a log that does not grow, and between two reports.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// Limit for the number of known streams that can't be folded.
const LOST_MAX: usize = 10_000;

/// Options of a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadowing {
    /// How long the shadow runs.
    pub time: Duration,
    /// Percentage of streams that the shadow decides.
    pub share: u8,
    /// Share of one processor's time that the shadow may use, in percent.
    pub cpu: u8,
    /// Lag, in positions, from which on the shadow skips to the end of the log.
    pub lag_max: u64,
}

impl Default for Shadowing {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            share: 100,
            cpu: 25,
            lag_max: 10_000,
        }
    }
}

/// The results of a shadow so far.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// The shadow started after this position.
    pub after: Position,
    /// Number of positions and rejections that were skipped because the shadow could not keep up.
    pub skipped: u64,
    /// Why the shadow has ended. `None` while it runs.
    pub end: Option<End>,
    /// The differences found so far.
    pub found: Preflight,
}

/// Why a shadow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time is over.
    Time,
    /// The module has become active.
    Active,
}

/// Receives the results of a shadow so far, once a second.
pub type Report<'a> = &'a mut (dyn FnMut(Shadow) + Send);

/// The input of the next step.
#[derive(Default)]
struct Batch {
    /// The candidates under the new plan, if the plan has changed.
    judge: Option<Arc<Judge>>,
    /// Whether a part of the log before these events was skipped.
    is_after_a_gap: bool,
    events: Vec<StoredEvent>,
    rejections: Vec<Rejected>,
}

/// All results so far, and the duration of the last step.
type StepResult = Result<(Verified, Duration), store::Error>;

/// The thread that decides. It ends when this is dropped.
struct Decider {
    batches: mpsc::Sender<(Batch, oneshot::Sender<StepResult>)>,
    stop: Arc<Stop>,
}

/// The progress of a shadow.
struct Place {
    at: Position,
    /// Number of the last rejection.
    rejection: u64,
    skipped: u64,
}

impl Prover {
    /// Lets a candidate decide live commands next to the active module, and compares the decisions.
    /// Nothing is stored. Dropping the future ends the shadow.
    ///
    /// # Errors
    /// When a shadow is under way, the module is active or can't be activated, or the store fails.
    pub async fn shadow(
        &self,
        module: Digest,
        policy: &Policy,
        how: &Shadowing,
        report: Report<'_>,
    ) -> Result<Shadow, Error> {
        let Ok(_guard) = self.shadowing.try_lock() else {
            return Err(Error::Shadowing);
        };
        if self.registry.plan().serves(module) {
            return Err(Error::Active(module));
        }
        let (mut prospect, judge) = self.candidate(module).await?;
        let mut judge = Arc::new(judge);
        let head = self.reader.log_head().await?;
        let mut place = Place {
            at: head,
            rejection: self.newest_rejection().await?,
            skipped: 0,
        };
        let stop = Arc::new(Stop::after(Some(how.time)));
        let acknowledged = self.acknowledged_of_log().await?;
        let decider = self.decider(&judge, &stop, &acknowledged);
        let (mut verified, mut reported_at) = (Verified::default(), Instant::now());
        let mut new_judge = None;
        let end = loop {
            let plan = self.registry.plan();
            if plan.serves(module) {
                break End::Active;
            }
            if plan.number + 1 != prospect.next.number {
                let (next, candidate) = self.candidate(module).await?;
                (prospect, judge) = (next, Arc::new(candidate));
                new_judge = Some(Arc::clone(&judge));
            }
            if stop.is_over() {
                break End::Time;
            }
            let mut batch = self.next(&mut place, &judge, how).await?;
            batch.judge = new_judge.take();
            let (done, took) = decider.decide(batch).await?;
            verified = done;
            (verified.until, verified.head) = (place.at, self.reader.log_head().await?);
            if reported_at.elapsed() >= REPORT_PAUSE {
                reported_at = Instant::now();
                report(place.shadow(head, None, concluded(&prospect, &verified, policy)));
            }
            let cpu = u32::from(how.cpu.clamp(1, 100));
            let mut pause = took * (100 - cpu) / cpu;
            if verified.head <= place.at {
                pause = pause.max(LOOK_PAUSE);
            }
            // A long batch causes a long pause. Reports continue during the pause, and the pause
            // ends with the run.
            while !pause.is_zero() && !stop.is_over() {
                let nap = pause.min(REPORT_PAUSE);
                tokio::time::sleep(nap).await;
                pause -= nap;
                if !pause.is_zero() {
                    report(place.shadow(head, None, concluded(&prospect, &verified, policy)));
                }
            }
        };
        Ok(place.shadow(head, Some(end), concluded(&prospect, &verified, policy)))
    }

    async fn newest_rejection(&self) -> Result<u64, Error> {
        let newest = i64::MAX.unsigned_abs();
        let all = RejectionFilter::All;
        let newest = self.rejections.read(all, newest, Direction::Backward, 1);
        Ok(newest.await?.first().map_or(0, |newest| newest.id))
    }

    /// Returns the candidates under the current plan.
    async fn candidate(&self, module: Digest) -> Result<(Prospect, Judge), Error> {
        let (release, keeping) = (Release::from(module), ProjectionChanges::default());
        let prospect = self.registry.prospect(&release, &keeping).await?;
        let judge = Judge::Candidate(self.candidates(served(&prospect).collect()));
        Ok((prospect, judge))
    }

    fn decider(
        &self,
        judge: &Arc<Judge>,
        stop: &Arc<Stop>,
        acknowledged: &Arc<Acknowledged>,
    ) -> Decider {
        let source = Source {
            reader: Arc::clone(&self.reader),
            lifter: self.registry.lifter(),
            runtime: Handle::current(),
            limits: None,
        };
        let mut lane = Lane::new(judge, &source, (stop, acknowledged), Vec::new());
        lane.commits = Commits::following();
        let (sender, mut batches) = mpsc::channel::<(Batch, oneshot::Sender<StepResult>)>(1);
        // After a panic its receiver is dropped, so `decide` fails, and the shadow with it.
        tokio::task::spawn_blocking(move || {
            while let Some((batch, sender)) = batches.blocking_recv() {
                let begun = Instant::now();
                let done = lane.follow(batch);
                let done = done.map(|()| (lane.verified.clone(), begun.elapsed()));
                // The receiver may be gone.
                _ = sender.send(done);
            }
        });
        Decider {
            batches: sender,
            stop: Arc::clone(stop),
        }
    }

    /// Reads what was decided since the last call.
    async fn next(
        &self,
        place: &mut Place,
        judge: &Judge,
        how: &Shadowing,
    ) -> Result<Batch, Error> {
        let is_wanted = |stream: &StreamId| {
            judge.is_for(stream.category()) && hash(stream) % 100 < u64::from(how.share)
        };
        let mut batch = Batch::default();
        let head = self.reader.log_head().await?;
        let lag = head.0.saturating_sub(place.at.0);
        if lag > how.lag_max {
            place.skipped += lag;
            place.at = head;
            batch.is_after_a_gap = true;
        }
        batch.events = self.reader.read_stored(place.at, PAGE).await?.events;
        batch.events.retain(|event| event.position <= head);
        place.at = batch.events.last().map_or(head, |last| last.position);
        batch.events.retain(|event| is_wanted(&event.stream));
        let limit = REJECTIONS_PAGE_MAX;
        let forward = Direction::Forward;
        let all = RejectionFilter::All;
        let page = self.rejections.read(all, place.rejection, forward, limit);
        batch.rejections = page.await?;
        if let Some(last) = batch.rejections.last() {
            place.rejection = last.id;
        }
        if batch.rejections.len() == limit {
            let newest = self.newest_rejection().await?;
            let lag = newest.saturating_sub(place.rejection);
            if lag > how.lag_max {
                place.skipped += lag;
                place.rejection = newest;
            }
        }
        batch
            .rejections
            .retain(|rejected| is_wanted(&rejected.stream));
        Ok(batch)
    }
}

impl Decider {
    async fn decide(&self, batch: Batch) -> Result<(Verified, Duration), Error> {
        let (sender, receiver) = oneshot::channel();
        let sent = self.batches.send((batch, sender)).await;
        sent.map_err(|_| Error::Stopped)?;
        Ok(receiver.await.map_err(|_| Error::Stopped)??)
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        self.stop.give_up();
    }
}

impl Place {
    fn shadow(&self, after: Position, end: Option<End>, found: Preflight) -> Shadow {
        Shadow {
            after,
            skipped: self.skipped,
            end,
            found,
        }
    }
}

impl Lane {
    /// Processes the next part of a log that was not read from its beginning.
    fn follow(&mut self, batch: Batch) -> Result<(), store::Error> {
        if let Some(judge) = batch.judge {
            self.judge = judge;
            self.lost.clear();
        }
        if batch.is_after_a_gap {
            self.commits = Commits::following();
        }
        if self.lost.len() > LOST_MAX {
            self.lost.clear();
        }
        self.take(batch.events)?;
        for rejected in &batch.rejections {
            if self.stop.is_over() {
                break;
            }
            self.decide_rejected(rejected)?;
        }
        Ok(())
    }
}

fn concluded(prospect: &Prospect, verified: &Verified, policy: &Policy) -> Preflight {
    let mut objections = Objections::default();
    objections.readers(prospect);
    objections.concluded(prospect, verified.clone(), policy)
}
