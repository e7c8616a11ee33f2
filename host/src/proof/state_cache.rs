//! States of many streams, folded separately from live commands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::replay::is_of_the_stream;
use crate::fold::{Error, Rules};
use crate::model::{Annotations, CommandRecord, Digest, StreamId, Version};
use crate::runtime::{Aggregate, Decision, Failure, FoldEvent, Instance, Limits};
use crate::store::{EventReader, LoadedEvent};
use crate::upcast::{Liftable, Lifter};

/// Limits for the number of open streams and for a guest's memory. When one is exceeded, all states
/// are closed, and folded from scratch when they are needed.
const OPEN_MAX: usize = 10_000;
const GUEST_BYTES_MAX: usize = 128 << 20;

/// How many times a decision is timed, unless it takes long.
const TIMED: usize = 8;
const TIMED_LONG: Duration = Duration::from_millis(1);

/// Number of events in one read.
const PAGE: usize = 1_000;

/// The source of the events, and the environment of the guests.
#[derive(Clone)]
pub(super) struct Source {
    pub reader: Arc<dyn EventReader>,
    pub lifter: Arc<Lifter>,
    pub runtime: Handle,
    /// Limits for the deciders, if they differ from the host's.
    pub limits: Option<Arc<Limits>>,
}

/// The states of one thread. The thread must not be one of the async runtime's worker threads.
pub(super) struct States {
    source: Source,
    instances: HashMap<Digest, Instance>,
    open: HashMap<StreamId, State>,
}

struct State {
    aggregate: Aggregate,
    rules: Arc<Rules>,
    version: Version,
}

