//! Digests of commits, and the rows that they prove.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt as _};

use super::cell::Cells;
use super::dialect::{Connection, Connections, Row, greatest, texts};
use super::{sealing, signed};
use crate::page::Room;
use crate::{
    AddedDigest, CommitSpan, DigestMarks, DigestStore, DocumentRow, Error, LOG_PAGE_MAX, LogRow,
    Result, RowCommit, RowContent,
};
use quipu_model::Position;

/// The columns whose bytes count in a page.
const SIZED: [usize; 3] = [10, 11, 18];

macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, s.name, e.version, e.commit_offset, ",
            sealing::id_bytes!("e.event_id"),
            ", (e.event_id_given IS TRUE), t.name, t.schema_version, t.content_type, \
             e.recorded_at, e.data, e.metadata, e.tags AS tags, e.command_id, e.commit_size, \
             e.plan, m.digest, e.fuel, e.command, e.commit_digest \
             FROM events AS e \
             LEFT JOIN event_types AS t ON t.type_id = e.type_id \
             LEFT JOIN streams AS s ON s.stream_id = e.stream_id \
             LEFT JOIN modules AS m ON m.module_id = e.module_id ",
            $rest
        )
    };
}

const ROWS: &str = rows!("WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3");
const STREAM_ROWS: &str = rows!(
    "WHERE e.stream_id = (SELECT stream_id FROM streams WHERE name = $1) \
     AND e.version BETWEEN $2 AND $3 ORDER BY e.version LIMIT $4"
);
/// The place of an event in its commit, with the size of the commit, its position and its digest.
const PLACE: &str = "SELECT e.version - e.commit_offset AS begins, c.commit_size, c.position, \
     c.commit_digest \
     FROM events AS e LEFT JOIN events AS c ON c.stream_id = e.stream_id \
         AND c.version = e.version - e.commit_offset \
     WHERE e.stream_id = (SELECT stream_id FROM streams WHERE name = $1) AND e.version = $2";
/// A row with change 0 is not a document yet.
const DOCUMENTS: &str = "SELECT b.projection, d.build, d.key, d.document, d.change, d.digest, \
     b.has_digests \
     FROM documents AS d JOIN builds AS b ON b.id = d.build \
     WHERE (d.build, d.key) > ($1, $2) AND d.change > 0 AND b.role <> 'dropped' \
     ORDER BY d.build, d.key LIMIT $3";
const MARK: &str = "SELECT value FROM meta WHERE name = $1";
const RAISE: &str = concat!(
    "INSERT INTO meta (name, value) VALUES ('unproved', $1) \
     ON CONFLICT (name) DO UPDATE SET value = ",
    greatest!("meta.value", "excluded.value")
);
const FINISH: &str = concat!(
    "INSERT INTO meta (name, value) VALUES ('proved', $1) \
     ON CONFLICT (name) DO UPDATE SET value = ",
    greatest!("meta.value", "excluded.value")
);
const UNMARK: &str = "DELETE FROM meta WHERE name = 'unproved' AND value = $1";

/// Digests are on the disk before a call returns.
pub struct Digests(pub Connections);

/// Records that commits up to a position may have no digest.
pub async fn raise_unproved(connection: &mut Connection, until: Position) -> sqlx::Result<()> {
    let raise = sqlx::query(RAISE).bind(encoded(until));
    raise.execute(connection).await.map(|_| ())
}

fn encoded(position: Position) -> Vec<u8> {
    position.0.to_be_bytes().to_vec()
}

#[async_trait]
impl DigestStore for Digests {
    async fn rows(&self, after: Position, until: Position, limit: usize) -> Result<Vec<LogRow>> {
        let query = sqlx::query(ROWS)
            .bind(signed(after.0))
            .bind(signed(until.0))
            .bind(signed(limit.min(LOG_PAGE_MAX) as u64));
        let mut connection = self.0.read().await?;
        page(query.fetch(&mut *connection), event_bytes, log_row).await
    }

    async fn span(&self, stream: &str, from: u64, to: u64) -> Result<Option<CommitSpan>> {
        let mut connection = self.0.read().await?;
        let Some(first) = place(&mut connection, stream, from).await? else {
            return Ok(None);
        };
        let last = match from == to {
            true => first.last(from),
            false => place(&mut connection, stream, to)
                .await?
                .map_or(to, |place| place.last(to)),
        };
        let before = match first.first {
            0 | 1 => None,
            next => place(&mut connection, stream, next - 1).await?,
        };
        Ok(Some(CommitSpan {
            first: first.first,
            last,
            before: before.map(|before| (before.position, before.digest)),
        }))
    }

