//! Keeps the other hosts of a store from writing during an import.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Handle, Message};
use crate::store::{self, Import};

/// The pause between two tries while other hosts are connected.
const PAUSE: Duration = Duration::from_millis(100);

/// Keeps the other hosts of the store from writing until it is dropped.
#[must_use]
pub struct Exclusion(Handle);

impl Handle {
    /// Keeps the other hosts of the store from writing until the result is dropped. Waits for those
    /// that are connected, up to [`hosts_wait_max`](super::Options::hosts_wait_max).
    ///
    /// # Errors
    /// [`store::Error::OthersConnected`] when other hosts stay connected, or when the store fails.
    pub async fn exclude_hosts(&self) -> store::Result<Exclusion> {
        // It exists before the first try, because this future may be dropped during one that
        // succeeds.
        let exclusion = Exclusion(self.clone());
        let begun = Instant::now();
        loop {
            match self.import(Import::Begin).await {
                Ok(()) => return Ok(exclusion),
                Err(store::Error::OthersConnected) if begun.elapsed() < self.hosts_wait_max => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Exclusion {
    fn drop(&mut self) {
        let (sender, _) = oneshot::channel();
        // The committer may have ended, and the connection with it.
        _ = self.0.queue.send(Message::Import(Import::End, sender));
    }
}
