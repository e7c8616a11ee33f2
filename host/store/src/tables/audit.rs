//! The audit.

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connection, Connections, Row};
use super::signed;
use crate::{
    AUDIT_PAGE_MAX, AuditEntry, AuditRecord, AuditStore, BegunEntry, Chain, Error, Result,
};
use quipu_model::Timestamp;

const LAST: &str = "SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1";
const APPEND: &str = "INSERT INTO audit \
         (number, at, principal, origin, operation, object, result, reason, digest) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const RECORDS: &str = "SELECT number, at, principal, origin, operation, object, result, reason, \
         digest \
     FROM audit WHERE number > $1 ORDER BY number LIMIT $2";
const BEGIN: &str = "INSERT INTO audit_begun (at, principal, origin, operation, object, reason) \
     VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
const BEGUN: &str = "SELECT id, at, principal, origin, operation, object, '' AS result, reason \
     FROM audit_begun WHERE at < $1 ORDER BY id LIMIT $2";
const END: &str = "DELETE FROM audit_begun WHERE id = $1";

/// Each append waits for the disk.
pub struct Audit(pub Connections);

/// The end of the chain.
#[derive(Default)]
struct Last {
    number: u64,
    digest: [u8; 32],
}

fn digest(bytes: &[u8]) -> Result<[u8; 32]> {
    let digest = bytes.try_into();
    digest.map_err(|_| Error::Damaged("a digest of the audit does not have 32 bytes".to_owned()))
}

from_row!(Last, |row| Ok(Last {
    number: row.number("number")?,
    digest: digest(row.cell("digest")?)?,
}));

struct BegunId(u64);

from_row!(BegunId, |row| Ok(BegunId(row.number("id")?)));

from_row!(AuditRecord, |row| Ok(AuditRecord {
    number: row.number("number")?,
    entry: entry(row)?,
    digest: digest(row.cell("digest")?)?,
}));

from_row!(BegunEntry, |row| Ok(BegunEntry {
    id: row.number("id")?,
    entry: entry(row)?,
}));

fn entry(row: &Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        at: Timestamp(row.number("at")?),
        principal: row.maybe_text("principal")?,
        origin: row.maybe_text("origin")?,
        operation: row.cell::<&str>("operation")?.into(),
        object: row.cell::<&str>("object")?.into(),
        result: row.cell::<&str>("result")?.into(),
        reason: row.maybe_text("reason")?,
    })
}

/// Appends an entry to the chain, which is locked.
async fn append(writing: &mut Connection, entry: &AuditEntry, digest: Chain) -> Result<()> {
    let last: Option<Last> = sqlx::query_as(LAST).fetch_optional(&mut *writing).await?;
    let last = last.unwrap_or_default();
    let number = last.number + 1;
    let digest = digest(&last.digest, number, entry);
    let append = sqlx::query(APPEND)
        .bind(signed(number))
        .bind(signed(entry.at.0))
        .bind(entry.principal.as_deref())
        .bind(entry.origin.as_deref())
        .bind(&*entry.operation)
        .bind(&*entry.object)
        .bind(&*entry.result)
        .bind(entry.reason.as_deref())
        .bind(&digest[..]);
    append.execute(writing).await?;
    Ok(())
}

/// Ends an operation. Returns false when it has ended before.
async fn end(writing: &mut Connection, begun: u64) -> Result<bool> {
    let ended = sqlx::query(END).bind(signed(begun)).execute(writing);
    Ok(ended.await?.rows_affected() > 0)
}

#[async_trait]
impl AuditStore for Audit {
    async fn append(&self, entry: &AuditEntry, begun: Option<u64>, digest: Chain) -> Result<()> {
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_audit(&mut writing).await?;
        append(&mut writing, entry, digest).await?;
        if let Some(begun) = begun {
            end(&mut writing, begun).await?;
        }
        writing.commit().await?;
        Ok(())
    }

    async fn begin(&self, entry: &AuditEntry) -> Result<u64> {
        let mut writing = self.0.begin_durable().await?;
        let begin = sqlx::query_as(BEGIN)
            .bind(signed(entry.at.0))
            .bind(entry.principal.as_deref())
            .bind(entry.origin.as_deref())
            .bind(&*entry.operation)
            .bind(&*entry.object)
            .bind(entry.reason.as_deref());
        let BegunId(id) = begin.fetch_one(&mut *writing).await?;
        writing.commit().await?;
        Ok(id)
    }

    async fn begun(&self, before: Timestamp) -> Result<Vec<BegunEntry>> {
        let begun = sqlx::query_as(BEGUN)
            .bind(signed(before.0))
            .bind(signed(AUDIT_PAGE_MAX as u64));
        Ok(begun.fetch_all(self.0.pool()).await?)
    }

    async fn settle(&self, entry: &AuditEntry, begun: u64, digest: Chain) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_audit(&mut writing).await?;
        if !end(&mut writing, begun).await? {
            return Ok(false);
        }
        append(&mut writing, entry, digest).await?;
        writing.commit().await?;
        Ok(true)
    }

    async fn withdraw(&self, begun: u64) -> Result<()> {
        let mut writing = self.0.begin_durable().await?;
        end(&mut writing, begun).await?;
        writing.commit().await?;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        dialect::IS_SHARED
    }

    async fn records(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>> {
        let records = sqlx::query_as(RECORDS)
            .bind(signed(after))
            .bind(signed(limit.min(AUDIT_PAGE_MAX) as u64));
        Ok(records.fetch_all(self.0.pool()).await?)
    }

    async fn last(&self) -> Result<u64> {
        let last: Option<Last> = sqlx::query_as(LAST).fetch_optional(self.0.pool()).await?;
        Ok(last.map_or(0, |last| last.number))
    }
}
