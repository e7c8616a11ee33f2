//! Keeps the WAL from growing under constant readers.
//!
//! SQLite moves the WAL into the file by itself, but writes it from its beginning again only at
//! a moment when nobody reads from it. Under constant readers that moment never comes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::cell::Cells;
use super::file;
use super::side::Gate;
use crate::Result;

/// How long it waits for readers. Nobody can commit meanwhile.
const BUSY: Duration = Duration::from_millis(250);
/// Longest pause after a reader was in the way for longer than that.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A WAL and its bound.
#[derive(Clone)]
pub struct Wal {
    path: PathBuf,
    pool: SqlitePool,
    gate: Gate,
    pages_max: u32,
    check_pause: Duration,
}

impl Wal {
    /// The WAL of a file, checked from time to time.
    pub fn new(
        (path, writing): (&Path, &SqliteConnectOptions),
        gate: Gate,
        (pages_max, check_pause): (u32, Duration),
    ) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(writing.clone().busy_timeout(BUSY));
        Self {
            path: file::wal(path),
            pool,
            gate,
            pages_max,
            check_pause,
        }
    }

    /// Resources that are closed with the store.
    pub fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// Keeps the WAL short until the store is closed.
    pub async fn keep_short(self) {
        let mut pause = self.check_pause;
        loop {
            tokio::select! {
                () = self.pool.close_event() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.shorten().await {
                Ok(true) => self.check_pause,
                Ok(false) => (pause * 2).min(PAUSE_MAX),
                Err(error) => {
                    tracing::debug!(%error, "the WAL was not checked");
                    self.check_pause
                }
            };
        }
    }

    /// Returns false when the WAL is too long because a reader has used it for a long time.
    async fn shorten(&self) -> Result<bool> {
        let bytes = std::fs::metadata(&self.path).map_or(0, |wal| wal.len());
        if bytes <= file::wal_bytes(self.pages_max as usize) as u64 {
            return Ok(true);
        }
        // This does most of the work while others commit. The file never gets shorter.
        let (_, pages) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)").await?;
        if pages <= i64::from(self.pages_max) {
            return Ok(true);
        }
        let _passed = self.gate.pass().await;
        let (is_busy, pages) = self.checkpoint("PRAGMA wal_checkpoint(RESTART)").await?;
        if is_busy {
            tracing::warn!(
                pages,
                "the WAL can't be written from its beginning: somebody reads from it for long"
            );
        }
        Ok(!is_busy)
    }

    /// Returns whether a reader was in the way, and how many pages the WAL has.
    async fn checkpoint(&self, sql: &'static str) -> Result<(bool, i64)> {
        let row = sqlx::query(sql).fetch_one(&self.pool).await;
        let row = row?;
        Ok((row.cell::<i64>(0)? != 0, row.cell(1)?))
    }
}
