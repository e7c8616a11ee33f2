use std::sync::Arc;

use quipu::model::{RecordedEvent, StreamId};
use quipu::runtime::{Aggregate, Failure, FoldEvent, Instance, Module};
use quipu::upcast::{Lift, Lifter};

use super::play::Calls;
use crate::Components;

/// A stream and the state that is folded from it.
pub(super) struct Stream {
    pub instance: Instance,
    pub aggregate: Option<Aggregate>,
    lift: Lift,
    pub key: String,
    /// Number of stored events that are folded.
    pub folded: usize,
    /// The events that are folded, lifted.
    pub lifted: Vec<RecordedEvent>,
}

impl Stream {
    pub fn open(
        module: &Arc<Module>,
        id: &StreamId,
        components: &Components,
    ) -> Result<Self, String> {
        let mut instance = Instance::new(module).map_err(|fault| fault.to_string())?;
        let aggregate = instance.open(id.key(), None);
        Ok(Self {
            aggregate: Some(aggregate.map_err(|error| error.to_string())?),
            instance,
            lift: components.lift_for_decider(id.category()),
            key: id.key().to_owned(),
            folded: 0,
            lifted: Vec::new(),
        })
    }

    /// Folds stored events, in few or many calls.
    pub fn fold(
        &mut self,
        stored: Vec<RecordedEvent>,
        lifter: &Lifter,
        calls: Calls,
    ) -> Result<(), String> {
        self.folded += stored.len();
        let lifted = lifter.lift(&self.lift, stored);
        let lifted = lifted.map_err(|error| error.to_string())?;
        let Some(aggregate) = &self.aggregate else {
            return Ok(());
        };
        let events: Vec<FoldEvent<'_>> = lifted.iter().map(FoldEvent::from).collect();
        let folded = match calls {
            Calls::Few => self.instance.apply(aggregate, &events),
            Calls::Many => self.instance.apply_each(aggregate, &events),
        };
        folded.map_err(|error| error.to_string())?;
        self.lifted.extend(lifted);
        match calls {
            Calls::Few => Ok(()),
            Calls::Many => self.through_snapshot(),
        }
    }

    /// Replaces the aggregate by one that is opened from its snapshot, in a new instance.
    fn through_snapshot(&mut self) -> Result<(), String> {
        let failed = |error: Failure| error.to_string();
        let Some(aggregate) = &self.aggregate else {
            return Ok(());
        };
        let Some(snapshot) = self.instance.snapshot(aggregate).map_err(failed)? else {
            return Ok(());
        };
        let module = Arc::clone(self.instance.module());
        let mut instance = Instance::new(&module).map_err(|fault| fault.to_string())?;
        let aggregate = instance.open(&self.key, Some(&snapshot)).map_err(failed)?;
        (self.instance, self.aggregate) = (instance, Some(aggregate));
        Ok(())
    }

    /// The state as the decider shows it.
    pub fn state(&mut self) -> Result<Option<String>, String> {
        let Some(aggregate) = &self.aggregate else {
            return Ok(None);
        };
        let view = self.instance.view(aggregate);
        view.map_err(|error| error.to_string())
    }
}
