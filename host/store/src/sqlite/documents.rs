//! Documents and their index entries, written and read on a given connection.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;

use super::cell::Cells;
use super::encode::{names, number};
use crate::{BuildId, DocumentWrite, IndexEntry, Result, StoredDocument};

/// About the number of bytes for one statement. More bytes are written by several statements.
const PAYLOAD_MAX: usize = 8 << 20;

/// Cuts a number out of ?2: of the row `key`, which has 6 of them.
macro_rules! cut {
    ($from:literal) => {
        concat!("CAST(substr(?2, key * 96 + ", $from, ", 16) AS INTEGER)")
    };
}

/// Rows of entries, of which the numbers are index, value's place and length, key's.
macro_rules! entries {
    () => {
        concat!(
            "SELECT value, ",
            cut!("1"),
            ", substr(?3, ",
            cut!("17"),
            ", ",
            cut!("33"),
            "), CAST(substr(?3, ",
            cut!("49"),
            ", ",
            cut!("65"),
            ") AS TEXT) FROM json_each(?1)"
        )
    };
}

/// Numbers are key's place and length, document's place and length, change, the digest's place.
const WRITE: &str = concat!(
    "INSERT INTO documents (build, key, document, change, digest) \
     SELECT value, CAST(substr(?3, ",
    cut!("1"),
    ", ",
    cut!("17"),
    ") AS TEXT), CAST(substr(?3, ",
    cut!("33"),
    ", nullif(",
    cut!("49"),
    ", 0)) AS TEXT), ",
    cut!("65"),
    ", substr(?3, ",
    cut!("81"),
    ", 32) FROM json_each(?1) WHERE true \
     ON CONFLICT (build, key) DO UPDATE SET document = excluded.document, \
     change = excluded.change, digest = excluded.digest"
);
const REMOVE: &str = concat!(
    "INSERT INTO removed_entries (build, number, value, key) ",
    entries!()
);
const ADD: &str = concat!(
    "INSERT OR IGNORE INTO document_entries (build, number, value, key) ",
    entries!()
);
/// ?1: a JSON array of keys. ?2: the build of each.
const READ: &str = "SELECT k.key, d.document, d.change \
     FROM json_each(?1) AS k CROSS JOIN documents AS d \
     ON d.build = CAST(substr(?2, k.key * 16 + 1, 16) AS INTEGER) AND d.key = k.value";

/// Rows for one statement: their builds as a JSON array, and 6 numbers for each.
#[derive(Default)]
struct Rows {
    builds: String,
    numbers: Vec<u8>,
}

impl Rows {
    fn push(&mut self, build: BuildId, numbers: [usize; 6]) {
        self.builds
            .push(if self.builds.is_empty() { '[' } else { ',' });
        // Writing into a String can't fail.
        _ = write!(self.builds, "{}", build.0);
        for value in numbers {
            number(&mut self.numbers, value as u64);
        }
    }

    async fn execute(
        mut self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        payload: &[u8],
    ) -> Result<()> {
        if self.builds.is_empty() {
            return Ok(());
        }
        self.builds.push(']');
        let done = sqlx::query(sql)
            .bind(self.builds)
            .bind(self.numbers)
            .bind(payload)
            .execute(connection)
            .await;
        done?;
        Ok(())
    }
}

/// The parameters of a few statements.
struct Batch {
    documents: Rows,
    removed: Rows,
    added: Rows,
    payload: Vec<u8>,
}

impl Batch {
    fn new() -> Self {
        Self {
            documents: Rows::default(),
            removed: Rows::default(),
            added: Rows::default(),
            // SQLite cuts NULL out of nothing, where it should be an empty text.
            payload: vec![0],
        }
    }

    /// Adds bytes: their place, from 1, and length.
    fn part(&mut self, bytes: &[u8]) -> (usize, usize) {
        let place = self.payload.len() + 1;
        self.payload.extend_from_slice(bytes);
        (place, bytes.len())
    }

    fn write(&mut self, write: &DocumentWrite) {
        let (key, key_length) = self.part(write.key.as_bytes());
        let document = write.document.as_deref().unwrap_or_default();
        let (place, length) = self.part(document.as_bytes());
        let change = usize::try_from(write.change).unwrap_or(usize::MAX);
        let (digest, _) = self.part(&write.digest().0);
        let numbers = [key, key_length, place, length, change, digest];
        self.documents.push(write.build, numbers);
        let entry = |batch: &mut Self, (index, value): &IndexEntry| {
            let (place, length) = batch.part(value);
            [usize::from(*index), place, length, key, key_length, 0]
        };
        for removed in &write.removed {
            let numbers = entry(self, removed);
            self.removed.push(write.build, numbers);
        }
        for added in &write.added {
            let numbers = entry(self, added);
            self.added.push(write.build, numbers);
        }
    }

    async fn execute(self, connection: &mut SqliteConnection) -> Result<()> {
        let payload = &self.payload;
        self.documents.execute(connection, WRITE, payload).await?;
        self.removed.execute(connection, REMOVE, payload).await?;
        self.added.execute(connection, ADD, payload).await
    }
}

/// Writes documents, each once, and their entries, in the transaction of the caller.
pub async fn write(connection: &mut SqliteConnection, writes: &[DocumentWrite]) -> Result<()> {
    let mut batch = Batch::new();
    for write in writes {
        batch.write(write);
        if batch.payload.len() > PAYLOAD_MAX {
            let full = std::mem::replace(&mut batch, Batch::new());
            full.execute(connection).await?;
        }
    }
    batch.execute(connection).await
}

/// Documents by build and key: result i belongs to key i; none where there never was one.
pub async fn read(
    connection: &mut SqliteConnection,
    keys: &[(BuildId, Arc<str>)],
) -> Result<Vec<Option<StoredDocument>>> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let mut builds = Vec::with_capacity(16 * keys.len());
    for (build, _) in keys {
        number(&mut builds, build.0);
    }
    let rows = sqlx::query(READ)
        .bind(names(keys.iter().map(|(_, key)| &**key)))
        .bind(builds)
        .fetch_all(connection)
        .await?;
    for row in rows {
        let place = usize::try_from(row.number(0)?).unwrap_or(usize::MAX);
        if let (Some((_, key)), Some(found)) = (keys.get(place), found.get_mut(place))
            // SQLite's JSON ends a text at a NUL, which no key has.
            && !key.contains('\0')
        {
            *found = Some(StoredDocument {
                key: Arc::clone(key),
                document: row.cell::<Option<&str>>(1)?.map(Arc::from),
                change: row.number(2)?,
            });
        }
    }
    Ok(found)
}
