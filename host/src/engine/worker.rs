//! A worker: a thread that owns its instances and the warm state of its streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry;
use tokio::sync::mpsc;

use super::Shared;
use super::executor::Executor;
use super::request::Request;
use super::slot::{Slot, State};
use super::stream_data::Loaded;
use crate::fold;
use crate::model::{StreamId, Version};
use crate::store::RunId;
use crate::supervise::{Seat, Supervisor};

/// Highest fuel of recent decisions at which a caller's own thread may decide: about 100 µs, during
/// which a thread of the async runtime does nothing else.
const DIRECT_FUEL_MAX: u64 = 100_000;

/// A running worker. It ends when this handle is dropped.
pub struct Worker {
    streams: Arc<Mutex<Streams>>,
    inbox: Inbox,
    seat: Arc<Seat>,
}

/// A message to a worker. The queue is not limited, because each message belongs to a command in
/// flight, and those are limited.
pub(super) enum Message {
    /// A new command.
    Execute(Request),
    /// A command to be decided a second time, because its append or answer was refused, or its id
    /// was looked up and not found.
    Again(Request),
    /// A page of a stream that is being loaded.
    Page(StreamId, RunId, Box<Result<Loaded, fold::Error>>),
    /// The state of a stream no longer matches the store.
    Forget(StreamId),
    /// A snapshot of a stream may be due.
    ConsiderSnapshot(StreamId),
    /// A stream has a snapshot of this version. `None`: it could not be taken.
    Snapshotted(StreamId, Option<Version>),
    /// Everything that was staged on a run has been answered.
    Drained(StreamId),
    /// Another plan is the current one, so modules may no longer be in use.
    PlanRaised,
    /// The handle was dropped.
    Stop,
}

/// Sends messages to a worker.
#[derive(Clone)]
pub(super) struct Inbox {
    messages: mpsc::UnboundedSender<Message>,
    /// Messages that have not been processed.
    pending: Arc<AtomicUsize>,
    warmth: Arc<Warmth>,
}

/// What a worker has in memory.
#[derive(Default)]
struct Warmth {
    aggregates: AtomicUsize,
    bytes: AtomicUsize,
}

