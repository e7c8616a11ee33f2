//! A worker: a thread that owns its instances and the warm state of its streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LinkedHashMap;
use tokio::sync::mpsc;

use super::decide::may_pass;
use super::homes::Homes;
use super::pool::Pool;
use super::request::Request;
use super::slot::{Slot, State, Warm};
use super::state::fold_event;
use super::{Error, Shared};
use crate::commit::Run;
use crate::deploy::Deployed;
use crate::model::{StreamId, Timestamp, Version};
use crate::runtime::{Failure, FoldEvent};
use crate::store::{self, LoadPage, RunId};

/// Slots that are looked at for one that can be evicted.
const EVICTION_LOOKS: usize = 32;
/// Commands after which the guests' memory is looked at.
const MEMORY_LOOK: u64 = 1_024;

/// Fuel of recent decisions up to which a caller's own thread may decide: about
/// 100 µs, during which a thread of the reactor does nothing else.
const DIRECT_FUEL_MAX: u64 = 100_000;

/// A running worker. It ends when this handle is dropped.
pub struct Worker {
    core: Arc<Mutex<Core>>,
    inbox: Inbox,
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
    Page(StreamId, RunId, Box<store::Result<LoadPage>>),
    /// Everything that was staged on a run has been answered.
    Drained(StreamId),
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
    pub fn start(number: usize, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (messages, queue) = mpsc::unbounded_channel();
        let inbox = Inbox {
            messages,
            pending: Arc::default(),
        };
        let core = Arc::new(Mutex::new(Core {
            shared: Arc::clone(shared),
            myself: inbox.clone(),
            slots: LinkedHashMap::new(),
            pool: Pool::default(),
            number: 0,
            recent_fuel: 0,
            looks: 0,
            is_over_memory: false,
        }));
        let (working, pending) = (Arc::clone(&core), Arc::clone(&inbox.pending));
        std::thread::Builder::new()
            .name(format!("quipu-worker-{number}"))
            .spawn(move || run(&working, queue, &pending))?;
        Ok(Self { core, inbox })
    }

    /// Hands a command over. When the worker has nothing to do and decisions are
    /// short, it is decided here and now: a hop to another thread and back would
    /// cost more.
    pub fn execute(&self, request: Request) {
        if self.inbox.pending.load(Ordering::SeqCst) == 0
            && let Ok(mut core) = self.core.try_lock()
            && core.recent_fuel <= DIRECT_FUEL_MAX
        {
            return core.execute(request);
        }
        self.inbox.send(Message::Execute(request));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inbox.send(Message::Stop);
    }
}

