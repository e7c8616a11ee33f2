//! A worker: a thread that owns its instances and the warm state of its streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hashlink::LinkedHashMap;
use tokio::sync::mpsc;

use super::brakes::Brakes;
use super::homes::Homes;
use super::load::{self, Loaded};
use super::pool::Pool;
use super::request::Request;
use super::slot::{Slot, State, Warm};
use super::{Error, Shared};
use crate::deploy::Deployed;
use crate::fold::{self, Start};
use crate::model::{StreamId, Version};
use crate::runtime::{Failure, FoldEvent};
use crate::store::{LoadPage, RunId};
use crate::supervise::{Seat, Supervisor};
use crate::upcast::Liftable;

/// Streams that are remembered as to be kept apart.
const APART_MAX: usize = 4_096;

/// Fuel of recent decisions up to which a caller's own thread may decide: about
/// 100 µs, during which a thread of the reactor does nothing else.
const DIRECT_FUEL_MAX: u64 = 100_000;

/// A running worker. It ends when this handle is dropped.
pub struct Worker {
    core: Arc<Mutex<Core>>,
    inbox: Inbox,
    seat: Arc<Seat>,
}

/// What a worker is told. The queue has no bound of its own: each message belongs
/// to a command in flight, and those are bounded.
pub(super) enum Message {
    /// A new command.
    Execute(Request),
    /// A command that is to be decided again, since its append or answer was refused,
    /// or its id was looked up and not found.
    Again(Request),
    /// A page of a stream that is being loaded.
    Page(StreamId, RunId, Box<Result<Loaded, fold::Error>>),
    /// The state of a stream rests on what is gone.
    Forget(StreamId),
    /// A snapshot of a stream may be due.
    Consider(StreamId),
    /// A stream has a snapshot of this version; none: it could not be taken.
    Snapshotted(StreamId, Option<Version>),
    /// Everything that was staged on a run has been answered.
    Drained(StreamId),
    /// Another plan is the current one: modules may not be in use any more.
    Raised,
    /// The handle was dropped.
    Stop,
}

/// Tells a worker.
#[derive(Clone)]
pub(super) struct Inbox {
    messages: mpsc::UnboundedSender<Message>,
    /// Messages that have not been dealt with.
    pending: Arc<AtomicUsize>,
}

impl Inbox {
    /// Queues a message. A worker ends only after its handle is gone, and then
    /// nobody waits any more.
    pub(super) fn send(&self, message: Message) {
        self.pending.fetch_add(1, Ordering::SeqCst);
        _ = self.messages.send(message);
    }
}

impl Worker {
    /// Starts a worker.
    pub fn start(
        number: usize,
        shared: &Arc<Shared>,
        supervisor: &Supervisor,
    ) -> std::io::Result<Self> {
        let (messages, queue) = mpsc::unbounded_channel();
        let inbox = Inbox {
            messages,
            pending: Arc::default(),
        };
        let core = Arc::new(Mutex::new(Core::new(shared, &inbox)));
        let seat = Arc::new(supervisor.seat(format!("worker {number}")));
        let (working, pending) = (Arc::clone(&core), Arc::clone(&inbox.pending));
        let steps = Arc::clone(&seat);
        std::thread::Builder::new()
            .name(format!("quipu-worker-{number}"))
            .spawn(move || run(&working, queue, &pending, &steps))?;
        Ok(Self { core, inbox, seat })
    }

    /// Tells that a stream has a snapshot of a version.
    pub fn snapshotted(&self, stream: &StreamId, version: Version) {
        let message = Message::Snapshotted(stream.clone(), Some(version));
        self.inbox.send(message);
    }

    /// How to tell it something.
    pub(super) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Lets a stream be loaded anew by its next command.
    pub fn forget(&self, stream: &StreamId) {
        self.inbox.send(Message::Forget(stream.clone()));
    }

    /// Hands a command over. When the worker has nothing to do and decisions are
    /// short, it is decided here and now: a hop to another thread and back would
    /// cost more.
    pub fn execute(&self, request: Request) {
        if self.inbox.pending.load(Ordering::SeqCst) == 0
            && let Ok(mut core) = self.core.try_lock()
            && core.recent_fuel <= DIRECT_FUEL_MAX
        {
            return core.step(&self.seat, |core| core.execute(request));
        }
        self.inbox.send(Message::Execute(request));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inbox.send(Message::Stop);
    }
}

