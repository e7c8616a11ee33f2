//! The life of a command, in the order in which it happens.
//!
//! 1. [`Engine::execute`] checks the request, takes a permit, and records everything that the
//!    decision may depend on in addition to the state.
//! 2. The stream's worker queues the request at its stream; a cold stream is loaded first
//!    (see `executor` and `load`).
//! 3. An id that the stream may have seen is looked up in the store.
//! 4. Commands that need no decision are refused: the stream is archived, at another version
//!    than expected, or too long; the command does not match its schema, where that is enforced;
//!    or the module is not called for a while.
//! 5. The guest decides.
//! 6. The guest folds the events that it decided into the warm state.
//! 7. The outcome is staged: an append, or a check of what a negative answer rests on.
//! 8. When the committer has committed it, the caller is answered; an outcome that no longer
//!    holds is re-decided from step 2.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::executor::Executor;
use super::recent_ids::IdStatus;
use super::request::{Request, executed, outcome};
use super::retry::{decide_again, learn_plan};
use super::slot::Warm;
use super::worker::{Inbox, Message};
use super::{Engine, Error, Executed, Permit, Shared, check};
use crate::commit::{Run, Staged, Verdict};
use crate::meters::Phase;
use crate::model::{
    self, Command, CommandId, CommandRecord, Digest, ExpectedVersion, NewEvent, StreamId,
    Timestamp, Version,
};
use crate::runtime::{Decision, Failure, FaultKind, FoldEvent, Outcome as Decided};
use crate::store::{self, Check, Commit, Item, Outcome, Rejected, Write};

impl Engine {
    /// Executes a command on a stream: it is decided on the current state, committed, and only
    /// then answered.
    ///
    /// Dropping the future does not cancel the command. There is one exception: while the
    /// stream's worker has paused a module because its calls took too long, a command whose
    /// caller has gone is not decided.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was stored, unless the store failed while it committed: then
    /// repeating the command with the same id shows whether it was stored.
    pub async fn execute(
        &self,
        stream: &StreamId,
        mut command: Command,
    ) -> Result<Executed, Error> {
        let begun = Instant::now();
        let meters = self.shared.committer.meters();
        // 1. The request is checked and recorded.
        self.enrichers.command(stream, &mut command);
        let permit = self.admit(stream, &mut command).inspect_err(|error| {
            let refused = outcome(&Err(error.clone()));
            meters.command(stream.category(), refused, begun.elapsed());
        })?;
        let spans = meters.spans.begin(command.context.traceparent.as_deref());
        let deciding = self.shared.committer.deciding();
        let (reply, answer) = oneshot::channel();
        let request = Request {
            expected: command.expected_version,
            given_name: command.name.clone(),
            given_version: command.schema_version,
            command: Arc::new(self.record(stream, command)),
            stream: stream.clone(),
            deadline: begun + self.shared.options.deadline,
            reply,
            permit,
            deciding: Some(deciding),
            arrival: 0,
            looked_up_at: None,
            conflicts: 0,
            was_tried_again: false,
            snapshot_was_sought: false,
            was_reported: false,
            meters: Arc::clone(meters),
            begun,
            phase: (Phase::Queue, begun),
            spans,
        };
        // 2. The worker takes it.
        self.worker(stream).execute(request);
        answer.await.unwrap_or_else(|_| Err(Error::unanswered()))
    }

    /// Checks a command, and takes a permit for it.
    fn admit(&self, stream: &StreamId, command: &mut Command) -> Result<Permit, Error> {
        command.context = std::mem::take(&mut command.context).checked()?;
        check(stream, command.metadata.as_deref())?;
        self.shared.options.limits.check_command(command)?;
        self.permit()
    }

    /// Records everything that the decision will depend on in addition to the state. The worker
    /// adapts the type and the schema version to the manifest of the module that decides.
    pub(super) fn record(&self, stream: &StreamId, command: Command) -> CommandRecord {
        let id = command.id.unwrap_or_else(CommandId::made_by_host);
        CommandRecord {
            seed: self.seed(stream, &id),
            context: command.context.correlated(&id),
            id,
            name: command.name,
            schema_version: command.schema_version.unwrap_or(1),
            body: command.body,
            metadata: command.metadata,
            accepted_at: self.shared.clock.now(),
        }
    }
}

/// How a stream continues after one of its commands was processed.
pub(super) enum Next {
    /// With the next command.
    Command,
    /// With the same command, after the state was reloaded, because another stream's fault has
    /// ended the instance.
    Reload(Request),
    /// Without its state: the guest failed to fold the events that it decided.
    Retire,
    /// In a separate instance, because its guest ended the shared one or may succeed in a new
    /// one. Contains the command if it is tried a second time.
    Isolate(Option<Request>),
}