impl States {
    /// Creates the value without open states.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            instances: HashMap::new(),
            open: HashMap::new(),
        }
    }

    /// Decides a command on the state that results from the recorded events up to a version. A
    /// failure of the guest is the inner result.
    pub(super) fn decide(
        &mut self,
        rules: &Arc<Rules>,
        (stream, at): (&StreamId, Version),
        command: &CommandRecord,
        annotations: &Annotations,
    ) -> Result<Result<Decision, Failure>, Error> {
        self.bring(rules, stream, at)?;
        let digest = rules.module.digest();
        let (Some(state), Some(instance)) =
            (self.open.get(stream), self.instances.get_mut(&digest))
        else {
            return Err(Error::NoStream(stream.clone()));
        };
        let decided = instance.decide(&state.aggregate, command, annotations);
        if decided.is_err() {
            self.forget(stream);
        }
        Ok(decided)
    }

    /// Decides a command repeatedly, and returns the shortest time. The first call does not count.
    /// `None` if a decision fails.
    ///
    /// # Errors
    /// When the state can't be folded.
    pub(super) fn time(
        &mut self,
        rules: &Arc<Rules>,
        place: (&StreamId, Version),
        command: &CommandRecord,
        annotations: &Annotations,
    ) -> Result<Option<Duration>, Error> {
        if self.decide(rules, place, command, annotations)?.is_err() {
            return Ok(None);
        }
        let mut shortest: Option<Duration> = None;
        for _ in 0..TIMED {
            let begun = Instant::now();
            let decided = self.decide(rules, place, command, annotations)?;
            if decided.is_err() {
                return Ok(None);
            }
            let took = begun.elapsed();
            shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
            if took > TIMED_LONG {
                break;
            }
        }
        Ok(shortest)
    }

    /// Applies recorded events to the state of their stream, if it is open at the version before
    /// them. Otherwise closes the state.
    pub(super) fn take(
        &mut self,
        stream: &StreamId,
        events: Vec<LoadedEvent>,
    ) -> Result<(), Error> {
        let Some(first) = events.first().map(|event| event.version) else {
            return Ok(());
        };
        let follows = |state: &State| state.version.next() == first;
        if !self.open.get(stream).is_some_and(follows) {
            self.forget(stream);
            return Ok(());
        }
        self.apply(stream, events)
    }

    /// Applies recorded events to the state of their stream, and opens the state first if
    /// necessary.
    pub(super) fn fold(
        &mut self,
        rules: &Arc<Rules>,
        stream: &StreamId,
        events: Vec<LoadedEvent>,
    ) -> Result<(), Error> {
        if let Some(first) = events.first() {
            let before = Version(first.version.0.saturating_sub(1));
            self.bring(rules, stream, before)?;
        }
        self.apply(stream, events)
    }

    /// Returns the rules that fold the open state of a stream. `None` if it is not open.
    pub(super) fn rules(&self, stream: &StreamId) -> Option<Arc<Rules>> {
        self.open.get(stream).map(|state| Arc::clone(&state.rules))
    }

    /// Returns the first version up to `until` that these rules can't fold. `None` if they can fold
    /// all of them. The version is found by bisection. Every attempt folds from the first event, so
    /// the result does not depend on open states.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn first_unfoldable(
        &mut self,
        rules: &Arc<Rules>,
        stream: &StreamId,
        until: Version,
    ) -> Result<Option<Version>, Error> {
        if self.can_fold(rules, stream, until)? {
            return Ok(None);
        }
        let (mut good, mut bad) = (0, until.0);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.can_fold(rules, stream, Version(middle))? {
                true => good = middle,
                false => bad = middle,
            }
        }
        Ok(Some(Version(bad)))
    }

    /// Whether these rules can fold a stream from its first event up to a version.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn can_fold(
        &mut self,
        rules: &Arc<Rules>,
        stream: &StreamId,
        until: Version,
    ) -> Result<bool, Error> {
        self.forget(stream);
        let folded = self.bring(rules, stream, until);
        self.forget(stream);
        match folded {
            Ok(()) => Ok(true),
            Err(error) if is_of_the_stream(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the state of a stream at a version, with these rules.
    fn bring(&mut self, rules: &Arc<Rules>, stream: &StreamId, at: Version) -> Result<(), Error> {
        let fits = |state: &State| state.version == at && state.rules.fold == rules.fold;
        if self.open.get(stream).is_some_and(fits) {
            return Ok(());
        }
        self.forget(stream);
        self.make_room();
        let failed = |failure: &Failure| Error::of_guest(stream, failure);
        let digest = rules.module.digest();
        let instance = match self.instances.entry(digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let made = Instance::under(&rules.module, self.source.limits.clone());
                new.insert(made.map_err(|fault| failed(&fault.into()))?)
            }
        };
        let aggregate = match instance.open(stream.key(), None) {
            Ok(aggregate) => aggregate,
            Err(failure) => {
                self.drop_spent(digest);
                return Err(failed(&failure));
            }
        };
        let state = State {
            aggregate,
            rules: Arc::clone(rules),
            version: Version::NONE,
        };
        self.open.insert(stream.clone(), state);
        let mut version = Version::NONE;
        while version < at {
            let left = usize::try_from(at.0 - version.0).unwrap_or(usize::MAX);
            let reading = self.source.reader.load(stream, version, left.min(PAGE));
            let page = self.source.runtime.block_on(reading)?;
            let Some(last) = page.events.last().map(|event| event.version) else {
                self.forget(stream);
                return Err(Error::NoVersion {
                    stream: stream.clone(),
                    version: at,
                    found: version,
                });
            };
            self.apply(stream, page.events)?;
            version = last;
        }
        Ok(())
    }

    /// Folds events into an open state. If that fails, the state is closed.
    fn apply(&mut self, stream: &StreamId, events: Vec<LoadedEvent>) -> Result<(), Error> {
        let applied = self.applied(stream, events);
        if applied.is_err() {
            self.forget(stream);
        }
        applied
    }

    fn applied(&mut self, stream: &StreamId, events: Vec<LoadedEvent>) -> Result<(), Error> {
        let Some(state) = self.open.get_mut(stream) else {
            return Ok(());
        };
        let last = events.last().map_or(state.version, |event| event.version);
        let lifted = self.source.lifter.lift(&state.rules.lift, events);
        let lifted = lifted.map_err(|error| Error::of_lift(stream, error))?;
        let events: Vec<FoldEvent<'_>> = lifted.iter().map(Liftable::fold).collect();
        if let Some(instance) = self.instances.get_mut(&state.rules.module.digest()) {
            let applied = instance.apply(&state.aggregate, &events);
            applied.map_err(|failure| Error::of_guest(stream, &failure))?;
        }
        state.version = last;
        Ok(())
    }

    /// Closes the state of a stream.
    fn forget(&mut self, stream: &StreamId) {
        let Some(state) = self.open.remove(stream) else {
            return;
        };
        let digest = state.rules.module.digest();
        if let Some(instance) = self.instances.get_mut(&digest) {
            instance.close(state.aggregate);
        }
        self.drop_spent(digest);
    }

    /// Drops an instance after a fault, together with all states that are open in it.
    fn drop_spent(&mut self, digest: Digest) {
        if self.instances.get(&digest).is_some_and(Instance::is_spent) {
            self.instances.remove(&digest);
            self.open
                .retain(|_, state| state.rules.module.digest() != digest);
        }
    }

    fn make_room(&mut self) {
        let is_large = |instance: &Instance| instance.memory_bytes() > GUEST_BYTES_MAX;
        if self.open.len() >= OPEN_MAX || self.instances.values().any(is_large) {
            self.open.clear();
            self.instances.clear();
        }
    }
}