fn run(
    core: &Mutex<Core>,
    mut queue: mpsc::UnboundedReceiver<Message>,
    pending: &AtomicUsize,
    seat: &Seat,
) {
    while let Some(message) = queue.blocking_recv() {
        let is_over = matches!(message, Message::Stop);
        let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
        core.step(seat, |core| core.deal_with(message));
        drop(core);
        pending.fetch_sub(1, Ordering::SeqCst);
        if is_over {
            return;
        }
    }
}

pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) myself: Inbox,
    /// Least recently used first.
    pub(super) slots: LinkedHashMap<StreamId, Slot>,
    pub(super) pool: Pool,
    /// Counts commands and look-ups in the order in which they came.
    pub(super) number: u64,
    /// What decisions took lately.
    pub(super) recent_fuel: u64,
    /// Modules that are not called for a while.
    pub(super) brakes: Brakes,
    /// Streams whose guest faulted lately, the last one last: they are kept apart although
    /// nothing else is known of them any more.
    apart: LinkedHashMap<StreamId, ()>,
}

impl Core {
    fn new(shared: &Arc<Shared>, myself: &Inbox) -> Self {
        Self {
            shared: Arc::clone(shared),
            myself: myself.clone(),
            slots: LinkedHashMap::new(),
            pool: Pool::default(),
            number: 0,
            recent_fuel: 0,
            brakes: Brakes::default(),
            apart: LinkedHashMap::new(),
        }
    }

    /// Does one step. After a panic in it nothing of what the worker knew is trusted: streams
    /// are loaded again, and whoever waited at them is told.
    fn step(&mut self, seat: &Seat, step: impl FnOnce(&mut Self)) {
        if seat.step(|| step(self)).is_some() {
            return;
        }
        let number = self.number;
        *self = Self::new(&self.shared, &self.myself);
        // A look-up of before must not pass for one of later.
        self.number = number;
    }

    fn deal_with(&mut self, message: Message) {
        match message {
            Message::Execute(request) => self.execute(request),
            Message::Again(request) => self.take(request),
            Message::Page(stream, run, page) => self.page(&stream, run, *page),
            Message::Forget(stream) => {
                self.retire(&stream);
                self.advance(&stream);
            }
            Message::Consider(stream) => self.consider_snapshot(&stream, false),
            Message::Snapshotted(stream, version) => self.snapshotted(&stream, version),
            Message::Drained(stream) => {
                if let Some(slot) = self.slots.get_mut(&stream)
                    && let State::Draining(run) = &slot.state
                    && run.is_idle()
                {
                    slot.state = State::Cold;
                }
                self.advance(&stream);
            }
            Message::Raised => self.give_up_replaced(),
            Message::Stop => {}
        }
    }

    fn execute(&mut self, mut request: Request) {
        self.number += 1;
        request.arrival = self.number;
        self.take(request);
    }

    /// Queues a command at its stream and goes on there.
    pub(super) fn take(&mut self, request: Request) {
        let stream = request.stream.clone();
        let apart = &self.apart;
        let slot = self.slots.entry(stream.clone()).or_insert_with(|| {
            let mut slot = Slot::new();
            slot.is_apart = !apart.is_empty() && apart.contains_key(&stream);
            slot
        });
        let direct = slot.waiting.is_empty() && matches!(slot.state, State::Warm(_));
        if direct {
            // Kept as it is, with its claim on the next batch.
            slot.waiting.push_back(request);
        } else {
            slot.wait(request);
        }
        self.slots.to_back(&stream);
        self.advance(&stream);
        self.evict();
    }

    /// Decides what can be decided at a stream, and starts what must come before.
    pub(super) fn advance(&mut self, stream: &StreamId) {
        let plan = self.shared.registry.plan();
        let current = plan.decider(stream.category());
        loop {
            let Some(slot) = self.slots.get_mut(stream) else {
                return;
            };
            match &mut slot.state {
                State::Loading(_) | State::Draining(_) => return,
                State::Cold if slot.waiting.is_empty() => {
                    self.slots.remove(stream);
                    return;
                }
                State::Cold => {
                    let Some(deployed) = current else {
                        self.refuse_all(stream, Some(plan.number), |request| {
                            Error::UnknownCategory(request.stream.category().to_owned())
                        });
                        continue;
                    };
                    let deployed = Arc::clone(deployed);
                    self.load(stream, deployed);
                }
                State::Warm(warm) => {
                    let stands = !warm.run.is_dead()
                        && current.is_some_and(|current| Arc::ptr_eq(current, &warm.deployed))
                        && warm.homes.are_there(&self.pool);
                    if !stands {
                        self.retire(stream);
                        continue;
                    }
                    let Some(request) = slot.waiting.pop_front() else {
                        return;
                    };
                    self.decide(request, plan.number);
                }
            }
        }
    }