impl Executor {
    /// Processes the first command that waits at a warm stream: steps 3 to 7.
    pub(super) fn process(
        &mut self,
        warm: &mut Warm,
        mut request: Request,
        is_separate: bool,
        plan: u64,
    ) -> Next {
        request.fit(warm.deployed.rules.module.manifest());
        let _lines = request.logged().enter();

        // 3. An id that the stream may have seen is looked up, after all that was staged before.
        let seen = request
            .callers_id()
            .map_or(IdStatus::Never, |id| warm.ids.seen(id));
        if let IdStatus::Last(number) = seen
            && request.looked_up_at.is_none_or(|at| at < number)
        {
            request.looked_up_at = Some(self.next_number());
            return self.look_up(warm, request);
        }
        // A look-up says nothing of an id that was staged and forgotten after it: then the
        // append compares ids.
        let id_is_new = seen != IdStatus::Perhaps;

        // 4. Commands that need no decision are refused.
        if let Some(error) = refusal(&self.shared, warm, &request) {
            if matches!(error, Error::TooLong { .. }) && !request.snapshot_was_sought {
                self.seek_snapshot(warm, request);
                return Next::Command;
            }
            return self.confirm(warm, request, plan, Pending::Answer(Err(error)));
        }
        if !self.shared.options.validate.is_empty()
            && let Some(error) = self.mismatch(warm, &mut request)
        {
            return self.confirm(warm, request, plan, Pending::Answer(Err(error)));
        }
        if !self.brakes.is_empty() {
            // Calls are expensive now: none is made for a caller that has gone.
            if request.reply.is_closed() {
                return Next::Command;
            }
            let module = warm.deployed.rules.module.digest();
            if let Some(resting) = self.brakes.rests(module, &request.stream, Instant::now()) {
                let error = Error::of_guest(&request.stream, &resting);
                return self.confirm(warm, request, plan, Pending::Answer(Err(error)));
            }
        }

        // 5. The guest decides.
        let Decision { outcome, fuel } = match self.decide(warm, &mut request) {
            Some(Ok(decision)) => decision,
            Some(Err(failure)) => {
                let after = AfterFault {
                    is_separate,
                    plan,
                    state_is_spoilt: false,
                };
                return self.faulted(warm, request, &failure, &after);
            }
            None => return Next::Reload(request),
        };
        let module = warm.deployed.rules.module.digest();
        let events = match outcome {
            Decided::Events(events) if !events.is_empty() => events,
            Decided::Events(_) => {
                let executed = Executed {
                    stream: request.stream.clone(),
                    version: warm.version,
                    position: None,
                    events: Vec::new(),
                    replayed: false,
                    module: Some(module),
                    fuel: Some(fuel),
                };
                return self.confirm(warm, request, plan, Pending::Answer(Ok(executed)));
            }
            Decided::BadCommand(text) => {
                let error = Error::InvalidCommand(text);
                return self.confirm(warm, request, plan, Pending::Answer(Err(error)));
            }
            Decided::Rejected(rejection) => {
                let rejected = Pending::Rejected {
                    rejection: Box::new(rejection),
                    module,
                    version: warm.version,
                    plan,
                };
                return self.confirm(warm, request, plan, rejected);
            }
        };

        // 6. The guest folds its events into the warm state.
        let recorded_at = self.shared.clock.now().max(warm.recorded_at);
        match self.fold_own(warm, &request.stream, &events, recorded_at) {
            Some(Ok(())) => {}
            Some(Err(failure)) => {
                let after = AfterFault {
                    is_separate,
                    plan,
                    state_is_spoilt: true,
                };
                return self.faulted(warm, request, &failure, &after);
            }
            None => return Next::Reload(request),
        }
        let expected = warm.version;
        warm.version = expected.plus(events.len());
        warm.recorded_at = recorded_at;
        if let Some(id) = request.callers_id() {
            warm.ids.insert(id, self.next_number());
        }

        // 7. The append is staged.
        let stream = request.stream.clone();
        let snapshot_is_due = self.snapshot_is_due(&stream, warm, false);
        let commit = Commit {
            command: Some(Arc::clone(&request.command)),
            decided: Some(store::Decided { module, fuel }),
            plan,
            recorded_at,
            events,
            id_is_new,
        };
        let item = Item::Append {
            run: Some(warm.run.id()),
            writes: vec![Write {
                stream: stream.clone(),
                expected: ExpectedVersion::Exact(expected),
                commit,
            }],
        };
        let appended = Pending::Append { snapshot_is_due };
        self.stage(item, Arc::clone(&warm.run), request, appended);
        self.warn_of_length(&stream, warm);
        Next::Command
    }

