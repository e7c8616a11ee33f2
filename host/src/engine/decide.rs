//! One decision on warm state, and what is staged of it.

use std::sync::Arc;
use std::time::Instant;

use super::ids::Knowledge;
use super::request::Request;
use super::slot::{State, Warm};
use super::worker::Core;
use super::{Error, Executed, Shared};
use crate::commit::Run;
use crate::model::Version;
use crate::runtime::{Decision, Failure, FaultKind, FoldEvent, Outcome as Decided};
use crate::store::{self, Commit};

impl Core {
    /// Decides one command on warm state and stages what comes of it.
    pub(super) fn decide(&mut self, mut request: Request, plan: u64) {
        let Some(slot) = self.slots.get_mut(&request.stream) else {
            return;
        };
        let State::Warm(warm) = &mut slot.state else {
            return slot.wait(request);
        };
        request.fit(warm.deployed.rules.module.manifest());
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
            if matches!(error, Error::TooLong { .. }) && !request.snapshot_was_sought {
                return self.seek_snapshot(request);
            }
            let (run, version) = (Arc::clone(&warm.run), warm.version);
            return self.answer_negatively(request, run, version, plan, Err(error));
        }
        if !self.brakes.is_empty() {
            // Calls are dear now: none is made for whom nobody waits.
            if request.reply.is_closed() {
                return;
            }
            let module = warm.deployed.rules.module.digest();
            let (run, version) = (Arc::clone(&warm.run), warm.version);
            if let Some(resting) = self.brakes.rests(module, &request.stream, Instant::now()) {
                let error = Error::of_guest(&request.stream, &resting);
                return self.answer_negatively(request, run, version, plan, Err(error));
            }
        }
        let begun = Instant::now();
        let annotations =
            crate::model::annotations(request.command.metadata.as_ref(), &request.command.context);
        let (deployed, pool) = (&warm.deployed, &mut self.pool);
        let called = warm
            .homes
            .decide(pool, deployed, &request.command, &annotations);
        let Some(decided) = called else {
            slot.waiting.push_front(request);
            return;
        };
        if let Err(failure) = &decided {
            self.brakes.failed(failure, &request.stream, begun);
        }
        let fuel = match &decided {
            Ok(decision) => decision.fuel,
            Err(Failure::Fault(fault)) => fault.fuel.unwrap_or(u64::MAX),
            Err(_) => 0,
        };
        // A large one counts at once and is forgotten slowly.
        self.recent_fuel = fuel.max(self.recent_fuel - self.recent_fuel / 8);
        let (run, version) = (Arc::clone(&warm.run), warm.version);
        let module = warm.deployed.rules.module.digest();
        match decided {
            Ok(Decision {
                outcome: Decided::Events(events),
                fuel,
            }) if !events.is_empty() => {
                let commit = Commit {
                    command: Some(Arc::clone(&request.command)),
                    decided: Some(store::Decided { module, fuel }),
                    plan,
                    recorded_at: self.shared.clock.now().max(warm.recorded_at),
                    events,
                    id_is_new,
                };
                self.accept(request, run, version, commit);
            }
            Ok(Decision { outcome, fuel }) => {
                let answer = match outcome {
                    Decided::Rejected(rejection) => Err(Error::Rejected {
                        rejection: Box::new(rejection),
                        module,
                    }),
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

    /// Takes the events of a decision into the warm state, and stages them.
    fn accept(&mut self, request: Request, run: Arc<Run>, version: Version, commit: Commit) {
        let Some(slot) = self.slots.get_mut(&request.stream) else {
            return;
        };
        let State::Warm(warm) = &mut slot.state else {
            return slot.wait(request);
        };
        let recorded_at = commit.recorded_at;
        let events: Vec<FoldEvent<'_>> = commit
            .events
            .iter()
            .enumerate()
            .map(|(n, event)| FoldEvent::decided(event, version.plus(n + 1), recorded_at))
            .collect();
        let begun = Instant::now();
        match warm.homes.fold(&mut self.pool, &events, false) {
            Some(Ok(())) => {}
            Some(Err(failure)) => {
                self.brakes.failed(&failure, &request.stream, begun);
                let plan = commit.plan;
                return self.faulted(request, run, version, plan, &failure, true);
            }
            None => {
                slot.waiting.push_front(request);
                return;
            }
        }
        warm.version = version.plus(commit.events.len());
        warm.recorded_at = recorded_at;
        if let Some(id) = request.callers_id() {
            self.number += 1;
            warm.ids.insert(id, self.number);
        }
        let stream = request.stream.clone();
        let is_due = self.snapshot_is_due(&stream, false);
        self.append(request, run, version, commit, is_due);
        self.warn_of_length(&stream);
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
        let was_apart = slot.is_apart;
        // Other streams fell with it: the next time it has an instance of its own.
        let has_fallen = match &slot.state {
            State::Warm(warm) => !warm.homes.are_there(&self.pool),
            _ => false,
        };
        // It has had an instance of its own: only memory may be what it filled before.
        let may_help = !was_apart || is_out_of_memory(failure);
        let is_tried_again = may_pass(failure) && !request.was_tried_again && may_help;
        if has_fallen || is_tried_again {
            self.keep_apart(&stream);
        }
        let Some(slot) = self.slots.get_mut(&stream) else {
            return;
        };
        if is_tried_again {
            request.was_tried_again = true;
            slot.wait(request);
            return self.retire(&stream);
        }
        let error = Error::of_guest(&stream, failure);
        self.answer_negatively(request, run, version, plan, Err(error));
        if state_is_spoilt {
            self.retire(&stream);
        }
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

/// Whether a fresh instance deserves one more try.
pub(super) fn may_pass(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.kind.may_pass())
}
