//! Inserts rejections, all in one statement.

use super::dialect::Connection;
use super::tables::signed;
use crate::{Rejected, Result, record};

const KEEP: &str = "INSERT INTO rejections \
    (category, stream, version, plan, module, accepted_at, command, code, message, details, \
     details_type) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], \
        $6::bigint[], $7::bytea[], $8::text[], $9::text[], $10::bytea[], $11::text[])";

/// Inserts rejections, in the transaction of the caller.
pub async fn insert(connection: &mut Connection, rejected: &[Rejected]) -> Result<()> {
    let commands = rejected.iter().map(|one| {
        let mut command = Vec::new();
        record::encode(&one.command, &mut command)?;
        Ok(command)
    });
    let commands: Vec<Vec<u8>> = commands.collect::<Result<_>>()?;
    let texts = |of: fn(&Rejected) -> &str| rejected.iter().map(of).collect::<Vec<&str>>();
    let numbers = |of: fn(&Rejected) -> u64| {
        let numbers = rejected.iter().map(|one| signed(of(one)));
        numbers.collect::<Vec<i64>>()
    };
    let details = rejected.iter().map(Rejected::stored_details);
    let (details, details_types): (Vec<_>, Vec<_>) = details.unzip();
    let modules: Vec<&[u8]> = rejected.iter().map(|one| &one.module.0[..]).collect();
    sqlx::query(KEEP)
        .bind(texts(|one| one.stream.category()))
        .bind(texts(|one| one.stream.as_str()))
        .bind(numbers(|one| one.version.0))
        .bind(numbers(|one| one.plan))
        .bind(modules)
        .bind(numbers(|one| one.command.accepted_at.0))
        .bind(commands)
        .bind(texts(|one| &one.code))
        .bind(texts(|one| &one.message))
        .bind(details)
        .bind(details_types)
        .execute(connection)
        .await?;
    Ok(())
}
