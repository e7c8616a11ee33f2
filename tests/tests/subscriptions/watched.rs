//! A store whose reads of the log are counted, and fail on demand, and whose leases are
//! lost on demand.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
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
    /// What has been read is handed over with a permit only.
    gate: Mutex<Option<Arc<Semaphore>>>,
    held: AtomicUsize,
}

impl Watch {
    /// Puts itself before a store's readers and checkpoints.
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

    /// Pages of the log that were read.
    pub fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// From now on, reads of the log fail, or do not.
    pub fn fail(&self, error: Option<Error>) {
        *self.0.failure.lock().unwrap() = error;
    }

    /// From now on, pages of streams and filtered pages of the log are read, and then
    /// held until the gate gives a permit for each.
    pub fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    /// Pages that were read and held.
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

    /// The place that was stored last.
    pub fn stored(&self) -> Position {
        Position(self.0.stored.load(Ordering::SeqCst))
    }

    /// The next sign of life is told that another has claimed the name.
    pub fn lose_a_lease(&self) {
        self.0.is_lost.store(true, Ordering::SeqCst);
    }
}

struct Reader(Arc<dyn EventReader>, Watch);

impl EventReader for Reader {
    fn read_log<'a>(
        &'a self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> BoxFuture<'a, Result<LogPage>> {
        self.1.0.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = &*self.1.0.failure.lock().unwrap() {
            return ready(Err(error.clone())).boxed();
        }
        let reading = self.0.read_log(after, direction, limit, filter);
        // The feed reads all, and is never held.
        if *filter == Filter::default() {
            return reading;
        }
        async move {
            let page = reading.await;
            self.1.pass().await;
            page
        }
        .boxed()
    }

    fn head<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Head>>> {
        self.0.head(stream)
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<StreamPage>>> {
        let reading = self.0.read_stream(stream, from, direction, limit);
        async move {
            let page = reading.await;
            self.1.pass().await;
            page
        }
        .boxed()
    }

    fn load<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<LoadPage>> {
        self.0.load(stream, after, limit)
    }

    fn log_head(&self) -> BoxFuture<'_, Result<Position>> {
        self.0.log_head()
    }

    fn streams<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
        filter: &'a StreamFilter,
    ) -> BoxFuture<'a, Result<StreamsPage>> {
        self.0.streams(after, limit, filter)
    }

    fn read_stored(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<StoredPage>> {
        self.0.read_stored(after, limit)
    }
}

struct Checkpoints(Arc<dyn CheckpointStore>, Watch);

impl CheckpointStore for Checkpoints {
    fn claim<'a>(&'a self, name: &'a str, lease: Duration) -> BoxFuture<'a, Result<Option<Claim>>> {
        self.0.claim(name, lease)
    }

    fn advance<'a>(
        &'a self,
        name: &'a str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Option<Position>>> {
        if !self.1.0.is_lost.swap(false, Ordering::SeqCst) {
            return async move {
                let is_held = self.0.advance(name, token, position, lease).await?;
                self.1.0.stored.store(position.0, Ordering::SeqCst);
                Ok(is_held)
            }
            .boxed();
        }
        async move {
            self.0.release(name, token).await?;
            Ok(None)
        }
        .boxed()
    }

    fn release<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<()>> {
        self.0.release(name, token)
    }

    fn create<'a>(&'a self, name: &'a str, position: Position) -> BoxFuture<'a, Result<bool>> {
        self.0.create(name, position)
    }

    fn seek<'a>(&'a self, name: &'a str, position: Position) -> BoxFuture<'a, Result<bool>> {
        self.0.seek(name, position)
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        self.0.forget(name)
    }

    fn checkpoint<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>>> {
        self.0.checkpoint(name)
    }

    fn checkpoints<'a>(
        &'a self,
        between: (&'a str, &'a str),
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>>> {
        self.0.checkpoints(between, limit)
    }
}
