use std::sync::Arc;

use super::{Error, Rules, Start};
use crate::model::{Annotations, CommandRecord, NewEvent, StreamId, Timestamp, Version};
use crate::runtime::{Aggregate, Decision, Failure, FoldEvent, Instance, Snapshot};
use crate::store::LoadedEvent;
use crate::upcast::{Liftable, Lifter};

/// The state of a stream in a guest, at some version.
pub struct Open {
    pub(super) instance: Instance,
    aggregate: Aggregate,
    pub(super) rules: Arc<Rules>,
    pub(super) stream: StreamId,
    /// The version of the state.
    pub version: Version,
    /// Time at which the last folded event was recorded; 0 if there was none.
    pub recorded_at: Timestamp,
}

impl Open {
    /// Opens the state of a stream from a snapshot, or before its first event.
    ///
    /// # Errors
    /// When the guest faults or can't read the snapshot.
    pub(super) fn new(
        rules: &Arc<Rules>,
        instance: Option<Instance>,
        stream: &StreamId,
        start: Option<&Start>,
    ) -> Result<Self, Failure> {
        let mut instance = match instance {
            Some(instance) => instance,
            None => Instance::new(&rules.module)?,
        };
        let aggregate = instance.open(stream.key(), start.map(|start| &start.snapshot))?;
        Ok(Self {
            instance,
            aggregate,
            rules: Arc::clone(rules),
            stream: stream.clone(),
            version: start.map_or(Version::NONE, |start| start.version),
            recorded_at: Timestamp(0),
        })
    }

    /// Folds the next events of the stream.
    pub(super) fn take(&mut self, lifter: &Lifter, events: Vec<LoadedEvent>) -> Result<(), Error> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let (version, recorded_at) = (last.version, last.recorded_at);
        let lifted = lifter.lift(&self.rules.lift, events);
        let lifted = lifted.map_err(|error| Error::of_lift(&self.stream, error))?;
        let events: Vec<FoldEvent<'_>> = lifted.iter().map(Liftable::fold).collect();
        let applied = self.instance.apply(&self.aggregate, &events);
        applied.map_err(|failure| Error::of_guest(&self.stream, &failure))?;
        (self.version, self.recorded_at) = (version, recorded_at);
        Ok(())
    }

    /// Folds an event that is not stored yet as the next one of the stream, exactly as it will be
    /// folded once it is stored. After an error the state is undefined.
    pub(super) fn take_new(
        &mut self,
        lifter: &Lifter,
        event: &NewEvent,
        recorded_at: Timestamp,
    ) -> Result<(), Error> {
        let event = LoadedEvent {
            name: event.name.clone(),
            schema_version: event.schema_version,
            version: self.version.next(),
            recorded_at,
            body: event.body.clone(),
            command_id: None,
        };
        self.take(lifter, vec![event])
    }

    /// Decides a command on the state, which does not change.
    ///
    /// # Errors
    /// When the guest faults.
    pub(super) fn decide(
        &mut self,
        command: &CommandRecord,
        annotations: &Annotations,
    ) -> Result<Decision, Error> {
        let decided = self.instance.decide(&self.aggregate, command, annotations);
        decided.map_err(|failure| Error::of_guest(&self.stream, &failure))
    }

    /// Returns the state for people and programs. `None` if the decider does not show it.
    ///
    /// # Errors
    /// When the guest faults.
    pub fn view(&mut self) -> Result<Option<String>, Error> {
        let view = self.instance.view(&self.aggregate);
        view.map_err(|failure| Error::of_guest(&self.stream, &failure))
    }

    /// Returns a snapshot of the state. `None` if the guest has no snapshots.
    ///
    /// # Errors
    /// When the guest faults.
    pub fn snapshot(&mut self) -> Result<Option<Snapshot>, Error> {
        let snapshot = self.instance.snapshot(&self.aggregate);
        snapshot.map_err(|failure| Error::of_guest(&self.stream, &failure))
    }

    /// The rules that folded the state.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Closes the aggregate, which returns its memory to the guest.
    pub(super) fn close(mut self) -> Instance {
        self.instance.close(self.aggregate);
        self.instance
    }
}