    /// Calls the guest's `decide`. None when another stream's fault has ended the instance.
    fn decide(&mut self, warm: &Warm, request: &mut Request) -> Option<Result<Decision, Failure>> {
        request.enter(Phase::Decide);
        let command = &request.command;
        let annotations = model::annotations(command.metadata.as_ref(), &command.context);
        let pool = &mut self.pool;
        let decided = warm
            .replicas
            .decide(pool, &warm.deployed, command, &annotations)?;
        if let Err(Failure::Fault(fault)) = &decided {
            self.brakes.failed(fault, &request.stream);
        }
        let fuel = match &decided {
            Ok(decision) => decision.fuel,
            Err(Failure::Fault(fault)) => fault.fuel.unwrap_or(u64::MAX),
            Err(_) => 0,
        };
        self.count_fuel(fuel);
        Some(decided)
    }

    /// Calls the guest's `evolve` with the events that it has just decided. None when another
    /// stream's fault has ended the instance.
    fn fold_own(
        &mut self,
        warm: &Warm,
        stream: &StreamId,
        events: &[NewEvent],
        recorded_at: Timestamp,
    ) -> Option<Result<(), Failure>> {
        let events: Vec<FoldEvent<'_>> = events
            .iter()
            .enumerate()
            .map(|(n, event)| FoldEvent::decided(event, warm.version.plus(n + 1), recorded_at))
            .collect();
        let folded = warm.replicas.fold(&mut self.pool, &events, false)?;
        if let Err(Failure::Fault(fault)) = &folded {
            self.brakes.failed(fault, stream);
        }
        Some(folded)
    }

    /// A guest failed at a command: the command is tried a second time in an instance of its
    /// own, if that may help; otherwise its caller receives the fault.
    fn faulted(
        &mut self,
        warm: &Warm,
        mut request: Request,
        failure: &Failure,
        after: &AfterFault,
    ) -> Next {
        // In an instance of its own, only memory may have been filled by earlier commands.
        let may_help = !after.is_separate || is_out_of_memory(failure);
        if may_pass(failure) && !request.was_tried_again && may_help {
            request.was_tried_again = true;
            return Next::Isolate(Some(request));
        }
        let has_ended_others = !warm.replicas.are_there(&self.pool);
        let error = Error::of_guest(&request.stream, failure);
        self.confirm(warm, request, after.plan, Pending::Answer(Err(error)));
        match (has_ended_others, after.state_is_spoilt) {
            (true, _) => Next::Isolate(None),
            (false, true) => Next::Retire,
            (false, false) => Next::Command,
        }
    }

    /// Stages an answer that stores nothing. It is given when everything that it rests on is
    /// durable and known to be current, and the id is known to be new.
    fn confirm(&self, warm: &Warm, request: Request, plan: u64, pending: Pending) -> Next {
        let item = Item::Check(Check {
            run: Some(warm.run.id()),
            stream: request.stream.clone(),
            version: Some(warm.version),
            archived: matches!(pending, Pending::Answer(Err(Error::Archived(_)))),
            command_id: request.callers_id().cloned(),
            plan: Some(plan),
        });
        self.stage(item, Arc::clone(&warm.run), request, pending);
        Next::Command
    }

    /// Looks up the outcome that is recorded under an id.
    fn look_up(&self, warm: &Warm, request: Request) -> Next {
        let item = by_id(&request, None);
        self.stage(item, Arc::clone(&warm.run), request, Pending::LookUp);
        Next::Command
    }

    /// Stages the same error for a request at a stream without a state, once its id was looked
    /// up and, if the error rests on a plan, that plan is known to be current.
    pub(super) fn refuse(&self, mut request: Request, plan: Option<u64>, error: Error) {
        request.looked_up_at = None;
        let item = by_id(&request, plan);
        let run = Arc::new(Run::begin());
        self.stage(item, run, request, Pending::Answer(Err(error)));
    }

    /// Stages an item, and the answer that is given when it was committed.
    fn stage(&self, item: Item, run: Arc<Run>, mut request: Request, pending: Pending) {
        run.stage();
        // A look-up outlives its run: it asks for no version.
        let run_of_item = match &item {
            Item::Check(Check { run: None, .. }) => None,
            _ => Some(Arc::clone(&run)),
        };
        let deciding = request.deciding.take();
        request.enter(Phase::Commit);
        let answering = Answering {
            request,
            pending,
            run,
            worker: self.inbox.clone(),
            shared: Arc::clone(&self.shared),
        };
        self.shared.committer.stage(Staged {
            item,
            run: run_of_item,
            done: Box::new(move |item, verdict| answering.answer(item, verdict)),
        });
        drop(deciding);
    }
}

/// The situation of a stream at a fault.
struct AfterFault {
    /// Whether the stream has a separate instance.
    is_separate: bool,
    plan: u64,
    /// Whether the guest failed to fold events, some of which may be in its state now.
    state_is_spoilt: bool,
}

