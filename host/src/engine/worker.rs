//! A worker: a thread that owns its instances and the warm state of its streams.

use std::sync::Arc;
use std::time::Instant;

use hashlink::LinkedHashMap;
use tokio::sync::mpsc;

use super::ids::Knowledge;
use super::pool::Pool;
use super::request::{Request, executed};
use super::slot::{Slot, State, Warm};
use super::state::fold_event;
use super::{Error, Executed, Shared};
use crate::commit::{Run, Staged, Verdict};
use crate::deploy::Deployed;
use crate::model::{StreamId, Timestamp, Version};
use crate::runtime::{Decision, Failure, FoldEvent, Outcome as Decided};
use crate::store::{self, Check, Commit, Item, LoadPage, Outcome, RunId, Write};

/// Slots that are looked at for one that can be evicted.
const EVICTION_LOOKS: usize = 32;
/// Commands after which the guests' memory is looked at.
const MEMORY_LOOK: u64 = 1_024;

/// A running worker. It ends when this handle is dropped.
pub struct Worker {
    messages: mpsc::UnboundedSender<Message>,
}

/// What a worker is told. The queue has no bound of its own: each message belongs
/// to a command in flight, and those are bounded.
enum Message {
    /// A new command.
    Execute(Request),
    /// A command whose append or answer was refused: it is to be decided again.
    Again(Request),
    /// The id of a command was looked up and not found.
    Unknown(Request),
    /// A page of a stream that is being loaded.
    Page(StreamId, RunId, Box<store::Result<LoadPage>>),
    /// Everything that was staged on a run has been answered.
    Drained(StreamId),
    /// The handle was dropped.
    Stop,
}

impl Worker {
    /// Starts a worker.
    pub fn start(number: usize, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (messages, inbox) = mpsc::unbounded_channel();
        let core = Core {
            shared: Arc::clone(shared),
            myself: messages.clone(),
            slots: LinkedHashMap::new(),
            pool: Pool::default(),
            number: 0,
            looks: 0,
        };
        std::thread::Builder::new()
            .name(format!("quipu-worker-{number}"))
            .spawn(move || core.run(inbox))?;
        Ok(Self { messages })
    }

    /// Hands a command over.
    pub fn execute(&self, request: Request) {
        // A worker ends only after its handle is gone.
        _ = self.messages.send(Message::Execute(request));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        _ = self.messages.send(Message::Stop);
    }
}

struct Core {
    shared: Arc<Shared>,
    myself: mpsc::UnboundedSender<Message>,
    /// Least recently used first.
    slots: LinkedHashMap<StreamId, Slot>,
    pool: Pool,
    /// Counts commands and look-ups in the order in which they came.
    number: u64,
    /// Counts looks at what could be evicted.
    looks: u64,
}

