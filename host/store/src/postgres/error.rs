use sqlx::error::DatabaseError;

use crate::Error;

/// The possible consequences of a failed statement.
#[derive(Debug)]
pub enum Failure {
    /// The connection is lost, and with it the answer: the statement may have been executed.
    Lost(Error),
    /// The statement was not executed. An immediate retry may pass.
    Again(Error),
    /// The statement was not executed.
    Refused(Error),
}

/// The result of a writer's statements.
pub type WriteResult<T> = Result<T, Failure>;

impl Failure {
    /// Returns the error in it.
    pub fn into_error(self) -> Error {
        match self {
            Self::Lost(error) | Self::Again(error) | Self::Refused(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.into_error()
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => failure(&*error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Lost(error.into()),
            other => Self::Refused(other.into()),
        }
    }
}

/// Converts an error of the server for a reader.
pub fn database_error(error: &dyn DatabaseError) -> Error {
    failure(error).into_error()
}

fn failure(error: &dyn DatabaseError) -> Failure {
    let text = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    match (code.get(..2), &*code) {
        // The server ends the connection: shutdown, crash, an operator, a time-out.
        (Some("08"), _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03") => {
            Failure::Lost(Error::Unavailable(text))
        }
        // Serialization, deadlock, lock not available, query cancelled.
        (_, "40001" | "40P01" | "55P03" | "57014") => Failure::Again(Error::Unavailable(text)),
        (_, "53100") => Failure::Refused(Error::Full(text)),
        (_, "58030") => Failure::Refused(Error::Disk(text)),
        // The server has no codes for these.
        (_, "XX000") if text.contains("File too large") => {
            Failure::Refused(Error::FileTooLarge(text))
        }
        (_, "42501") if text.contains("Read-only file system") => {
            Failure::Refused(Error::ReadOnly(text))
        }
        (Some("53"), _) => Failure::Lost(Error::Unavailable(text)),
        // A standby, or one that is about to be promoted: another connection may lead to
        // the server that takes writes.
        (_, "25006") => Failure::Lost(Error::Unavailable(format!(
            "the server takes no writes now: {text}"
        ))),
        (Some("28"), _) | (_, "3D000") => Failure::Refused(Error::Url(format!(
            "PostgreSQL refuses the connection: {text}"
        ))),
        (_, "42501") => Failure::Refused(Error::ReadOnly(format!(
            "{text}; grant it to the user in the store's URL"
        ))),
        (Some("XX"), _) => Failure::Refused(Error::Damaged(text)),
        _ => Failure::Refused(Error::Unexpected(format!(
            "{text} (PostgreSQL code {code})"
        ))),
    }
}