fn run(core: &Mutex<Core>, mut queue: mpsc::UnboundedReceiver<Message>, pending: &AtomicUsize) {
    while let Some(message) = queue.blocking_recv() {
        let is_over = matches!(message, Message::Stop);
        core.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .deal_with(message);
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
    /// Counts looks at what could be evicted.
    looks: u64,
    /// The guests used more memory than they may when it was last looked at.
    is_over_memory: bool,
}

impl Core {
    fn deal_with(&mut self, message: Message) {
        match message {
            Message::Execute(request) => self.execute(request),
            Message::Again(request) => self.take(request),
            Message::Page(stream, run, page) => self.page(&stream, run, *page),
            Message::Drained(stream) => {
                if let Some(slot) = self.slots.get_mut(&stream)
                    && let State::Draining(run) = &slot.state
                    && run.is_idle()
                {
                    slot.state = State::Cold;
                }
                self.advance(&stream);
            }
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
        let slot = self.slots.entry(stream.clone()).or_insert_with(Slot::new);
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

    /// Opens an aggregate and begins to read its stream.
    fn load(&mut self, stream: &StreamId, deployed: Arc<Deployed>) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let (check, plan) = (self.shared.options.check_purity, deployed.plan);
        match Homes::open(&mut self.pool, &deployed, stream, slot.is_apart, check) {
            Ok(homes) => {
                let warm = Warm {
                    run: Arc::new(Run::begin()),
                    deployed,
                    homes,
                    version: Version::NONE,
                    recorded_at: Timestamp(0),
                    is_archived: false,
                    ids: super::ids::Ids::default(),
                };
                let run = warm.run.id();
                slot.state = State::Loading(warm);
                self.read(stream, run, Version::NONE);
            }
            Err(failure) => self.refuse_all(stream, Some(plan), |request| {
                Error::of_fold(&request.stream, &failure)
            }),
        }
    }

    /// Reads the next page off this thread.
    fn read(&self, stream: &StreamId, run: RunId, after: Version) {
        let (shared, myself) = (Arc::clone(&self.shared), self.myself.clone());
        let stream = stream.clone();
        let options = &self.shared.options;
        let max = options.stream_events_max.get(stream.category()).copied();
        self.shared.runtime.spawn(async move {
            let too_long = match max {
                Some(max) if after == Version::NONE => {
                    let head = shared.reader.head(&stream).await;
                    head.map(|head| head.filter(|head| head.version.0 > max))
                }
                _ => Ok(None),
            };
            let page = match too_long {
                Ok(None) => {
                    let limit = shared.options.load_page;
                    shared.reader.load(&stream, after, limit).await
                }
                // What is too long isn't read at all.
                Ok(head) => Ok(LoadPage {
                    head,
                    events: Vec::new(),
                    is_last: true,
                }),
                Err(error) => Err(error),
            };
            myself.send(Message::Page(stream, run, Box::new(page)));
        });
    }

    /// Folds a page, and asks for the next or begins to decide.
    fn page(&mut self, stream: &StreamId, run: RunId, page: store::Result<LoadPage>) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let State::Loading(warm) = &mut slot.state else {
            return;
        };
        if warm.run.id() != run {
            return;
        }
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.retire(stream);
                return self.fail_all(stream, &error);
            }
        };
        let events: Vec<FoldEvent<'_>> = page.events.iter().map(fold_event).collect();
        match warm.homes.fold(&mut self.pool, &events) {
            Some(Ok(())) => {}
            Some(Err(failure)) => return self.unreadable(stream, &failure),
            // The instance fell with another stream meanwhile: begin again.
            None => {
                self.retire(stream);
                return self.advance(stream);
            }
        }
        // Numbered now: a look-up that was made before does not count against them.
        self.number += 1;
        for id in page
            .events
            .iter()
            .filter_map(|event| event.command_id.as_ref())
        {
            warm.ids.insert(id, self.number);
        }
        if let Some(head) = page.head {
            warm.is_archived = head.archived;
            // What was not read because it is too long stands where its head is.
            let last = page.events.last();
            if last.is_some() || warm.version == Version::NONE {
                warm.version = last.map_or(head.version, |event| event.version);
                warm.recorded_at = last.map_or(head.recorded_at, |event| event.recorded_at);
            }
        }
        let is_whole = page.is_last;
        let version = warm.version;
        if !is_whole {
            return self.read(stream, run, version);
        }
        if let State::Loading(warm) = std::mem::replace(&mut slot.state, State::Cold) {
            slot.state = State::Warm(warm);
        }
        self.advance(stream);
    }

    /// A stream can't be folded: one more try in an instance of its own, if that
    /// may help; else every command that waits for it is told.
    fn unreadable(&mut self, stream: &StreamId, failure: &Failure) {
        let plan = match self.slots.get(stream).map(|slot| &slot.state) {
            Some(State::Loading(warm) | State::Warm(warm)) => Some(warm.deployed.plan),
            _ => None,
        };
        self.retire(stream);
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        if may_pass(failure) && !slot.is_apart {
            slot.is_apart = true;
            return self.advance(stream);
        }
        self.refuse_all(stream, plan, |request| {
            Error::of_fold(&request.stream, failure)
        });
        self.advance(stream);
    }

    /// Keeps the number of warm aggregates, and their memory, within bounds.
    fn evict(&mut self) {
        let options = &self.shared.options;
        self.looks += 1;
        if self.looks.is_multiple_of(MEMORY_LOOK) {
            let plan = self.shared.registry.plan();
            self.pool.retain_modules(|digest| plan.serves(digest));
            self.is_over_memory = self.pool.memory_bytes() > options.warm_bytes_max;
        }
        if self.slots.len() <= options.warm_aggregates_max && !self.is_over_memory {
            return;
        }
        let idle = self
            .slots
            .iter()
            .take(EVICTION_LOOKS)
            .find(|(_, slot)| slot.is_idle());
        let Some(stream) = idle.map(|(stream, _)| stream.clone()) else {
            return;
        };
        self.retire(&stream);
        self.slots.remove(&stream);
    }
}
