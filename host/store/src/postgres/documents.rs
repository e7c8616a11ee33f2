//! Documents and their index entries, written and read on a given connection.

use std::sync::Arc;

use super::cell::Cells;
use super::connection::Connection;
use super::error::Failure;
use super::tables::signed;
use crate::{BuildId, DocumentWrite, IndexEntry, StoredDocument};

/// About the number of bytes for one statement. More bytes are written by several statements.
const PAYLOAD_MAX: usize = 8 << 20;

const WRITE: &str = "INSERT INTO documents (build, key, document, change, digest) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[]) \
    ON CONFLICT ON CONSTRAINT document \
    DO UPDATE SET document = excluded.document, change = excluded.change, \
    digest = excluded.digest";
const REMOVE: &str = "DELETE FROM document_entries AS e \
    USING unnest($1::bigint[], $2::int[], $3::bytea[], $4::text[]) AS u (build, number, value, key) \
    WHERE e.build = u.build AND e.number = u.number AND e.value = u.value AND e.key = u.key";
const ADD: &str = "INSERT INTO document_entries (build, number, value, key) \
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[], $4::text[]) \
    ON CONFLICT ON CONSTRAINT document_entry DO NOTHING";
/// The limit keeps the planner from reading a table to find a few of its rows. A row with change 0
/// is not a document yet: `lock_documents` has inserted it.
const READ: &str = "SELECT u.place, d.document, d.change \
    FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS u (build, key, place) \
    CROSS JOIN LATERAL (\
        SELECT document, change FROM documents \
        WHERE build = u.build AND key = u.key AND change > 0 LIMIT 1\
    ) AS d";

/// Entries as columns.
#[derive(Default)]
struct Entries<'a> {
    builds: Vec<i64>,
    numbers: Vec<i32>,
    values: Vec<&'a [u8]>,
    keys: Vec<&'a str>,
}

impl<'a> Entries<'a> {
    fn push(&mut self, write: &'a DocumentWrite, (number, value): &'a IndexEntry) {
        self.builds.push(signed(write.build.0));
        self.numbers.push(i32::from(*number));
        self.values.push(value);
        self.keys.push(&write.key);
    }

    async fn execute(self, connection: &mut Connection, sql: &'static str) -> sqlx::Result<()> {
        if self.builds.is_empty() {
            return Ok(());
        }
        let done = sqlx::query(sql)
            .bind(self.builds)
            .bind(self.numbers)
            .bind(self.values)
            .bind(self.keys)
            .execute(connection)
            .await;
        done.map(|_| ())
    }
}

/// Writes documents, each once, and their entries, in the transaction of the caller.
pub async fn write(connection: &mut Connection, writes: &[DocumentWrite]) -> sqlx::Result<()> {
    let mut rest = writes;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|write| {
                let fits = bytes < PAYLOAD_MAX;
                bytes += write.document.as_deref().map_or(0, str::len);
                fits
            })
            .count();
        let (part, tail) = rest.split_at(count);
        write_part(connection, part).await?;
        rest = tail;
    }
    Ok(())
}

async fn write_part(connection: &mut Connection, writes: &[DocumentWrite]) -> sqlx::Result<()> {
    let builds: Vec<i64> = writes.iter().map(|write| signed(write.build.0)).collect();
    let keys: Vec<&str> = writes.iter().map(|write| &*write.key).collect();
    let texts: Vec<Option<&str>> = writes
        .iter()
        .map(|write| write.document.as_deref())
        .collect();
    let changes: Vec<i64> = writes.iter().map(|write| signed(write.change)).collect();
    let digests: Vec<[u8; 32]> = writes.iter().map(|write| write.digest().0).collect();
    let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest[..]).collect();
    sqlx::query(WRITE)
        .bind(builds)
        .bind(keys)
        .bind(texts)
        .bind(changes)
        .bind(digests)
        .execute(&mut *connection)
        .await?;
    let (mut removed, mut added) = (Entries::default(), Entries::default());
    for write in writes {
        for entry in &write.removed {
            removed.push(write, entry);
        }
        for entry in &write.added {
            added.push(write, entry);
        }
    }
    removed.execute(connection, REMOVE).await?;
    added.execute(connection, ADD).await
}

/// Documents by build and key: result i belongs to key i; none where there never was one.
pub async fn read(
    connection: &mut Connection,
    keys: &[(BuildId, Arc<str>)],
) -> Result<Vec<Option<StoredDocument>>, Failure> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let builds: Vec<i64> = keys.iter().map(|(build, _)| signed(build.0)).collect();
    // PostgreSQL stores no text with a NUL in it, so no document has such a key.
    let texts: Vec<Option<&str>> = keys
        .iter()
        .map(|(_, key)| (!key.contains('\0')).then_some(&**key))
        .collect();
    let rows = sqlx::query(READ)
        .bind(builds)
        .bind(texts)
        .fetch_all(connection)
        .await?;
    for row in rows {
        let place = usize::try_from(row.number(0)?.saturating_sub(1)).unwrap_or(usize::MAX);
        if let (Some((_, key)), Some(found)) = (keys.get(place), found.get_mut(place)) {
            *found = Some(StoredDocument {
                key: Arc::clone(key),
                document: row.cell::<Option<&str>>(1)?.map(Arc::from),
                change: row.number(2)?,
            });
        }
    }
    Ok(found)
}
