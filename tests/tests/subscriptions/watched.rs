//! A store that counts reads of the log and fails them on demand, and whose leases are lost on
//! demand.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quipu::model::{Position, StreamId, Version};
use quipu::store::{
    Checkpoint, CheckpointStore, Claim, Direction, Error, EventReader, Filter, Head, LoadPage,
    LogPage, Result, Store, StoredPage, StreamFilter, StreamPage, StreamsPage,
};

use tokio::sync::Semaphore;

/// Watches a store.
#[derive(Clone, Default)]
pub struct Watch(Arc<Watched>);

#[derive(Default)]
struct Watched {
    reads: AtomicUsize,
    failure: Mutex<Option<Error>>,
    is_lost: AtomicBool,
    stored: AtomicU64,
    /// A page that was read is passed on only with a permit.
    gate: Mutex<Option<Arc<Semaphore>>>,
    held: AtomicUsize,
}

impl Watch {
    /// Wraps a store's readers and checkpoints.
    pub fn before(store: Store) -> (Store, Self) {
        let watch = Self::default();
        let reader = Arc::new(Reader(store.reader, watch.clone()));
        let checkpoints = Arc::new(Checkpoints(store.checkpoints, watch.clone()));
        let store = Store {
            reader,
            checkpoints,
            ..store
        };
        (store, watch)
    }

    /// The number of pages of the log that were read.
    pub fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// From now on, reads of the log fail, also those that have begun, or no longer fail.
    pub fn fail(&self, error: Option<Error>) {
        *self.0.failure.lock().unwrap() = error;
    }

    /// From now on, pages of streams and filtered pages of the log are read, and then held until
    /// the gate gives a permit for each.
    pub fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    /// The number of pages that were read and held.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        let gate = self.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            self.0.held.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
        }
    }

    /// The last checkpoint that was stored.
    pub fn stored(&self) -> Position {
        Position(self.0.stored.load(Ordering::SeqCst))
    }

    /// The next renewal of a lease fails because another has claimed the name.
    pub fn lose_a_lease(&self) {
        self.0.is_lost.store(true, Ordering::SeqCst);
    }
}

struct Reader(Arc<dyn EventReader>, Watch);

#[async_trait]
impl EventReader for Reader {
    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        self.1.0.reads.fetch_add(1, Ordering::SeqCst);
        let page = self.0.read_log(after, direction, limit, filter).await;
        if let Some(error) = &*self.1.0.failure.lock().unwrap() {
            return Err(error.clone());
        }
        // The feed reads all, and is never held.
        if *filter != Filter::default() {
            self.1.pass().await;
        }
        page
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        self.0.head(stream).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>> {
        let page = self.0.read_stream(stream, from, direction, limit).await;
        self.1.pass().await;
        page
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        self.0.load(stream, after, limit).await
    }

    async fn log_head(&self) -> Result<Position> {
        self.0.log_head().await
    }

    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        self.0.streams(after, limit, filter).await
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        self.0.read_stored(after, limit).await
    }
}

struct Checkpoints(Arc<dyn CheckpointStore>, Watch);

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>> {
        self.0.claim(name, lease).await
    }

    async fn advance(
        &self,
        name: &str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> Result<Option<Position>> {
        if !self.1.0.is_lost.swap(false, Ordering::SeqCst) {
            let is_held = self.0.advance(name, token, position, lease).await?;
            self.1.0.stored.store(position.0, Ordering::SeqCst);
            return Ok(is_held);
        }
        self.0.release(name, token).await?;
        Ok(None)
    }

    async fn release(&self, name: &str, token: u64) -> Result<()> {
        self.0.release(name, token).await
    }

    async fn create(&self, name: &str, position: Position) -> Result<bool> {
        self.0.create(name, position).await
    }

    async fn seek(&self, name: &str, position: Position) -> Result<bool> {
        self.0.seek(name, position).await
    }

    async fn forget(&self, name: &str) -> Result<bool> {
        self.0.forget(name).await
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        self.0.checkpoint(name).await
    }

    async fn checkpoints(&self, between: (&str, &str), limit: usize) -> Result<Vec<Checkpoint>> {
        self.0.checkpoints(between, limit).await
    }
}