    /// Gives up the state of a stream. What was staged on it may still be answered.
    pub(super) fn retire(&mut self, stream: &StreamId) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let (State::Warm(warm) | State::Loading(warm)) =
            std::mem::replace(&mut slot.state, State::Cold)
        else {
            return;
        };
        for home in warm.homes.into_all() {
            self.pool.close(home);
        }
        for request in &mut slot.waiting {
            request.deciding = None;
        }
        if warm.run.watch() {
            slot.state = State::Draining(warm.run);
        }
    }

    /// From now on a stream has an instance of its own, also when it comes back.
    pub(super) fn keep_apart(&mut self, stream: &StreamId) {
        if let Some(slot) = self.slots.get_mut(stream) {
            slot.is_apart = true;
        }
        self.apart.remove(stream);
        self.apart.insert(stream.clone(), ());
        if self.apart.len() > APART_MAX {
            self.apart.pop_front();
        }
    }

    /// Opens an aggregate and begins to read its stream.
    fn load(&mut self, stream: &StreamId, deployed: Arc<Deployed>) {
        let check = self.shared.options.check_purity;
        let plan = self.plan_of(stream, &deployed);
        let module = deployed.rules.module.digest();
        if !self.brakes.is_empty()
            && let Some(resting) = self.brakes.rests(module, stream, Instant::now())
        {
            return self.refuse_all(stream, Some(plan), |request| {
                Error::of_guest(&request.stream, &resting)
            });
        }
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        match Homes::open(
            &mut self.pool,
            &deployed,
            stream,
            None,
            slot.is_apart,
            check,
        ) {
            Ok(homes) => {
                let warm = Warm::new(deployed, homes);
                let (run, deployed) = (warm.run.id(), Arc::clone(&warm.deployed));
                slot.state = State::Loading(warm);
                let passed_by = slot.refused_snapshots;
                self.begin(stream, run, deployed, passed_by);
            }
            Err(failure) => self.refuse_all(stream, Some(plan), |request| {
                Error::of_guest(&request.stream, &failure)
            }),
        }
    }

    /// Reads a snapshot and the first events off this thread.
    fn begin(&self, stream: &StreamId, run: RunId, deployed: Arc<Deployed>, passed_by: usize) {
        let (shared, myself) = (Arc::clone(&self.shared), self.myself.clone());
        let stream = stream.clone();
        self.shared.runtime.spawn(async move {
            let loading = load::begin(&shared, &deployed, &stream, passed_by);
            let loaded = shared.loading.attempt(loading).await;
            let loaded = loaded.unwrap_or_else(|cause| Err(load::not_loaded(&cause)));
            myself.send(Message::Page(stream, run, Box::new(loaded)));
        });
    }

    /// Reads the next page off this thread.
    fn read(&self, stream: &StreamId, run: RunId, after: Version) {
        let (shared, myself) = (Arc::clone(&self.shared), self.myself.clone());
        let stream = stream.clone();
        self.shared.runtime.spawn(async move {
            let limit = shared.options.load_page;
            let loading = shared.reader.load(&stream, after, limit);
            let loaded = match shared.loading.attempt(loading).await {
                Ok(Ok(page)) => Ok(Loaded {
                    start: None,
                    page,
                    is_too_long: false,
                }),
                Ok(Err(error)) => Err(fold::Error::Store(error)),
                Err(cause) => Err(load::not_loaded(&cause)),
            };
            myself.send(Message::Page(stream, run, Box::new(loaded)));
        });
    }

    /// Folds a page, and asks for the next or begins to decide.
    fn page(&mut self, stream: &StreamId, run: RunId, loaded: Result<Loaded, fold::Error>) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let State::Loading(warm) = &mut slot.state else {
            return;
        };
        if warm.run.id() != run {
            return;
        }
        let Loaded {
            start,
            page,
            is_too_long,
        } = match loaded {
            Ok(loaded) => loaded,
            Err(fold::Error::Store(error)) => {
                self.retire(stream);
                return self.fail_all(stream, &error);
            }
            Err(error) => return self.unreadable(stream, &error),
        };
        if let Some(start) = start
            && !self.reopen(stream, &start, is_too_long)
        {
            return;
        }
        self.fold(stream, page, is_too_long);
    }

    /// Takes a snapshot for the state that was opened. False when the guest refuses it:
    /// then the stream is loaded anew without it.
    fn reopen(&mut self, stream: &StreamId, start: &Start, is_too_long: bool) -> bool {
        let Some(slot) = self.slots.get_mut(stream) else {
            return false;
        };
        let State::Loading(warm) = &mut slot.state else {
            return false;
        };
        warm.ids.begin_behind_others();
        (warm.version, warm.snapshot_version) = (start.version, start.version);
        if is_too_long {
            return true;
        }
        let check = self.shared.options.check_purity;
        let (deployed, snapshot) = (Arc::clone(&warm.deployed), Some(&start.snapshot));
        match Homes::open(
            &mut self.pool,
            &deployed,
            stream,
            snapshot,
            slot.is_apart,
            check,
        ) {
            Ok(homes) => {
                for home in std::mem::replace(&mut warm.homes, homes).into_all() {
                    self.pool.close(home);
                }
                self.shared.folder.counts().used();
                true
            }
            Err(failure) => {
                let folder = &self.shared.folder;
                folder.ignore(stream, "refused-by-the-guest", &failure);
                slot.refused_snapshots += 1;
                // It may have thrown away other streams' states with it.
                if matches!(failure, Failure::Fault(_)) {
                    self.keep_apart(stream);
                }
                self.retire(stream);
                self.advance(stream);
                false
            }
        }
    }

    /// Folds the events of a page.
    fn fold(&mut self, stream: &StreamId, page: LoadPage, is_too_long: bool) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let State::Loading(warm) = &mut slot.state else {
            return;
        };
        // Numbered now: a look-up that was made before does not count against them.
        self.number += 1;
        for event in &page.events {
            if let Some(id) = &event.command_id {
                warm.ids.insert(id, self.number);
            }
        }
        let last = page.events.last();
        let last = last.map(|event| (event.version, event.recorded_at));
        let lift = &warm.deployed.rules.lift;
        let lifted = match self.shared.folder.lifter().lift(lift, page.events) {
            Ok(lifted) => lifted,
            Err(error) => {
                let error = fold::Error::of_lift(stream, error);
                return self.unreadable(stream, &error);
            }
        };
        let events: Vec<FoldEvent<'_>> = lifted.iter().map(Liftable::fold).collect();
        let begun = Instant::now();
        // A stream that failed so far is tried with all that its events may take.
        match warm.homes.fold(&mut self.pool, &events, slot.is_apart) {
            Some(Ok(())) => {}
            Some(Err(failure)) => {
                self.brakes.failed(&failure, stream, begun);
                let error = fold::Error::of_guest(stream, &failure);
                return self.unreadable(stream, &error);
            }
            // The instance fell with another stream meanwhile: begin again.
            None => {
                self.retire(stream);
                return self.advance(stream);
            }
        }
        if let Some(head) = page.head {
            warm.is_archived = head.archived;
            warm.is_unread = is_too_long;
            // What was not read because it is too long stands where its head is.
            // Else the head may have moved since the events were read, and says nothing of
            // the state.
            if is_too_long {
                warm.version = head.version;
            }
            warm.recorded_at = warm.recorded_at.max(head.recorded_at);
        }
        if let Some((version, recorded_at)) = last {
            warm.version = version;
            warm.recorded_at = warm.recorded_at.max(recorded_at);
        }
        let version = warm.version;
        if !page.is_last {
            let run = warm.run.id();
            return self.read(stream, run, version);
        }
        slot.refused_snapshots = 0;
        if let State::Loading(warm) = std::mem::replace(&mut slot.state, State::Cold) {
            slot.state = State::Warm(warm);
        }
        self.consider_snapshot(stream, true);
        self.advance(stream);
    }

    /// A stream can't be folded: one more try in an instance of its own, if that
    /// may help; else every command that waits for it is told.
    fn unreadable(&mut self, stream: &StreamId, error: &fold::Error) {
        let plan = match self.slots.get(stream).map(|slot| &slot.state) {
            Some(State::Loading(warm) | State::Warm(warm)) => {
                Some(self.plan_of(stream, &warm.deployed))
            }
            _ => None,
        };
        self.retire(stream);
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let may_pass = matches!(error, fold::Error::Fault(fault) if fault.kind.may_pass());
        if may_pass && !slot.is_apart {
            self.keep_apart(stream);
            return self.advance(stream);
        }
        self.refuse_all(stream, plan, |_| error.clone().into());
        self.advance(stream);
    }

    /// A plan under which a decider serves the category of a stream: the current one while it
    /// does. Others may have changed since it became what it is, as inline projections of the
    /// category: an answer that names the older plan would be refused for ever.
    fn plan_of(&self, stream: &StreamId, deployed: &Deployed) -> u64 {
        let plan = self.shared.registry.plan();
        let current = plan.decider(stream.category());
        match current.is_some_and(|current| current.plan == deployed.plan) {
            true => plan.number,
            false => deployed.plan,
        }
    }
}
