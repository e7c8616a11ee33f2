//! Digests of commits, and the rows that they prove.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;

use super::cell::Cells;
use super::dialect::{Connection, Connections, Row, greatest, texts};
use super::{sealing, signed};
use crate::page::Room;
use crate::{
    AddedDigest, DigestMarks, DigestStore, Error, LOG_PAGE_MAX, LogRow, Result, RowCommit,
    RowContent,
};
use quipu_model::Position;

/// The columns whose bytes count in a page.
const SIZED: [usize; 3] = [10, 11, 18];

const ROWS: &str = concat!(
    "SELECT e.position, s.name, e.version, e.commit_offset, ",
    sealing::id_bytes!("e.event_id"),
    ", (e.event_id_given IS TRUE), t.name, t.schema_version, t.content_type, e.recorded_at, \
     e.data, e.metadata, e.tags AS tags, e.command_id, e.commit_size, e.plan, m.digest, e.fuel, \
     e.command, e.commit_digest \
     FROM events AS e \
     LEFT JOIN event_types AS t ON t.type_id = e.type_id \
     LEFT JOIN streams AS s ON s.stream_id = e.stream_id \
     LEFT JOIN modules AS m ON m.module_id = e.module_id \
     WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3"
);
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
        let mut reading = query.fetch(&mut *connection);
        let (mut rows, mut room) = (Vec::new(), Room::default());
        while let Some(row) = reading.next().await {
            let row = row?;
            rows.push(log_row(&row)?);
            if !room.take(SIZED.iter().map(|column| row.bytes(*column)).sum()) {
                break;
            }
        }
        Ok(rows)
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

async fn mark(connection: &mut Connection, name: &str) -> Result<Position> {
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
