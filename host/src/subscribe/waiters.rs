use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::interest::{Index, SeatId, Wants};
use super::ring::{NextCommit, Ring, bytes_of};
use super::{Error, Options};
use crate::deploy::{Plan, Reading};
use crate::model::{Position, RecordedEvent, Version};
use crate::store;

/// Limit for the number of ring events that are checked at once.
const EVENTS_PER_CHECK_MAX: usize = 256;

/// The state that all subscriptions share: the newest events, and which subscription waits for
/// which events.
///
/// While a subscription waits, no event that it wants has passed: whoever publishes an event
/// removes the subscriptions that want it from the index, stores where they continue, and wakes
/// them. All others need no check.
///
/// The plan is read while the lock is held, so it is never older than a plan under which an event
/// of the ring was committed.
pub(super) struct Board {
    ring: Ring,
    phase: Phase,
    seats: HashMap<SeatId, Seat>,
    index: Index,
    last_id: SeatId,
    /// Subscriptions that wait until the ring follows the log.
    starting: HashSet<SeatId>,
    /// Subscriptions that wait for whole commits.
    commits: HashSet<SeatId>,
    seats_max: usize,
    reading: Reading,
}

#[derive(Debug)]
enum Phase {
    /// The ring does not follow the log.
    Resting,
    /// The ring follows the log.
    Running,
    /// The host is shutting down.
    Ended,
}

/// The state of a subscription on the board.
#[derive(Debug)]
struct Seat {
    wants: Arc<Wants>,
    /// The task to wake. `None` unless the subscription waits.
    waker: Option<Waker>,
    /// No event up to here concerns the subscription any more.
    checked: Position,
    /// The last version of its stream that the subscription has processed.
    seen: Version,
    /// A permanent failure of the store that was not reported yet.
    failed: Option<store::Error>,
}

/// The result of checking the ring.
#[derive(Debug)]
pub(super) enum NextEvent {
    /// The next event that may concern the subscription, as it is stored, and the plan by which
    /// this was decided.
    Event(Arc<RecordedEvent>, Arc<Plan>),
    /// No event so far, but the ring has more events to check.
    More,
    /// No event. The subscription is woken when there is one.
    Waiting,
    /// The ring does not follow the log yet. The subscription is woken when it does.
    Starting,
    /// The ring starts after the subscription's position, so the events have to be read from the
    /// store.
    OutOfRing,
}

impl Board {
    pub(super) fn new(options: &Options, reading: Reading) -> Self {
        Self {
            ring: Ring::new(options),
            phase: Phase::Resting,
            seats: HashMap::new(),
            index: Index::default(),
            last_id: 0,
            starting: HashSet::new(),
            commits: HashSet::new(),
            seats_max: options.subscriptions_max,
            reading,
        }
    }

    /// Returns the number of subscriptions.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Adds a subscription.
    pub(super) fn join(&mut self, wants: Arc<Wants>) -> Result<SeatId, Error> {
        if matches!(self.phase, Phase::Ended) {
            return Err(Error::Stopped);
        }
        if self.seats.len() >= self.seats_max {
            return Err(Error::TooMany(self.seats_max));
        }
        self.last_id += 1;
        let seat = Seat {
            wants,
            waker: None,
            checked: Position(0),
            seen: Version::NONE,
            failed: None,
        };
        self.seats.insert(self.last_id, seat);
        Ok(self.last_id)
    }

    pub(super) fn leave(&mut self, id: SeatId) {
        if let Some(seat) = self.seats.remove(&id)
            && seat.waker.is_some()
        {
            self.index.remove(id, &seat.wants);
            self.starting.remove(&id);
            self.commits.remove(&id);
        }
    }

    /// Returns the position up to which the ring follows the log.
    pub(super) fn end(&self) -> Position {
        self.ring.end()
    }

    /// Returns the next event after a position, and moves the position past all events before it
    /// that do not concern the subscription.
    ///
    /// # Errors
    /// When the host is shutting down, or the store has failed permanently.
    pub(super) fn next_event(
        &mut self,
        id: SeatId,
        at: &mut Position,
        seen: Version,
        waker: &Waker,
    ) -> Result<NextEvent, Error> {
        if self.is_starting(id, waker)? {
            return Ok(NextEvent::Starting);
        }
        let seat = self.seats.get_mut(&id).ok_or(Error::Stopped)?;
        *at = (*at).max(seat.checked);
        if let Some(waits) = &mut seat.waker {
            waits.clone_from(waker);
            *at = (*at).max(self.ring.end());
            return Ok(NextEvent::Waiting);
        }
        if *at < self.ring.start() {
            return Ok(NextEvent::OutOfRing);
        }
        let (plan, mut count) = (self.reading.plan(), 0);
        for event in self.ring.events_after(*at).take(EVENTS_PER_CHECK_MAX) {
            count += 1;
            if seat.wants.admits(event, seen, &plan) {
                return Ok(NextEvent::Event(Arc::clone(event), plan));
            }
            *at = event.position;
        }
        if count == EVENTS_PER_CHECK_MAX {
            return Ok(NextEvent::More);
        }
        *at = (*at).max(self.ring.end());
        (seat.checked, seat.seen) = (*at, seen);
        seat.waker = Some(waker.clone());
        self.index.add(id, &seat.wants);
        Ok(NextEvent::Waiting)
    }