impl Core {
    fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = inbox.blocking_recv() {
            match message {
                Message::Execute(mut request) => {
                    self.number += 1;
                    request.arrival = self.number;
                    self.take(request);
                }
                Message::Again(request) => self.take(request),
                Message::Unknown(mut request) => {
                    // Numbered when it was staged; see `decide`.
                    request.deciding = None;
                    self.take(request);
                }
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
                Message::Stop => return,
            }
        }
    }

    /// Queues a command at its stream and goes on there.
    fn take(&mut self, request: Request) {
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
    fn advance(&mut self, stream: &StreamId) {
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
                        self.refuse_all(stream, |request| {
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
                        && self.pool.holds(&warm.home);
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
    fn retire(&mut self, stream: &StreamId) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        let (State::Warm(warm) | State::Loading(warm)) =
            std::mem::replace(&mut slot.state, State::Cold)
        else {
            return;
        };
        self.pool.close(warm.home);
        if warm.run.watch() {
            slot.state = State::Draining(warm.run);
            for request in &mut slot.waiting {
                request.deciding = None;
            }
        }
    }

    /// Opens an aggregate and begins to read its stream.
    fn load(&mut self, stream: &StreamId, deployed: Arc<Deployed>) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        match self
            .pool
            .open(&deployed.module, stream.key(), slot.is_apart)
        {
            Ok(home) => {
                let warm = Warm {
                    run: Arc::new(Run::begin()),
                    deployed,
                    home,
                    version: Version::NONE,
                    recorded_at: Timestamp(0),
                    is_archived: false,
                    ids: super::ids::Ids::default(),
                };
                let run = warm.run.id();
                slot.state = State::Loading(warm);
                self.read(stream, run, Version::NONE);
            }
            Err(failure) => {
                self.refuse_all(stream, |request| fold_error(&request.stream, &failure))
            }
        }
    }

    /// Reads the next page off this thread.
    fn read(&self, stream: &StreamId, run: RunId, after: Version) {
        let (shared, myself) = (Arc::clone(&self.shared), self.myself.clone());
        let stream = stream.clone();
        let guard = self
            .shared
            .options
            .stream_events_max
            .get(stream.category())
            .copied();
        self.shared.runtime.spawn(async move {
            let page = match guard {
                // A stream that is too long isn't read at all.
                Some(max) if after == Version::NONE => match shared.reader.head(&stream).await {
                    Ok(Some(head)) if head.version.0 > max => Ok(LoadPage {
                        head: Some(head),
                        events: Vec::new(),
                    }),
                    Ok(_) => {
                        shared
                            .reader
                            .load(&stream, after, shared.options.load_page)
                            .await
                    }
                    Err(error) => Err(error),
                },
                _ => {
                    shared
                        .reader
                        .load(&stream, after, shared.options.load_page)
                        .await
                }
            };
            _ = myself.send(Message::Page(stream, run, Box::new(page)));
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
        let folded = self.pool.call(&warm.home, |instance, aggregate| {
            if events.is_empty() {
                Ok(0)
            } else {
                instance.apply(aggregate, &events)
            }
        });
        match folded {
            Some(Ok(_)) => {}
            Some(Err(failure)) => return self.unreadable(stream, &failure),
            // The instance fell with another stream meanwhile: begin again.
            None => {
                self.retire(stream);
                return self.advance(stream);
            }
        }
        // Later than every look-up until now, which may have missed them.
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
        let is_whole = page.events.len() < self.shared.options.load_page;
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
        self.retire(stream);
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        if may_pass(failure) && !slot.is_apart {
            slot.is_apart = true;
            return self.advance(stream);
        }
        self.refuse_all(stream, |request| fold_error(&request.stream, failure));
    }

    /// Decides one command on warm state and stages what comes of it.
    fn decide(&mut self, mut request: Request, plan: u64) {
        let Some(slot) = self.slots.get_mut(&request.stream) else {
            return;
        };
        let State::Warm(warm) = &mut slot.state else {
            return slot.wait(request);
        };
        let knowledge = request
            .callers_id()
            .map_or(Knowledge::New, |id| warm.ids.knowledge(id));
        if let Knowledge::Seen(number) = knowledge
            && request
                .looked_up_at
                .is_none_or(|looked_up_at| looked_up_at < number)
        {
            self.number += 1;
            request.looked_up_at = Some(self.number);
            let run = Arc::clone(&warm.run);
            return self.look_up(request, run);
        }
        // Never seen, or not found by a look-up since. A look-up says nothing of an
        // id that may have been staged and forgotten behind it: the append looks again.
        let id_is_new = knowledge != Knowledge::Unsure;
        if let Some(error) = refusal(&self.shared, warm, &request) {
            let (run, version) = (Arc::clone(&warm.run), warm.version);
            return self.answer_negatively(request, run, version, plan, Err(error));
        }
        let annotations =
            crate::model::annotations(request.command.metadata.as_ref(), &request.command.context);
        let called = self.pool.call(&warm.home, |instance, aggregate| {
            instance.decide(aggregate, &request.command, &annotations)
        });
        let Some(decided) = called else {
            slot.waiting.push_front(request);
            return;
        };
        let (run, version) = (Arc::clone(&warm.run), warm.version);
        let module = warm.deployed.module.digest();
        match decided {
            Ok(Decision {
                outcome: Decided::Events(events),
                fuel,
            }) if !events.is_empty() => {
                let recorded_at = self.shared.clock.now().max(warm.recorded_at);
                let folds: Vec<FoldEvent<'_>> = events
                    .iter()
                    .enumerate()
                    .map(|(n, event)| FoldEvent::decided(event, version.plus(n + 1), recorded_at))
                    .collect();
                let folded = self.pool.call(&warm.home, |instance, aggregate| {
                    instance.apply(aggregate, &folds)
                });
                match folded {
                    Some(Ok(_)) => {}
                    Some(Err(failure)) => {
                        return self.faulted(request, run, version, plan, &failure, true);
                    }
                    None => {
                        slot.waiting.push_front(request);
                        return;
                    }
                }
                warm.version = version.plus(events.len());
                warm.recorded_at = recorded_at;
                if let Some(id) = request.callers_id() {
                    self.number += 1;
                    warm.ids.insert(id, self.number);
                }
                let commit = Commit {
                    command: Some(Arc::clone(&request.command)),
                    decided: Some(store::Decided { module, fuel }),
                    plan,
                    recorded_at,
                    events,
                    id_is_new,
                };
                self.append(request, run, version, commit);
            }
            Ok(Decision { outcome, fuel }) => {
                let answer = match outcome {
                    Decided::Rejected(rejection) => Err(Error::Rejected { rejection, module }),
                    Decided::BadCommand(text) => Err(Error::InvalidCommand(text)),
                    Decided::Events(_) => Ok(Executed {
                        stream: request.stream.clone(),
                        version,
                        position: None,
                        events: Vec::new(),
                        replayed: false,
                        module: Some(module),
                        fuel: Some(fuel),
                    }),
                };
                self.answer_negatively(request, run, version, plan, answer);
            }
            Err(failure) => self.faulted(request, run, version, plan, &failure, false),
        }
    }

    /// A guest faulted at a command: one more try in an instance of its own, if
    /// that may help; else the caller is told.
    fn faulted(
        &mut self,
        mut request: Request,
        run: Arc<Run>,
        version: Version,
        plan: u64,
        failure: &Failure,
        state_is_spoilt: bool,
    ) {
        let stream = request.stream.clone();
        let Some(slot) = self.slots.get_mut(&stream) else {
            return;
        };
        slot.is_apart = true;
        if may_pass(failure) && !request.was_tried_again {
            request.was_tried_again = true;
            slot.wait(request);
            return self.retire(&stream);
        }
        let error = fold_error(&stream, failure);
        self.answer_negatively(request, run, version, plan, Err(error));
        if state_is_spoilt {
            self.retire(&stream);
        }
    }

    fn append(&self, request: Request, run: Arc<Run>, version: Version, commit: Commit) {
        run.stage();
        let write = Write {
            stream: request.stream.clone(),
            expected: crate::model::ExpectedVersion::Exact(version),
            commit,
        };
        let item = Item::Append {
            run: Some(run.id()),
            writes: vec![write],
        };
        self.stage(item, run, request, |request, item, appended| {
            let Item::Append { writes, .. } = item else {
                return;
            };
            let written = writes.into_iter().next().zip(appended.into_iter().next());
            let Some((write, appended)) = written else {
                return;
            };
            let Some(decided) = write.commit.decided else {
                return;
            };
            let stream = request.stream.clone();
            let events = write.commit.events;
            request.answer(Ok(executed(
                stream,
                events,
                &appended,
                decided.module,
                decided.fuel,
            )));
        });
    }

    /// Holds an answer that stores nothing until all that it rests on is durable and
    /// known to be current, and the id is known to be new.
    fn answer_negatively(
        &self,
        request: Request,
        run: Arc<Run>,
        version: Version,
        plan: u64,
        answer: Result<Executed, Error>,
    ) {
        run.stage();
        let item = Item::Check(Check {
            run: Some(run.id()),
            stream: request.stream.clone(),
            version: Some(version),
            command_id: request.callers_id().cloned(),
            plan,
        });
        self.stage(item, run, request, move |request, _, _| {
            request.answer(answer)
        });
    }

    /// Looks up the record of an id, behind everything that has been staged.
    fn look_up(&self, request: Request, run: Arc<Run>) {
        run.stage();
        let item = Item::Check(Check {
            run: None,
            stream: request.stream.clone(),
            version: None,
            command_id: request.callers_id().cloned(),
            plan: 0,
        });
        let myself = self.myself.clone();
        self.stage(item, run, request, move |request, _, _| {
            _ = myself.send(Message::Unknown(request));
        });
    }

    /// Stages an item. `passed` is called when it was appended or holds; what was
    /// refused comes back to be decided again, until the command's deadline.
    fn stage(
        &self,
        item: Item,
        run: Arc<Run>,
        mut request: Request,
        passed: impl FnOnce(Request, Item, Vec<store::Appended>) + Send + 'static,
    ) {
        let myself = self.myself.clone();
        let answering = Arc::clone(&run);
        // A look-up outlives its run: it asks for no version.
        let run_of_item = match &item {
            Item::Check(Check { run: None, .. }) => None,
            _ => Some(run),
        };
        let deciding = request.deciding.take();
        let done = Box::new(move |item: Item, verdict: Verdict| {
            let stream = request.stream.clone();
            match verdict {
                Verdict::Outcome(Outcome::Appended(appended)) => passed(request, item, appended),
                Verdict::Outcome(Outcome::Holds(_)) => passed(request, item, Vec::new()),
                Verdict::Outcome(Outcome::Known(known)) => request.replay(&known),
                Verdict::Outcome(Outcome::WrongVersion { .. })
                    if Instant::now() >= request.deadline =>
                {
                    request.answer(Err(Error::Conflict(stream.clone())));
                }
                Verdict::Outcome(_) => _ = myself.send(Message::Again(request)),
                Verdict::Failed(error) => request.answer(Err(Error::Store(error))),
            }
            if answering.answered() {
                _ = myself.send(Message::Drained(stream));
            }
        });
        self.shared.committer.stage(Staged {
            item,
            run: run_of_item,
            done,
        });
        drop(deciding);
    }

    /// Tells everyone who waits at a stream the same, once their ids are looked up.
    fn refuse_all(&mut self, stream: &StreamId, error: impl Fn(&Request) -> Error) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        for mut request in std::mem::take(&mut slot.waiting) {
            let error = error(&request);
            request.looked_up_at = None;
            let item = Item::Check(Check {
                run: None,
                stream: stream.clone(),
                version: None,
                command_id: request.callers_id().cloned(),
                plan: 0,
            });
            let run = Arc::new(Run::begin());
            run.stage();
            self.stage(item, run, request, move |request, _, _| {
                request.answer(Err(error))
            });
        }
    }

    /// Tells everyone who waits at a stream that the store failed.
    fn fail_all(&mut self, stream: &StreamId, error: &store::Error) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        for request in std::mem::take(&mut slot.waiting) {
            request.answer(Err(Error::Store(error.clone())));
        }
        self.advance(stream);
    }

    /// Keeps the number of warm aggregates, and their memory, within bounds.
    fn evict(&mut self) {
        let options = &self.shared.options;
        let mut is_over = self.slots.len() > options.warm_aggregates_max;
        self.looks += 1;
        if self.looks.is_multiple_of(MEMORY_LOOK) {
            let plan = self.shared.registry.plan();
            self.pool.retain_modules(|digest| plan.serves(digest));
            is_over |= self.pool.memory_bytes() > options.warm_bytes_max;
        }
        if !is_over {
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

/// Why a command is refused before it is decided, if it is.
fn refusal(shared: &Shared, warm: &Warm, request: &Request) -> Option<Error> {
    let (stream, found) = (&request.stream, warm.version);
    if warm.is_archived {
        return Some(Error::Archived(stream.clone()));
    }
    if !request.expected.admits(found) {
        let (stream, expected) = (stream.clone(), request.expected);
        return Some(Error::WrongExpectedVersion {
            stream,
            expected,
            found,
        });
    }
    let max = *shared.options.stream_events_max.get(stream.category())?;
    (found.0 > max).then(|| Error::TooLong {
        stream: stream.clone(),
        events: found.0,
        max,
    })
}

fn may_pass(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.kind.may_pass())
}

fn fold_error(stream: &StreamId, failure: &Failure) -> Error {
    match failure {
        Failure::Fault(fault) => Error::Fault(Box::new(fault.clone())),
        Failure::UnknownEvent(text) | Failure::BadEvent(text) => Error::UnreadableEvent {
            stream: stream.clone(),
            text: text.clone(),
        },
    }
}