    async fn stream_rows(
        &self,
        stream: &str,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<LogRow>> {
        let query = sqlx::query(STREAM_ROWS)
            .bind(stream)
            .bind(signed(from))
            .bind(signed(to))
            .bind(signed(limit.min(LOG_PAGE_MAX) as u64));
        let mut connection = self.0.read().await?;
        page(query.fetch(&mut *connection), event_bytes, log_row).await
    }

    async fn documents(
        &self,
        after: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<DocumentRow>> {
        let (build, key) = after.unwrap_or_default();
        let query = sqlx::query(DOCUMENTS)
            .bind(signed(build))
            .bind(key)
            .bind(signed(limit.min(LOG_PAGE_MAX) as u64));
        let mut connection = self.0.read().await?;
        page(query.fetch(&mut *connection), document_bytes, document_row).await
    }

    async fn marks(&self) -> Result<DigestMarks> {
        let mut connection = self.0.read().await?;
        let gapless_after = match sealing::IS_GAPLESS {
            true => Some(mark(&mut connection, "holes").await?),
            false => None,
        };
        Ok(DigestMarks {
            unproved: mark(&mut connection, "unproved").await?,
            proved: mark(&mut connection, "proved").await?,
            gapless_after,
        })
    }

    async fn add(&self, digests: &[AddedDigest]) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let mut writing = self.0.begin_durable().await?;
        sealing::add(&mut writing, digests).await?;
        Ok(writing.commit().await?)
    }

    async fn finish(&self, marks: DigestMarks) -> Result<()> {
        let unproved = encoded(marks.unproved);
        let mut writing = self.0.begin_durable().await?;
        let finish = sqlx::query(FINISH).bind(&unproved);
        finish.execute(&mut *writing).await?;
        let unmark = sqlx::query(UNMARK).bind(&unproved);
        unmark.execute(&mut *writing).await?;
        Ok(writing.commit().await?)
    }
}

/// The commit of an event.
struct Place {
    first: u64,
    events: u64,
    position: Position,
    digest: Option<Vec<u8>>,
}

impl Place {
    /// The last version of the commit, which has at least this version.
    fn last(&self, version: u64) -> u64 {
        let last = self.first.saturating_add(self.events).saturating_sub(1);
        last.max(version)
    }
}

async fn place(connection: &mut Connection, stream: &str, version: u64) -> Result<Option<Place>> {
    let query = sqlx::query(PLACE).bind(stream).bind(signed(version));
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(Place {
        first: row.number("begins")?,
        events: row.maybe_number("commit_size")?.unwrap_or_default(),
        position: Position(row.maybe_number("position")?.unwrap_or_default()),
        digest: row.cell("commit_digest")?,
    }))
}

/// Reads rows up to the bytes of a page.
async fn page<T>(
    mut reading: impl Stream<Item = sqlx::Result<Row>> + Unpin,
    bytes: fn(&Row) -> usize,
    read: fn(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    let (mut rows, mut room) = (Vec::new(), Room::default());
    while let Some(row) = reading.next().await {
        let row = row?;
        rows.push(read(&row)?);
        if !room.take(bytes(&row)) {
            break;
        }
    }
    Ok(rows)
}

fn event_bytes(row: &Row) -> usize {
    SIZED.iter().map(|column| row.bytes(*column)).sum()
}

fn document_bytes(row: &Row) -> usize {
    let document = row.cell::<Option<&str>>(3).ok().flatten();
    document.map_or(0, str::len)
}

fn document_row(row: &Row) -> Result<DocumentRow> {
    Ok(DocumentRow {
        projection: row.cell::<&str>(0)?.into(),
        build: row.number(1)?,
        key: row.cell::<&str>(2)?.into(),
        document: row.maybe_text(3)?,
        change: row.number(4)?,
        digest: row.cell(5)?,
        needs_digest: row.cell(6)?,
    })
}

/// A number in the table `meta`; 0 if it is absent.
pub async fn mark(connection: &mut Connection, name: &str) -> Result<Position> {
    let found = sqlx::query(MARK).bind(name).fetch_optional(connection);
    let Some(row) = found.await? else {
        return Ok(Position(0));
    };
    let bytes = <[u8; 8]>::try_from(row.cell::<&[u8]>(0)?);
    let bytes =
        bytes.map_err(|_| Error::Damaged(format!("mark {name:?} does not have 8 bytes")))?;
    Ok(Position(u64::from_be_bytes(bytes)))
}

/// A row is returned even if its content can't be read.
fn log_row(row: &Row) -> Result<LogRow> {
    let version = row.number(2);
    let content = content(row).map_err(|error| error.to_string());
    Ok(LogRow {
        position: Position(row.number(0)?),
        stream: row.cell::<Option<&str>>(1).ok().flatten().map(Into::into),
        version: version.unwrap_or_default(),
        content,
    })
}

fn content(row: &Row) -> Result<RowContent> {
    let offset = row.number(3)?;
    let tags = texts(row, "tags");
    let tags = tags.map_err(|_| Error::Damaged("its tags are not a list of texts".to_owned()))?;
    Ok(RowContent {
        offset,
        id: row.cell::<Vec<u8>>(4)?,
        id_is_callers: row.cell(5)?,
        name: row.cell::<&str>(6)?.into(),
        schema_version: row.number(7)?,
        content_type: row.cell::<&str>(8)?.into(),
        recorded_at: row.number(9)?,
        data: row.cell::<Vec<u8>>(10)?,
        metadata: row.cell(11)?,
        tags: tags.into_iter().flatten().map(Arc::from).collect(),
        commit: match offset {
            0 => Some(commit(row)?),
            _ => None,
        },
    })
}

fn commit(row: &Row) -> Result<RowCommit> {
    Ok(RowCommit {
        events: row.number(14)?,
        plan: row.number(15)?,
        module: row.cell(16)?,
        fuel: row.maybe_number(17)?,
        command_id: row.maybe_text(13)?,
        command: row.cell(18)?,
        digest: row.cell(19)?,
    })
}
