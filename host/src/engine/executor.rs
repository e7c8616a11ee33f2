//! Moves the streams of one worker from one state to the next.
//!
//! A stream is cold, is being loaded, is warm, or is draining (see [`State`]). The slot of a
//! stream is looked up once per message; everything here works on that slot.

use std::sync::Arc;

use hashlink::LinkedHashMap;

use super::brakes::Brakes;
use super::command::Next;
use super::pool::Pool;
use super::replicas::Replicas;
use super::resume::Resumes;
use super::slot::{Slot, State, Warm};
use super::worker::Inbox;
use super::{Error, Shared};
use crate::deploy::{Deployed, Plan};
use crate::model::StreamId;
use crate::store;

/// Highest number of remembered streams that get a separate instance.
const SEPARATE_STREAMS_MAX: usize = 4_096;

/// What a worker has in addition to its streams.
pub(super) struct Executor {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) pool: Pool,
    /// Modules that are not called for a while.
    pub(super) brakes: Brakes,
    /// States of streams that others write to, too.
    pub(super) resumes: Resumes,
    /// Counts commands and look-ups in their order of arrival.
    number: u64,
    /// Fuel of recent decisions: a high value counts immediately and decays slowly.
    recent_fuel: u64,
    /// Streams whose guest faulted recently, the last one last. They get a separate instance,
    /// although nothing else is known of them any more.
    separate_streams: LinkedHashMap<StreamId, ()>,
}

impl Executor {
    /// Starts with no instance. `number` continues the count of an executor before it.
    pub(super) fn new(shared: &Arc<Shared>, inbox: &Inbox, number: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            inbox: inbox.clone(),
            pool: Pool::default(),
            brakes: Brakes::default(),
            resumes: Resumes::default(),
            number,
            recent_fuel: 0,
            separate_streams: LinkedHashMap::new(),
        }
    }

    /// Number of the last command or look-up.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Counts a command or a look-up.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Fuel of recent decisions.
    pub(super) fn recent_fuel(&self) -> u64 {
        self.recent_fuel
    }

    pub(super) fn count_fuel(&mut self, fuel: u64) {
        self.recent_fuel = fuel.max(self.recent_fuel - self.recent_fuel / 8);
    }

    /// Creates a slot for a stream of which nothing is known yet.
    pub(super) fn slot(&self, stream: &StreamId) -> Slot {
        let is_separate =
            !self.separate_streams.is_empty() && self.separate_streams.contains_key(stream);
        Slot::new(is_separate)
    }

    /// Decides the commands of a stream that can be decided, and otherwise starts what must happen
    /// first, such as a load. Returns false if nothing is known of the stream and nobody waits
    /// for it.
    pub(super) fn advance(&mut self, stream: &StreamId, slot: &mut Slot) -> bool {
        let plan = self.shared.registry.plan();
        let current = plan.decider(stream.category());
        loop {
            match &mut slot.state {
                State::Loading(_) | State::Draining(_) => return true,
                State::Cold if slot.waiting.is_empty() => return false,
                State::Cold => match current {
                    Some(deployed) => self.load(stream, slot, Arc::clone(deployed)),
                    None => self.refuse_all(slot, Some(plan.number), || {
                        Error::UnknownCategory(stream.category().to_owned())
                    }),
                },
                State::Warm(warm) if !self.is_current(warm, current) => self.retire(slot),
                State::Warm(warm) => {
                    let Some(request) = slot.waiting.pop_front() else {
                        return true;
                    };
                    match self.process(warm, request, slot.is_separate, plan.number) {
                        Next::Command => {}
                        // The instance is gone, so the state is not current any more.
                        Next::Reload(request) => slot.waiting.push_front(request),
                        Next::Retire => self.retire(slot),
                        Next::Isolate(request) => {
                            self.isolate(stream, slot);
                            if let Some(request) = request {
                                slot.wait(request);
                            }
                            self.retire(slot);
                        }
                    }
                }
            }
        }
    }

    /// Whether a warm state still exists and was folded by the decider that serves its category.
    fn is_current(&self, warm: &Warm, current: Option<&Arc<Deployed>>) -> bool {
        !warm.run.is_dead()
            && current.is_some_and(|current| Arc::ptr_eq(current, &warm.deployed))
            && warm.replicas.are_there(&self.pool)
    }

    /// Gives up the state of a stream. Commands that were staged on it may still be answered.
    pub(super) fn retire(&mut self, slot: &mut Slot) {
        let (State::Warm(warm) | State::Loading(warm)) =
            std::mem::replace(&mut slot.state, State::Cold)
        else {
            return;
        };
        self.close(warm.replicas);
        if warm.run.is_outrun() {
            slot.is_contested = true;
        } else if warm.run.is_dead() {
            // After a failure of the store, its events are read once more.
            self.resumes.clear();
        }
        for request in &mut slot.waiting {
            request.deciding = None;
        }
        if warm.run.watch() {
            slot.state = State::Draining(warm.run);
        }
    }

    /// Closes the aggregates of a state.
    pub(super) fn close(&mut self, replicas: Replicas) {
        for handle in replicas.into_all() {
            self.pool.close(handle);
        }
    }

    /// Gives a stream a separate instance from now on, also when it is loaded later.
    pub(super) fn isolate(&mut self, stream: &StreamId, slot: &mut Slot) {
        slot.is_separate = true;
        self.resumes.forget(stream);
        self.separate_streams.remove(stream);
        self.separate_streams.insert(stream.clone(), ());
        if self.separate_streams.len() > SEPARATE_STREAMS_MAX {
            self.separate_streams.pop_front();
        }
    }

    /// Answers every command that waits at a stream with the same error, after their ids were
    /// looked up and, if the error depends on a plan, after that plan is known to be current.
    pub(super) fn refuse_all(
        &mut self,
        slot: &mut Slot,
        plan: Option<u64>,
        error: impl Fn() -> Error,
    ) {
        for request in std::mem::take(&mut slot.waiting) {
            self.refuse(request, plan, error());
        }
    }

    /// Answers every command that waits at a stream with an error of the store.
    pub(super) fn fail_all(&mut self, slot: &mut Slot, error: &store::Error) {
        for request in std::mem::take(&mut slot.waiting) {
            request.answer(Err(Error::Store(error.clone())));
        }
    }

    /// Returns a plan under which a decider serves the category of a stream: the current plan, if
    /// the decider is still active.
    ///
    /// Inline projections of the category may have changed since the decider became active. An
    /// answer that names that older plan would be refused each time.
    pub(super) fn plan_of(&self, stream: &StreamId, deployed: &Deployed) -> u64 {
        let plan: Arc<Plan> = self.shared.registry.plan();
        let current = plan.decider(stream.category());
        match current.is_some_and(|current| current.plan == deployed.plan) {
            true => plan.number,
            false => deployed.plan,
        }
    }
}
