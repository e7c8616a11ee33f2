//! The mark of a store that is being recovered: nobody may use what is there so far.

use super::cell::Cells;
use super::connection::Connection;
use crate::{Error, Result};

const IS_RECOVERING: &str = "SELECT count(*) FROM meta WHERE name = 'recovering'";
const IS_USED: &str = "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM deployments)";
const BEGIN: &str =
    "INSERT INTO meta (name, value) VALUES ('recovering', '') ON CONFLICT DO NOTHING";
const FINISH: &str = "DELETE FROM meta WHERE name = 'recovering'";

/// Marks an empty store. One that has the mark keeps it.
pub async fn begin(connection: &mut Connection) -> Result<()> {
    if is_marked(connection).await? {
        return Ok(());
    }
    let used = sqlx::query(IS_USED).fetch_one(&mut *connection).await?;
    if used.cell::<bool>(0)? {
        let why = "the store is not empty: it has events or activations; recover into an empty one";
        return Err(Error::Url(why.to_owned()));
    }
    sqlx::query(BEGIN).execute(connection).await?;
    Ok(())
}

/// Refuses a store that has the mark.
pub async fn check(connection: &mut Connection) -> Result<()> {
    match is_marked(connection).await? {
        false => Ok(()),
        true => Err(Error::Damaged(
            "a recovery into it did not finish; run the same `quipu recover` a second time, or \
             remove the schema"
                .to_owned(),
        )),
    }
}

/// Removes the mark.
pub async fn finish(connection: &mut Connection) -> Result<()> {
    sqlx::query(FINISH).execute(connection).await?;
    Ok(())
}

async fn is_marked(connection: &mut Connection) -> Result<bool> {
    let marks = sqlx::query(IS_RECOVERING).fetch_one(connection).await?;
    Ok(marks.cell::<i64>(0)? > 0)
}
