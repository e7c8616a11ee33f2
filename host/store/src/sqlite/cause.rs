//! Why a system call of SQLite failed.
//!
//! An I/O error of SQLite says what it did: it wrote, or flushed. Why the system refused is only in
//! its connection.
#![allow(unsafe_code)]

use std::io;

use sqlx::sqlite::SqliteConnection;

use crate::Error;

/// Names the cause of an error that is the last one of this connection. Another error than one of
/// I/O is returned as it is.
pub async fn named(connection: &mut SqliteConnection, error: Error) -> Error {
    let Error::Disk(text) = error else {
        return error;
    };
    match last(connection).await {
        Some(cause) => Error::of_file(&cause, format!("{cause}: {text}")),
        None => Error::Disk(text),
    }
}

/// The error of the last system call of a connection that failed.
async fn last(connection: &mut SqliteConnection) -> Option<io::Error> {
    let mut handle = connection.lock_handle().await.ok()?;
    // SAFETY: the pointer is valid while the handle exists, which excludes every other use of the
    // connection. The function only reads a number.
    let number = unsafe { libsqlite3_sys::sqlite3_system_errno(handle.as_raw_handle().as_ptr()) };
    (number != 0).then(|| io::Error::from_raw_os_error(number))
}
