//! The committed state of a stream, folded for whoever asks to see it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Shared};
use crate::deploy::Deployed;
use crate::model::{Digest, StreamId, Version};
use crate::runtime::{Aggregate, FoldEvent, Instance};
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
        let reader = &self.shared.reader;
        let mut page = reader.load(stream, Version::NONE, limit).await?;
        if page.head.is_none() {
            return Err(Error::StreamNotFound(stream.clone()));
        }
        let mut folding = Folding::Begin(self.idle(&deployed), deployed, stream.clone());
        loop {
            // Everything that runs the guest runs off the reactor.
            let folded = tokio::task::spawn_blocking(move || folding.take(&page)).await;
            match folded.map_err(|_| Error::Stopped)?? {
                Folded::All(view, instance) => {
                    self.keep(*instance);
                    return Ok(view);
                }
                Folded::Until(version, open) => {
                    page = reader.load(stream, version, limit).await?;
                    folding = Folding::Open(open);
                }
            }
        }
    }

    /// An instance of this module that nobody uses.
    fn idle(&self, deployed: &Deployed) -> Option<Box<Instance>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = deployed.module.digest();
        let index = idle
            .iter()
            .position(|instance| instance.module().digest() == digest)?;
        Some(Box::new(idle.swap_remove(index)))
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

/// How far a stream has been folded.
enum Folding {
    /// Not at all.
    Begin(Option<Box<Instance>>, Arc<Deployed>, StreamId),
    /// Up to the last page.
    Open(Box<Open>),
}

/// What became of a page.
enum Folded {
    /// It was the last one.
    All(StateView, Box<Instance>),
    /// More follow behind this version.
    Until(Version, Box<Open>),
}

/// A state in a guest.
struct Open {
    instance: Instance,
    aggregate: Aggregate,
    stream: StreamId,
    version: Version,
}

impl Folding {
    fn take(self, page: &LoadPage) -> Result<Folded, Error> {
        let mut open = match self {
            Self::Open(open) => open,
            Self::Begin(idle, deployed, stream) => {
                let mut instance = match idle {
                    Some(idle) => *idle,
                    None => Instance::new(&deployed.module)
                        .map_err(|fault| Error::Fault(Box::new(fault)))?,
                };
                let aggregate = instance
                    .open(stream.key(), None)
                    .map_err(|failure| Error::of_fold(&stream, &failure))?;
                Box::new(Open {
                    instance,
                    aggregate,
                    stream,
                    version: Version::NONE,
                })
            }
        };
        let events: Vec<FoldEvent<'_>> = page.events.iter().map(fold_event).collect();
        open.instance
            .apply(&open.aggregate, &events)
            .map_err(|failure| Error::of_fold(&open.stream, &failure))?;
        if let Some(last) = page.events.last() {
            open.version = last.version;
        }
        if page.is_last {
            open.view()
        } else {
            Ok(Folded::Until(open.version, open))
        }
    }
}

impl Open {
    fn view(mut self) -> Result<Folded, Error> {
        let view = self
            .instance
            .view(&self.aggregate)
            .map_err(|failure| Error::of_fold(&self.stream, &failure))?;
        self.instance.close(self.aggregate);
        let state = view.ok_or_else(|| Error::StateNotShown(self.stream.category().to_owned()))?;
        let shown = StateView {
            stream: self.stream,
            version: self.version,
            state,
            module: self.instance.module().digest(),
        };
        Ok(Folded::All(shown, Box::new(self.instance)))
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
