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
        IO => io_error(&text, code),
        READ_ONLY => Error::ReadOnly(text),
        CORRUPT | NOT_A_DATABASE => Error::Damaged(text),
        CAN_NOT_OPEN => can_not_open(text),
        BUSY | LOCKED => Error::Unavailable(text),
        _ => Error::Unexpected(format!("{text} (SQLite code {code})")),
    }
}

/// SQLite says what it did, and not why it failed: the writer finds that out.
fn io_error(text: &str, code: i32) -> Error {
    let doing = match code >> 8 {
        1 => "reading",
        3 => "writing",
        4 | 5 => "flushing",
        6 => "truncating",
        12 => return Error::Unavailable(format!("{text}: no memory (SQLite code {code})")),
        _ => return Error::Disk(format!("{text} (SQLite code {code})")),
    };
    Error::Disk(format!("{text} while {doing} (SQLite code {code})"))
}

/// SQLite does not say why it could not open a file. If the reason is the number of open files,
/// nothing else can be opened, either.
fn can_not_open(text: String) -> Error {
    match std::fs::File::open(".") {
        Err(error) => match Error::of_file(&error, format!("{text}: {error}")) {
            Error::TooManyFiles(text) => Error::TooManyFiles(text),
            _ => Error::Unavailable(text),
        },
        Ok(_) => Error::Unavailable(text),
    }
}

/// Converts an error of the database during an import: a violated constraint means that the import
/// does not fit the store.
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
