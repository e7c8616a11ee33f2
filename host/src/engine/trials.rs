//! Calls of guests for previews and direct appends, outside the workers.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Error;
use super::brakes::Brakes;
use crate::fold;
use crate::model::{Digest, StreamId};

/// Limits the number of such calls, and pauses modules whose calls use up their fuel or time.
/// Guests use memory and processors, and there may be many callers.
pub struct Trials {
    previews: Semaphore,
    /// Of their own, so that previews never keep out appends.
    appends: Semaphore,
    brakes: Mutex<Brakes>,
}

impl Trials {
    pub fn new(max: usize) -> Self {
        Self {
            previews: Semaphore::new(max),
            appends: Semaphore::new(max),
            brakes: Mutex::default(),
        }
    }

    /// Waits until a preview may call guests.
    pub async fn preview(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.previews.acquire().await.map_err(|_| Error::Stopped)
    }

    /// Waits until an append may call guests.
    pub async fn append(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.appends.acquire().await.map_err(|_| Error::Stopped)
    }

    /// Calls a module for a stream, unless the module is paused.
    pub async fn call<T>(
        &self,
        (module, stream): (Digest, &StreamId),
        call: impl Future<Output = Result<T, fold::Error>>,
    ) -> Result<T, fold::Error> {
        let brakes = || self.brakes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resting) = brakes().rests(module, stream, Instant::now()) {
            return Err(fold::Error::of_guest(stream, &resting));
        }
        let called = call.await;
        if let Err(fold::Error::Fault(fault)) = &called {
            brakes().failed(fault, stream);
        }
        called
    }
}
