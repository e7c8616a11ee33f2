//! Errors of a store, and the meaning of the driver's errors.

use std::io::ErrorKind;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use super::{Loss, postgres, sqlite};

/// Numbers of system errors: input or output failed, and too many open files.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Why a store did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store can't be reached or does not answer in time. Nothing was stored.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The disk is full, or a quota reached. Nothing was stored.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// The store may not be written.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// A file of the store may not grow any more. Nothing was stored.
    #[error(
        "a file of the store may not grow: {0}; raise the limit on the size of files (`ulimit -f`, \
         LimitFSIZE), or move the store to a file system with larger files"
    )]
    FileTooLarge(String),
    /// The process, or the system, has as many files open as it may. Nothing was stored.
    #[error("no more files can be opened: {0}; raise the limit (`ulimit -n`, LimitNOFILE)")]
    TooManyFiles(String),
    /// The disk of the store fails. Nothing was stored.
    #[error(
        "the disk of the store fails: {0}; check the log of the system, and move the store to a \
         disk that works"
    )]
    Disk(String),
    /// The file is not a store, or is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Another host has the store open.
    #[error("another host has {0} open; stop it, or name another store")]
    InUse(String),
    /// The store was made by a newer program.
    #[error(
        "the store has schema version {found}, this program knows up to {known}: use a newer program"
    )]
    TooNew {
        /// The version of the store.
        found: i64,
        /// The newest version that this program supports.
        known: i64,
    },
    /// The store was made by an older program.
    #[error(
        "the store has schema version {found}, this program wants {known}: run `quipu migrate`, \
         which says whether the hosts of the older program have to be stopped first"
    )]
    TooOld {
        /// The version of the store.
        found: i64,
        /// The version that this program requires.
        known: i64,
    },
    /// Hosts use a store whose migration changes what they rely on. Nothing was changed.
    #[error(
        "hosts are connected to the store, and the migration from schema version {found} to \
         {known} is not only additive: stop every host of the store, then run `quipu migrate`"
    )]
    HostsConnected {
        /// The version of the store.
        found: i64,
        /// The version after the migration.
        known: i64,
    },
    /// Other hosts can write to a store into which something is to be imported. Nothing was changed.
    #[error(
        "other hosts are connected to the store, and an import excludes them: stop every other \
         host of the store, then import the same file"
    )]
    OthersConnected,
    /// The server of the store does not have events that were acknowledged. Nothing was stored.
    #[error("{0}")]
    EventsLost(Loss),
    /// The store's address can't be understood.
    #[error("{0}")]
    Url(String),
    /// A part of an export does not fit the store.
    #[error("the import does not fit the store: {0}")]
    Import(String),
    /// The store gave an unexpected answer.
    #[error("unexpected answer of the store: {0}")]
    Unexpected(String),
}

impl Error {
    /// The stable names of all kinds.
    pub const KINDS: [&'static str; 10] = [
        "unavailable",
        "full",
        "read-only",
        "file-too-large",
        "too-many-files",
        "disk",
        "damaged",
        "unexpected",
        "events-lost",
        "other",
    ];

    /// The name of its kind, which is one of [`KINDS`](Self::KINDS). Errors that a store in use does
    /// not have are `other`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Full(_) => "full",
            Self::ReadOnly(_) => "read-only",
            Self::FileTooLarge(_) => "file-too-large",
            Self::TooManyFiles(_) => "too-many-files",
            Self::Disk(_) => "disk",
            Self::Damaged(_) => "damaged",
            Self::Unexpected(_) => "unexpected",
            Self::EventsLost(_) => "events-lost",
            _ => "other",
        }
    }

    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EventsLost(_) => "events-lost",
            _ if self.is_lasting() => "store-damaged",
            _ => "store-unavailable",
        }
    }

    /// Returns whether a retry does not help, because an operator has to repair the store.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_) | Self::Unexpected(_) | Self::TooNew { .. } | Self::TooOld { .. }
        )
    }

    /// What callers may read of the cause, with what an operator does about it. None where only the
    /// log has it.
    pub fn cause(&self) -> Option<&'static str> {
        Some(match self {
            Self::Full(_) => "the disk of the store is full; free space",
            Self::ReadOnly(_) => {
                "the store may not be written; make its disk and its files writable"
            }
            Self::FileTooLarge(_) => {
                "a file of the store may not grow; raise the limit on its size"
            }
            Self::TooManyFiles(_) => "the host may open no more files; raise its limit",
            Self::Disk(_) => "the disk of the store fails; check it",
            _ => return None,
        })
    }

    /// The meaning of a failed system call on a file of the store.
    pub(crate) fn of_file(error: &std::io::Error, text: String) -> Self {
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly(text),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(text),
            ErrorKind::FileTooLarge => Self::FileTooLarge(text),
            // These have no kind. The numbers are the same on all systems of this family.
            _ if cfg!(unix) => match error.raw_os_error() {
                Some(EIO) => Self::Disk(text),
                Some(ENFILE | EMFILE) => Self::TooManyFiles(text),
                _ => Self::Unavailable(text),
            },
            _ => Self::Unavailable(text),
        }
    }

    /// Returns whether the store may be unable to take any write until something outside the host
    /// has changed.
    pub(crate) fn may_last(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Full(_)
                | Self::ReadOnly(_)
                | Self::FileTooLarge(_)
                | Self::TooManyFiles(_)
                | Self::Disk(_)
        )
    }

    /// Returns whether a batch may have failed because of one item, so that the others pass without
    /// it.
    pub fn may_be_one_items(&self) -> bool {
        matches!(self, Self::Unexpected(_) | Self::Damaged(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => database(&*error),
            sqlx::Error::PoolClosed => Self::Unavailable("the store has been closed".to_owned()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            // A stored value has another kind than was written.
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_) => Self::Damaged(error.to_string()),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

fn database(error: &(dyn DatabaseError + 'static)) -> Error {
    match error.try_downcast_ref::<SqliteError>() {
        Some(error) => sqlite::database_error(error),
        None => postgres::database_error(error),
    }
}