/// The answer to a command that is staged.
enum Pending {
    /// Its events, as they were appended.
    Append {
        /// A snapshot is considered once they are durable.
        snapshot_is_due: bool,
    },
    /// The domain rejected it.
    Rejected {
        rejection: Box<model::Rejection>,
        module: Digest,
        version: Version,
        plan: u64,
    },
    /// Another answer that stores nothing.
    Answer(Result<Executed, Error>),
    /// None: a command whose id is not found is decided.
    LookUp,
}

/// What is needed to answer a command when its item was committed.
struct Answering {
    request: Request,
    pending: Pending,
    run: Arc<Run>,
    worker: Inbox,
    shared: Arc<Shared>,
}

impl Answering {
    /// Answers the caller (step 8), or gives the command back to its worker. Runs on the
    /// committer's thread.
    fn answer(self, item: Item, verdict: Verdict) {
        let (mut request, worker) = (self.request, self.worker);
        request.enter(Phase::Queue);
        let answered = AnswerGuard {
            run: self.run,
            worker: worker.clone(),
            stream: request.stream.clone(),
        };
        let outcome = match verdict {
            Verdict::Outcome(outcome) => outcome,
            Verdict::Failed(error) => return request.answer(Err(Error::Store(error))),
        };
        match (outcome, self.pending) {
            // 8. The caller is answered with what is durable now,
            (Outcome::Appended(appended), Pending::Append { snapshot_is_due }) => {
                if snapshot_is_due {
                    worker.send(Message::ConsiderSnapshot(request.stream.clone()));
                }
                let stream = request.stream.clone();
                let answer = match (item, &*appended) {
                    (Item::Append { mut writes, .. }, [appended]) if writes.len() == 1 => {
                        let commit = writes.swap_remove(0).commit;
                        Ok(executed(stream, commit.events, appended, commit.decided))
                    }
                    _ => Err(Error::unanswered()),
                };
                request.answer(answer);
            }
            (
                Outcome::Holds(_),
                Pending::Rejected {
                    rejection,
                    module,
                    version,
                    plan,
                },
            ) => {
                self.shared.rejections.keep(Rejected {
                    id: 0,
                    stream: request.stream.clone(),
                    version,
                    plan,
                    module,
                    command: Arc::clone(&request.command),
                    code: Rejected::text_to_store(&rejection.code),
                    message: Rejected::text_to_store(&rejection.message),
                    details: Rejected::details_to_store(rejection.details.as_ref()),
                });
                request.answer(Err(Error::Rejected { rejection, module }));
            }
            (Outcome::Holds(_), Pending::Answer(answer)) => request.answer(answer),
            (Outcome::Unprojected(failed), _) => request.answer(Err(failed.into())),
            // or with the recorded outcome of its id,
            (Outcome::Known(known), _) => match known.into_iter().flatten().next() {
                Some(known) => request.replay(&known),
                None => worker.send(Message::Again(request)),
            },
            // or it is re-decided: others wrote to the stream,
            (Outcome::WrongVersion { .. }, _) => {
                request.meters.retries.add(1);
                decide_again(&self.shared.runtime, &worker, request);
            }
            // another plan is in force,
            (Outcome::PlanMoved, _) => {
                let shared = self.shared;
                let runtime = shared.runtime.clone();
                let mut request = request;
                runtime.spawn(async move {
                    // Another host may have raised it.
                    let deadline = request.deadline;
                    let learning = learn_plan(&shared.registry, &mut request.conflicts, deadline);
                    match shared.loading.attempt(learning).await {
                        Ok(Err(error)) => request.answer(Err(error)),
                        _ => worker.send(Message::Again(request)),
                    }
                    // Not earlier: later commands of the stream would be decided first.
                    drop(answered);
                });
            }
            // or the state that it rests on never was, or its id is new.
            _ => worker.send(Message::Again(request)),
        }
    }
}

/// Reports to the worker, when dropped, that a staged item was answered or came back.
struct AnswerGuard {
    run: Arc<Run>,
    worker: Inbox,
    stream: StreamId,
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        if self.run.answered() {
            self.worker.send(Message::Drained(self.stream.clone()));
        }
    }
}

/// A check of nothing but an id, and of a plan if there is one.
fn by_id(request: &Request, plan: Option<u64>) -> Item {
    Item::Check(Check {
        run: None,
        stream: request.stream.clone(),
        version: None,
        archived: false,
        command_id: request.callers_id().cloned(),
        plan,
    })
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
    let events = found.0.saturating_sub(warm.snapshot_version.0);
    (events > max).then(|| Error::TooLong {
        stream: stream.clone(),
        events,
        max,
    })
}

fn is_out_of_memory(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.kind == FaultKind::OutOfMemory)
}

/// Whether a fresh instance may succeed.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.kind.may_pass())
}
