//! From a decision to an answer: what is staged, and what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::{Request, executed};
use super::worker::{Core, Inbox, Message};
use super::{Error, Executed};
use crate::commit::{Run, Staged, Verdict};
use crate::model::{StreamId, Version};
use crate::store::{self, Check, Commit, Item, Outcome, Rejected, Write};

/// The pause after a conflict is random, up to 1 ms doubled with each, so many times.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

impl Core {
    /// Stages a decision. With `snapshot_is_due`, a snapshot is considered once it is
    /// durable.
    pub(super) fn append(
        &self,
        request: Request,
        run: Arc<Run>,
        version: Version,
        commit: Commit,
        snapshot_is_due: bool,
    ) {
        run.stage();
        let due = snapshot_is_due.then(|| self.myself.clone());
        let write = Write {
            stream: request.stream.clone(),
            expected: crate::model::ExpectedVersion::Exact(version),
            commit,
        };
        let item = Item::Append {
            run: Some(run.id()),
            writes: vec![write],
        };
        self.stage(item, run, request, move |request, item, appended| {
            if let Some(worker) = due {
                worker.send(Message::Consider(request.stream.clone()));
            }
            let Item::Append { writes, .. } = item else {
                return;
            };
            let written = writes.into_iter().next().zip(appended.into_iter().next());
            let Some((write, appended)) = written else {
                return;
            };
            let stream = request.stream.clone();
            let (events, decided) = (write.commit.events, write.commit.decided);
            request.answer(Ok(executed(stream, events, &appended, decided)));
        });
    }

    /// Holds an answer that stores nothing until all that it rests on is durable and
    /// known to be current, and the id is known to be new.
    pub(super) fn answer_negatively(
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
            archived: matches!(answer, Err(Error::Archived(_))),
            command_id: request.callers_id().cloned(),
            plan: Some(plan),
        });
        let rejections = self.shared.rejections.clone();
        self.stage(item, run, request, move |request, _, _| {
            if let Err(Error::Rejected { rejection, module }) = &answer {
                rejections.keep(Rejected {
                    id: 0,
                    stream: request.stream.clone(),
                    version,
                    plan,
                    module: *module,
                    command: Arc::clone(&request.command),
                    code: Rejected::kept(&rejection.code),
                    message: Rejected::kept(&rejection.message),
                    details: Rejected::kept_details(rejection.details.as_ref()),
                });
            }
            request.answer(answer);
        });
    }

    /// Looks up the record of an id, behind everything that has been staged.
    pub(super) fn look_up(&self, request: Request, run: Arc<Run>) {
        run.stage();
        let item = Item::Check(Check {
            run: None,
            stream: request.stream.clone(),
            version: None,
            archived: false,
            command_id: request.callers_id().cloned(),
            plan: None,
        });
        let myself = self.myself.clone();
        self.stage(item, run, request, move |request, _, _| {
            myself.send(Message::Again(request));
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
        let (myself, shared) = (self.myself.clone(), Arc::clone(&self.shared));
        let answering = Arc::clone(&run);
        // A look-up outlives its run: it asks for no version.
        let run_of_item = match &item {
            Item::Check(Check { run: None, .. }) => None,
            _ => Some(run),
        };
        let (deciding, inbox) = (request.deciding.take(), self.myself.clone());
        let done = Box::new(move |item: Item, verdict: Verdict| {
            let answered = Answered {
                run: answering,
                inbox,
                stream: request.stream.clone(),
            };
            match verdict {
                Verdict::Outcome(Outcome::Appended(appended)) => passed(request, item, appended),
                Verdict::Outcome(Outcome::Holds(_)) => passed(request, item, Vec::new()),
                Verdict::Outcome(Outcome::Known(known)) => {
                    match known.into_iter().flatten().next() {
                        Some(known) => request.replay(&known),
                        None => myself.send(Message::Again(request)),
                    }
                }
                Verdict::Outcome(Outcome::WrongVersion { .. }) => {
                    conflicted(&shared.runtime, &myself, request);
                }
                Verdict::Outcome(Outcome::PlanMoved) => {
                    let runtime = shared.runtime.clone();
                    runtime.spawn(async move {
                        // Another host may have raised it. What can't be read now is
                        // refused again, and read again.
                        let refreshed = shared.loading.attempt(shared.registry.refresh()).await;
                        if let Ok(Err(error)) = refreshed {
                            tracing::warn!(%error, "the plan was not read");
                        }
                        myself.send(Message::Again(request));
                        // Not before: what came behind it would be decided first.
                        drop(answered);
                    });
                }
                Verdict::Outcome(Outcome::Unprojected(failed)) => {
                    request.answer(Err(failed.into()))
                }
                // The state behind it is gone, or stands elsewhere.
                Verdict::Outcome(_) => myself.send(Message::Again(request)),
                Verdict::Failed(error) => request.answer(Err(Error::Store(error))),
            }
        });
        self.shared.committer.stage(Staged {
            item,
            run: run_of_item,
            done,
        });
        drop(deciding);
    }

    /// Tells everyone who waits at a stream the same, once their ids are looked up; if it
    /// rests on a plan, once that is known to be current.
    pub(super) fn refuse_all(
        &mut self,
        stream: &StreamId,
        plan: Option<u64>,
        error: impl Fn(&Request) -> Error,
    ) {
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
                archived: false,
                command_id: request.callers_id().cloned(),
                plan,
            });
            let run = Arc::new(Run::begin());
            run.stage();
            self.stage(item, run, request, move |request, _, _| {
                request.answer(Err(error))
            });
        }
    }

    /// Tells everyone who waits at a stream that the store failed.
    pub(super) fn fail_all(&mut self, stream: &StreamId, error: &store::Error) {
        let Some(slot) = self.slots.get_mut(stream) else {
            return;
        };
        for request in std::mem::take(&mut slot.waiting) {
            request.answer(Err(Error::Store(error.clone())));
        }
        self.advance(stream);
    }
}

/// What was staged is answered, or is with its worker again, when this is dropped.
struct Answered {
    run: Arc<Run>,
    inbox: Inbox,
    stream: StreamId,
}

impl Drop for Answered {
    fn drop(&mut self) {
        if self.run.answered() {
            self.inbox.send(Message::Drained(self.stream.clone()));
        }
    }
}

/// Others came first: the command is decided again, at once after the first
/// conflict, later after a pause, until its deadline.
fn conflicted(runtime: &tokio::runtime::Handle, worker: &Inbox, mut request: Request) {
    if Instant::now() >= request.deadline {
        let stream = request.stream.clone();
        return request.answer(Err(Error::Conflict(stream)));
    }
    request.conflicts += 1;
    if request.conflicts == 1 {
        return worker.send(Message::Again(request));
    }
    let (pause, worker) = (pause(request.conflicts), worker.clone());
    runtime.spawn(async move {
        tokio::time::sleep(pause).await;
        worker.send(Message::Again(request));
    });
}

/// How long to wait after so many conflicts: not at all after the first one, else a random time.
pub(super) fn pause(conflicts: u32) -> Duration {
    if conflicts <= 1 {
        return Duration::ZERO;
    }
    let pause_max_ms = 1u64 << conflicts.min(PAUSE_DOUBLINGS_MAX);
    Duration::from_micros(rand::random_range(0..=pause_max_ms * 1_000))
}