    /// Returns an event that was found in the ring, and those after it that may concern the same
    /// subscription, within limits for events and bytes.
    pub(super) fn run(
        &self,
        first: Arc<RecordedEvent>,
        wants: &Wants,
        plan: &Plan,
        (events_max, bytes_max): (usize, usize),
    ) -> Vec<Arc<RecordedEvent>> {
        let (position, seen) = (first.position, first.version);
        let mut bytes = bytes_of(&first);
        let events = self.ring.events_after(position).take(EVENTS_PER_CHECK_MAX);
        let more = events
            .filter(|event| wants.admits(event, seen, plan))
            .take_while(|event| {
                bytes = bytes.saturating_add(bytes_of(event));
                bytes <= bytes_max
            });
        let more = more.take(events_max.saturating_sub(1)).map(Arc::clone);
        [first].into_iter().chain(more).collect()
    }

    /// Returns the next whole commit for a reader that has read the given number of events. A
    /// failed store is waited for.
    ///
    /// # Errors
    /// When the host is shutting down.
    pub(super) fn next_commit(
        &mut self,
        id: SeatId,
        read: &mut u64,
        waker: &Waker,
    ) -> Result<Poll<NextCommit>, Error> {
        if matches!(self.phase, Phase::Ended) {
            return Err(Error::Stopped);
        }
        let seat = self.seats.get_mut(&id).ok_or(Error::Stopped)?;
        match self.ring.next_commit(read) {
            NextCommit::None => {
                seat.waker = Some(waker.clone());
                self.commits.insert(id);
                Ok(Poll::Pending)
            }
            next => Ok(Poll::Ready(next)),
        }
    }

    /// Returns the number of events that have passed, as soon as the ring follows the log.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub(super) fn passed(&mut self, id: SeatId, waker: &Waker) -> Poll<Result<u64, Error>> {
        match self.is_starting(id, waker) {
            Ok(true) => Poll::Pending,
            Ok(false) => Poll::Ready(Ok(self.ring.count())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_starting(&mut self, id: SeatId, waker: &Waker) -> Result<bool, Error> {
        if matches!(self.phase, Phase::Ended) {
            return Err(Error::Stopped);
        }
        let seat = self.seats.get_mut(&id).ok_or(Error::Stopped)?;
        if let Some(error) = seat.failed.take() {
            return Err(Error::Store(error));
        }
        let is_resting = matches!(self.phase, Phase::Resting);
        if is_resting {
            seat.waker = Some(waker.clone());
            self.starting.insert(id);
        }
        Ok(is_resting)
    }

    /// Starts to follow the log at its head. Returns the tasks to wake.
    pub(super) fn begin(&mut self, head: Position) -> Vec<Waker> {
        if matches!(self.phase, Phase::Resting) {
            self.phase = Phase::Running;
            self.ring.restart(head);
        }
        let starting = std::mem::take(&mut self.starting);
        let seats = starting.iter().filter_map(|id| {
            let seat = self.seats.get_mut(id)?;
            seat.waker.take()
        });
        seats.collect()
    }

    /// Publishes the next events of the log, up to a position. Returns the tasks of the
    /// subscriptions that may want them, which must be woken.
    pub(super) fn put_up(
        &mut self,
        events: Vec<RecordedEvent>,
        up_to: Position,
        is_last: bool,
    ) -> Vec<Waker> {
        let (plan, mut woken) = (self.reading.plan(), Vec::new());
        for event in events {
            let before = self.ring.end();
            for id in self.index.candidates(&event, &plan) {
                let Some(seat) = self.seats.get_mut(&id) else {
                    continue;
                };
                if event.position <= seat.checked || !seat.wants.admits(&event, seat.seen, &plan) {
                    continue;
                }
                seat.checked = seat.checked.max(before);
                self.index.remove(id, &seat.wants);
                woken.extend(seat.waker.take());
            }
            self.ring.push(Arc::new(event));
        }
        self.ring.reach(up_to, is_last);
        for id in std::mem::take(&mut self.commits) {
            let seat = self.seats.get_mut(&id);
            woken.extend(seat.and_then(|seat| seat.waker.take()));
        }
        woken
    }

    /// Stops following the log if there are no subscriptions. Returns whether it has stopped.
    pub(super) fn rest(&mut self) -> bool {
        if !self.seats.is_empty() || matches!(self.phase, Phase::Ended) {
            return false;
        }
        self.phase = Phase::Resting;
        self.ring.restart(self.ring.end());
        true
    }

    /// Reports a permanent failure of the store to all subscriptions that wait.
    pub(super) fn fail(&mut self, error: &store::Error) -> Vec<Waker> {
        for seat in self.seats.values_mut().filter(|seat| seat.waker.is_some()) {
            seat.failed = Some(error.clone());
        }
        self.wake_all()
    }

    /// Ends all subscriptions.
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.phase = Phase::Ended;
        self.wake_all()
    }

    fn wake_all(&mut self) -> Vec<Waker> {
        self.index = Index::default();
        self.starting.clear();
        self.commits.clear();
        let seats = self.seats.values_mut();
        seats.filter_map(|seat| seat.waker.take()).collect()
    }
}