impl Inbox {
    /// Queues a message. A worker ends only after its handle was dropped, when nobody waits any
    /// more.
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
            warmth: Arc::default(),
        };
        let streams = Arc::new(Mutex::new(Streams::new(shared, &inbox, 0)));
        let seat = Arc::new(supervisor.seat(format!("worker {number}")));
        let (working, pending) = (Arc::clone(&streams), Arc::clone(&inbox.pending));
        let steps = Arc::clone(&seat);
        std::thread::Builder::new()
            .name(format!("quipu-worker-{number}"))
            .spawn(move || run(&working, queue, &pending, &steps))?;
        Ok(Self {
            streams,
            inbox,
            seat,
        })
    }

    /// Reports that a stream has a snapshot of a version.
    pub fn snapshotted(&self, stream: &StreamId, version: Version) {
        let message = Message::Snapshotted(stream.clone(), Some(version));
        self.inbox.send(message);
    }

    /// The aggregates that the worker has in memory, and the guest memory of their instances.
    pub fn warm(&self) -> (usize, usize) {
        let warmth = &self.inbox.warmth;
        let aggregates = warmth.aggregates.load(Ordering::Relaxed);
        (aggregates, warmth.bytes.load(Ordering::Relaxed))
    }

    /// The sender of messages to this worker.
    pub(super) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Lets the next command of a stream load it from scratch.
    pub fn forget(&self, stream: &StreamId) {
        self.inbox.send(Message::Forget(stream.clone()));
    }

    /// Passes a command to the worker. When the worker has nothing to do and decisions are
    /// short, the command is decided on the caller's thread: a hop to another thread and back
    /// would cost more.
    pub fn execute(&self, request: Request) {
        if self.inbox.pending.load(Ordering::SeqCst) == 0
            && let Ok(mut streams) = self.streams.try_lock()
            && streams.executor.recent_fuel() <= DIRECT_FUEL_MAX
        {
            return streams.step(&self.seat, |streams| streams.execute(request));
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
    streams: &Mutex<Streams>,
    mut queue: mpsc::UnboundedReceiver<Message>,
    pending: &AtomicUsize,
    seat: &Seat,
) {
    while let Some(message) = queue.blocking_recv() {
        let is_over = matches!(message, Message::Stop);
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.step(seat, |streams| streams.process(message));
        drop(streams);
        pending.fetch_sub(1, Ordering::SeqCst);
        if is_over {
            return;
        }
    }
}

/// The streams of a worker, with the executor that processes them.
pub(super) struct Streams {
    /// Least recently used first.
    pub(super) slots: LinkedHashMap<StreamId, Slot>,
    pub(super) executor: Executor,
}

impl Streams {
    fn new(shared: &Arc<Shared>, inbox: &Inbox, number: u64) -> Self {
        Self {
            slots: LinkedHashMap::new(),
            executor: Executor::new(shared, inbox, number),
        }
    }

    /// Processes one step. After a panic, the worker's data is not trusted: streams are loaded from
    /// scratch, and callers that waited for them receive an error.
    fn step(&mut self, seat: &Seat, step: impl FnOnce(&mut Self)) {
        if seat.step(|| step(self)).is_some() {
            return self.show_warmth();
        }
        // A look-up from before the panic must not be taken for a later one.
        let (executor, number) = (&self.executor, self.executor.number());
        *self = Self::new(&executor.shared, &executor.inbox, number);
        self.show_warmth();
    }

    fn show_warmth(&self) {
        let (warmth, bytes) = (
            &self.executor.inbox.warmth,
            self.executor.pool.memory_bytes(),
        );
        warmth.aggregates.store(self.slots.len(), Ordering::Relaxed);
        warmth.bytes.store(bytes, Ordering::Relaxed);
    }

    fn process(&mut self, message: Message) {
        match message {
            Message::Execute(request) => self.execute(request),
            Message::Again(request) => self.queue(request),
            Message::Page(stream, run, loaded) => self.at(&stream, |executor, slot| {
                executor.take_page(&stream, slot, run, *loaded);
            }),
            Message::Forget(stream) => {
                self.executor.resumes.forget(&stream);
                self.at(&stream, |executor, slot| executor.retire(slot));
            }
            Message::ConsiderSnapshot(stream) => self.at(&stream, |executor, slot| {
                if let State::Warm(warm) = &mut slot.state {
                    executor.consider_snapshot(&stream, warm, false);
                }
            }),
            Message::Snapshotted(stream, version) => self.at(&stream, |executor, slot| {
                executor.snapshotted(slot, version);
            }),
            Message::Drained(stream) => self.at(&stream, |_, slot| slot.end_draining()),
            Message::PlanRaised => self.give_up_replaced(),
            Message::Stop => {}
        }
    }

    /// Takes a new command.
    fn execute(&mut self, mut request: Request) {
        request.arrival = self.executor.next_number();
        self.queue(request);
    }

    /// Queues a command at its stream and continues there.
    fn queue(&mut self, request: Request) {
        let stream = request.stream.clone();
        let slot = match self.slots.entry(stream.clone()) {
            Entry::Occupied(mut known) => {
                known.to_back();
                known.into_mut()
            }
            Entry::Vacant(unknown) => unknown.insert(self.executor.slot(&stream)),
        };
        // The slot that lost the race may have been dropped before its command came back.
        slot.is_contested |= request.conflicts > 0;
        if slot.waiting.is_empty() && matches!(slot.state, State::Warm(_)) {
            // The command keeps its place in the next batch.
            slot.waiting.push_back(request);
        } else {
            slot.wait(request);
        }
        if !self.executor.advance(&stream, slot) {
            self.slots.remove(&stream);
        }
        self.evict();
    }

    /// Changes the slot of a stream and continues there. Does nothing if nothing is known of the
    /// stream any more.
    fn at(&mut self, stream: &StreamId, change: impl FnOnce(&mut Executor, &mut Slot)) {
        if let Some(slot) = self.slots.get_mut(stream) {
            change(&mut self.executor, slot);
            if !self.executor.advance(stream, slot) {
                self.slots.remove(stream);
            }
        }
    }
}
