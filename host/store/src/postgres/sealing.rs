//! Digests of commits: what differs between the databases.

use super::dialect::Connection;
use super::tables::signed;
use crate::{AddedDigest, Result};

/// Batches that fail leave holes in the log.
pub const IS_GAPLESS: bool = false;

/// An id as bytes.
macro_rules! id_bytes {
    ($id:literal) => {
        concat!("uuid_send(", $id, ")")
    };
}
pub(super) use id_bytes;

const ADD: &str = "UPDATE events AS e SET commit_digest = u.digest \
     FROM unnest($1::bigint[], $2::bytea[]) AS u (position, digest) \
     WHERE e.position = u.position AND e.commit_digest IS NULL";
/// Only of streams that have not grown. Locked in order of name, as appends lock them.
const LAST: &str = "WITH last AS (\
         SELECT s.stream_id, u.digest FROM unnest($1::text[], $2::bigint[], $3::bytea[]) \
             AS u (name, version, digest) \
         JOIN streams AS s ON s.name = u.name AND s.version = u.version AND s.digest IS NULL \
         ORDER BY s.name FOR UPDATE OF s) \
     UPDATE streams AS s SET digest = last.digest FROM last WHERE s.stream_id = last.stream_id";

/// Adds digests.
pub async fn add(connection: &mut Connection, digests: &[AddedDigest]) -> Result<()> {
    let bytes: Vec<&[u8]> = digests.iter().map(|it| &it.digest.0[..]).collect();
    let positions: Vec<i64> = digests.iter().map(|it| signed(it.first.0)).collect();
    let streams: Vec<&str> = digests.iter().map(|it| &*it.stream).collect();
    let versions: Vec<i64> = digests.iter().map(|it| signed(it.last_version)).collect();
    let last = sqlx::query(LAST).bind(streams).bind(versions).bind(&bytes);
    last.execute(&mut *connection).await?;
    let add = sqlx::query(ADD).bind(positions).bind(&bytes);
    add.execute(&mut *connection).await?;
    Ok(())
}
