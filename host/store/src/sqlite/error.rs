use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use crate::Error;

/// SQLite's result codes, as far as callers act on them.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CAN_NOT_OPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

/// Among I/O errors: what was read is not what was written, and no room for the index of the WAL.
const IO_SHORT_READ: i32 = IO | (2 << 8);
const IO_CORRUPT: i32 = IO | (33 << 8);
const IO_DATA: i32 = IO | (32 << 8);
const IO_INDEX_SIZE: i32 = IO | (19 << 8);

/// Converts an error of the database for a caller.
pub fn database_error(error: &SqliteError) -> Error {
    let (text, code) = (error.message().to_owned(), code(error));
    match code {
        IO_SHORT_READ | IO_CORRUPT | IO_DATA => return Error::Damaged(text),
        IO_INDEX_SIZE => return Error::Full(text),
        _ => {}
    }
    match code & 0xff {
        FULL => Error::Full(text),
        IO => Error::Unavailable(format!("{text} (SQLite code {code})")),
        READ_ONLY => Error::ReadOnly(text),
        CORRUPT | NOT_A_DATABASE => Error::Damaged(text),
        BUSY | LOCKED | CAN_NOT_OPEN => Error::Unavailable(text),
        _ => Error::Unexpected(format!("{text} (SQLite code {code})")),
    }
}

/// The same for an import: a violated constraint means that the import does not fit the store.
pub fn import_error(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(database) if code(database) & 0xff == CONSTRAINT => Error::Import(format!(
            "something of it is in the store already: {}",
            database.message()
        )),
        _ => error.into(),
    }
}

/// SQLite's result code; 0 when there is none.
fn code(error: &dyn DatabaseError) -> i32 {
    let code = error.code();
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}
