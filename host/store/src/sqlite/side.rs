//! The side connection, and the gate that all writers pass.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::temporary::Folder;

/// Admits one write transaction at a time, in the order of arrival. SQLite itself makes a
/// connection that finds it locked sleep and retry. Held over the whole transaction.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<()>>);

/// Permission to write.
pub type WritePermit = OwnedMutexGuard<()>;

impl Gate {
    /// Waits for permission to write. The caller must not hold it already.
    pub async fn pass(&self) -> WritePermit {
        Arc::clone(&self.0).lock_owned().await
    }
}

/// One connection next to the writer's, so that the writer of events is never held for long. It
/// does not wait for the disk: data that is written here may be lost in a power failure.
#[derive(Clone)]
pub struct Side {
    pub pool: SqlitePool,
    pub gate: Gate,
    /// Held as long as a table of the store is in use.
    _folder: Folder,
}

impl Side {
    /// A side connection that is made when it is needed.
    pub fn new(
        writing: &SqliteConnectOptions,
        synchronous: SqliteSynchronous,
        gate: Gate,
        folder: Folder,
    ) -> Self {
        let synchronous = match synchronous {
            SqliteSynchronous::Off => SqliteSynchronous::Off,
            _ => SqliteSynchronous::Normal,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(writing.clone().synchronous(synchronous));
        Self {
            pool,
            gate,
            _folder: folder,
        }
    }

    /// A side connection that writes nothing, for a store that is only read.
    pub fn reading(pool: SqlitePool) -> Self {
        Self {
            pool,
            gate: Gate::default(),
            _folder: Folder::permanent(),
        }
    }

    /// Resources that are closed with the store.
    pub fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }
}
