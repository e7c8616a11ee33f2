//! Inserts rejections one by one, because SQLite needs no round trips.

use super::dialect::Connection;
use super::tables::signed;
use crate::{Rejected, Result, record};

const KEEP: &str = "INSERT INTO rejections \
    (category, stream, version, plan, module, accepted_at, command, code, message, details, \
     details_type) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Inserts rejections, in the transaction of the caller.
pub async fn insert(connection: &mut Connection, rejected: &[Rejected]) -> Result<()> {
    for one in rejected {
        let mut command = Vec::new();
        record::encode(&one.command, &mut command)?;
        let (details, details_type) = one.stored_details();
        sqlx::query(KEEP)
            .bind(one.stream.category())
            .bind(one.stream.as_str())
            .bind(signed(one.version.0))
            .bind(signed(one.plan))
            .bind(one.module.0.to_vec())
            .bind(signed(one.command.accepted_at.0))
            .bind(command)
            .bind(&one.code)
            .bind(&one.message)
            .bind(details)
            .bind(details_type)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
