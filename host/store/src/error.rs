//! Errors of a store, and the meaning of the driver's errors.

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use super::{Loss, postgres, sqlite};

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
