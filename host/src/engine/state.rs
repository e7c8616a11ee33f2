//! The committed state of a stream, folded for whoever asks to see it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Shared};
use crate::deploy::Deployed;
use crate::model::{Digest, StreamId, Version};
use crate::runtime::{FoldEvent, Instance};
use crate::store::{LoadPage, LoadedEvent};

/// Instances kept for the next view.
const IDLE_MAX: usize = 4;
/// Guest memory from which an instance isn't kept.
const MEMORY_MARK: usize = 32 << 20;

/// The state of a stream as its decider renders it.
#[derive(Debug, Clone)]
pub struct StateView {
    /// The stream.
    pub stream: StreamId,
    /// The version that the state stands for.
    pub version: Version,
    /// The state: JSON text.
    pub state: String,
    /// The module that rendered it.
    pub module: Digest,
}

/// Folds streams apart from the workers: what is shown is committed.
pub struct States {
    shared: Arc<Shared>,
    idle: Mutex<Vec<Instance>>,
}

impl States {
    /// Views of the streams of a store.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            idle: Mutex::default(),
        }
    }

    /// Folds a stream and renders its state.
    pub async fn view(&self, stream: &StreamId) -> Result<StateView, Error> {
        let category = stream.category();
        let plan = self.shared.registry.plan();
        let unknown = || Error::UnknownCategory(category.to_owned());
        let deployed = Arc::clone(plan.decider(category).ok_or_else(unknown)?);
        let limit = self.shared.options.load_page;
        let first = self
            .shared
            .reader
            .load(stream, Version::NONE, limit)
            .await?;
        if first.head.is_none() {
            return Err(Error::StreamNotFound(stream.clone()));
        }
        let mut folding = Folding::open(self.instance(&deployed)?, deployed, stream)?;
        let mut page = first;
        loop {
            let is_last = page.is_last;
            // A page is folded without a pause in between.
            folding = tokio::task::spawn_blocking(move || folding.fold(&page))
                .await
                .map_err(|_| Error::Stopped)??;
            if is_last {
                break;
            }
            page = self
                .shared
                .reader
                .load(stream, folding.version, limit)
                .await?;
        }
        let (view, instance) = folding.view()?;
        self.keep(instance);
        Ok(view)
    }

    fn instance(&self, deployed: &Deployed) -> Result<Instance, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = deployed.module.digest();
        match idle
            .iter()
            .position(|instance| instance.module().digest() == digest)
        {
            Some(index) => Ok(idle.swap_remove(index)),
            None => Instance::new(&deployed.module).map_err(|fault| Error::Fault(Box::new(fault))),
        }
    }

    fn keep(&self, instance: Instance) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if instance.is_spent() || instance.memory_bytes() > MEMORY_MARK {
            return;
        }
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(instance);
    }
}

struct Folding {
    instance: Instance,
    aggregate: crate::runtime::Aggregate,
    deployed: Arc<Deployed>,
    stream: StreamId,
    version: Version,
}

impl Folding {
    fn open(
        mut instance: Instance,
        deployed: Arc<Deployed>,
        stream: &StreamId,
    ) -> Result<Self, Error> {
        let aggregate = instance
            .open(stream.key(), None)
            .map_err(|failure| Error::of_fold(stream, &failure))?;
        let stream = stream.clone();
        Ok(Self {
            instance,
            aggregate,
            deployed,
            stream,
            version: Version::NONE,
        })
    }

    fn fold(mut self, page: &LoadPage) -> Result<Self, Error> {
        let events: Vec<FoldEvent<'_>> = page.events.iter().map(fold_event).collect();
        self.instance
            .apply(&self.aggregate, &events)
            .map_err(|failure| Error::of_fold(&self.stream, &failure))?;
        self.version = page
            .events
            .last()
            .map_or(self.version, |event| event.version);
        Ok(self)
    }

    fn view(mut self) -> Result<(StateView, Instance), Error> {
        let view = self
            .instance
            .view(&self.aggregate)
            .map_err(|failure| Error::of_fold(&self.stream, &failure))?;
        self.instance.close(self.aggregate);
        let state = view.ok_or_else(|| Error::StateNotShown(self.stream.category().to_owned()))?;
        let module = self.deployed.module.digest();
        let shown = StateView {
            stream: self.stream,
            version: self.version,
            state,
            module,
        };
        Ok((shown, self.instance))
    }
}

/// A recorded event as a guest folds it.
pub fn fold_event(event: &LoadedEvent) -> FoldEvent<'_> {
    FoldEvent {
        name: &event.name,
        schema_version: event.schema_version,
        version: event.version,
        recorded_at: event.recorded_at,
        body: &event.body,
    }
}
