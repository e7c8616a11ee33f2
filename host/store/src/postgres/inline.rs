//! Documents of inline projections, locked within the transaction of a batch.

use std::sync::Arc;

use async_trait::async_trait;

use super::cell::Cells;
use super::connection::Connection;
use super::error::{Failure, WriteResult};
use super::tables::signed;
use crate::projected::Documents;
use crate::{BuildId, StoredDocument};
use quipu_model::Position;

const LOCK: &str = "SELECT place, document, change FROM lock_documents($1, $2)";
const DRAW: &str = "SELECT draw_positions($1, $2)";

/// A transaction that locks documents, then draws positions.
pub struct Locks<'c> {
    pub connection: &'c mut Connection,
    pub namespace: i64,
}

impl Locks<'_> {
    async fn lock(
        &mut self,
        documents: &[(BuildId, Arc<str>)],
    ) -> WriteResult<Vec<Option<StoredDocument>>> {
        let mut found = vec![None; documents.len()];
        if documents.is_empty() {
            return Ok(found);
        }
        let builds: Vec<i64> = documents.iter().map(|it| signed(it.0.0)).collect();
        let keys: Vec<&str> = documents.iter().map(|it| &*it.1).collect();
        let rows = sqlx::query(LOCK)
            .bind(builds)
            .bind(keys)
            .fetch_all(&mut *self.connection)
            .await?;
        for row in &rows {
            let change = row.number(2)?;
            let index = usize::try_from(row.number(0)?.saturating_sub(1)).unwrap_or(usize::MAX);
            // A row that was inserted only to be locked has never been a document.
            if let (Some((_, key)), Some(found), 1..) =
                (documents.get(index), found.get_mut(index), change)
            {
                *found = Some(StoredDocument {
                    key: Arc::clone(key),
                    document: row.cell::<Option<&str>>(1)?.map(Arc::from),
                    change,
                });
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Documents for Locks<'_> {
    type Error = Failure;

    async fn read(
        &mut self,
        documents: &[(BuildId, Arc<str>)],
    ) -> WriteResult<Vec<Option<StoredDocument>>> {
        self.lock(documents).await
    }

    async fn draw(&mut self, _next: Position, events: u64) -> WriteResult<Vec<Position>> {
        let row = sqlx::query(DRAW)
            .bind(self.namespace)
            .bind(signed(events))
            .fetch_one(&mut *self.connection)
            .await?;
        let drawn: Vec<i64> = row.cell(0)?;
        let positions = drawn.into_iter().map(i64::unsigned_abs);
        Ok(positions.map(Position).collect())
    }
}
