//! The state of one stream in one instance, or, to check that its guest is pure, in two instances
//! that share nothing.

use std::time::Duration;

use super::pool::{Handle, Pool};
use crate::deploy::Deployed;
use crate::model::{Annotations, CommandRecord, StreamId};
use crate::runtime::{Decision, Failure, Fault, FaultKind, FoldEvent, Snapshot, processor_time};

/// The aggregates of one stream.
pub struct Replicas {
    first: Handle,
    /// A second aggregate in a separate instance, at a different address in memory. It receives the
    /// same input as the first, event by event.
    second: Option<Handle>,
}

impl Replicas {
    /// Opens the aggregates, from a snapshot or from the beginning. With `is_separate`, the first
    /// one is opened in a separate instance, too.
    pub fn open(
        pool: &mut Pool,
        deployed: &Deployed,
        stream: &StreamId,
        snapshot: Option<&Snapshot>,
        is_separate: bool,
        check: bool,
    ) -> Result<Self, Failure> {
        let (module, key) = (&deployed.rules.module, stream.key());
        let first = pool.open(module, key, snapshot, is_separate)?;
        let second = match check.then(|| pool.open_displaced(module, key, snapshot)) {
            None => None,
            Some(Ok(second)) => Some(second),
            Some(Err(failure)) => {
                pool.close(first);
                return Err(failure);
            }
        };
        Ok(Self { first, second })
    }

    /// Folds events. `None` when an instance is gone. `each` folds them one by one.
    pub fn fold(
        &self,
        pool: &mut Pool,
        events: &[FoldEvent<'_>],
        each: bool,
    ) -> Option<Result<(), Failure>> {
        if events.is_empty() {
            return Some(Ok(()));
        }
        // The second aggregate always folds one by one, because a state must not depend on how
        // events were batched.
        let second = self.second.as_ref().map(|second| (second, true));
        for (handle, each) in [Some((&self.first, each)), second].into_iter().flatten() {
            let folded = pool.call(handle, |guest, state| match each {
                true => guest.apply_each(state, events),
                false => guest.apply(state, events),
            });
            if let Err(failure) = folded? {
                return Some(Err(failure));
            }
        }
        Some(Ok(()))
    }

    /// Decides a command. `None` when an instance is gone.
    pub fn decide(
        &self,
        pool: &mut Pool,
        deployed: &Deployed,
        command: &CommandRecord,
        annotations: &Annotations,
    ) -> Option<Result<Decision, Failure>> {
        let begun = self.second.is_some().then(processor_time);
        let mut decide = |handle: &Handle| {
            pool.call(handle, |guest, state| {
                guest.decide(state, command, annotations)
            })
        };
        let first = decide(&self.first)?;
        let (Some(second), Ok(decision)) = (&self.second, &first) else {
            return Some(first);
        };
        let repeat = decide(second)?;
        if repeat.as_ref().is_err_and(Failure::is_of_host) {
            return Some(repeat);
        }
        let is_same = repeat.is_ok_and(|repeat| decision.outcome.is_same(&repeat.outcome));
        Some(if is_same {
            first
        } else {
            let took = begun.map(|begun| processor_time().saturating_sub(begun));
            let took = took.unwrap_or_default();
            Err(impure(deployed, command, decision.fuel, took).into())
        })
    }

    /// Takes a snapshot. `None` when an instance is gone.
    pub fn snapshot(&self, pool: &mut Pool) -> Option<Result<Option<Snapshot>, Failure>> {
        pool.call(&self.first, |guest, state| guest.snapshot(state))
    }

    /// Whether the aggregates still exist.
    pub fn are_there(&self, pool: &Pool) -> bool {
        pool.holds(&self.first) && self.second.as_ref().is_none_or(|second| pool.holds(second))
    }

    /// Returns the aggregates, so that they can be closed.
    pub fn into_all(self) -> impl Iterator<Item = Handle> {
        std::iter::once(self.first).chain(self.second)
    }
}

fn impure(deployed: &Deployed, command: &CommandRecord, fuel: u64, took: Duration) -> Fault {
    Fault {
        kind: FaultKind::Contract,
        component: deployed.rules.module.manifest().name.as_str().to_owned(),
        digest: deployed.rules.module.digest(),
        text: format!(
            "it is not pure: a second instance decides {} differently",
            command.name
        ),
        fuel: Some(fuel),
        took,
    }
}
