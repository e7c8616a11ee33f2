use crate::Error;

/// What a failure of a statement leaves open.
#[derive(Debug)]
pub enum Failure {
    /// The connection is gone, and with it the answer: what was asked may have been done.
    Lost(Error),
    /// Nothing was done; the same may pass at once.
    Again(Error),
    /// Nothing was done.
    Refused(Error),
}

impl Failure {
    /// The error in it.
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

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match &error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_) => Self::Lost(Error::Unavailable(error.to_string())),
                other => Self::Refused(Error::Unexpected(other.to_string())),
            };
        };
        let text = database.message().to_owned();
        let code = database.code().unwrap_or_default();
        match (code.get(..2), &*code) {
            // The server ends the connection: shutdown, crash, an operator, a time-out.
            (Some("08"), _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03") => {
                Self::Lost(Error::Unavailable(text))
            }
            // Serialization, deadlock, lock not available, query cancelled.
            (_, "40001" | "40P01" | "55P03" | "57014") => Self::Again(Error::Unavailable(text)),
            (_, "53100") => Self::Refused(Error::Full(text)),
            (Some("53"), _) => Self::Lost(Error::Unavailable(text)),
            // A standby, or one that is about to be promoted: another connection may lead to
            // the server that takes writes.
            (_, "25006") => Self::Lost(Error::Unavailable(format!(
                "the server takes no writes now: {text}"
            ))),
            (Some("28"), _) | (_, "3D000") => Self::Refused(Error::Url(format!(
                "PostgreSQL refuses the connection: {text}"
            ))),
            (_, "42501") => Self::Refused(Error::ReadOnly(format!(
                "{text}; grant it to the user in the store's URL"
            ))),
            (Some("XX"), _) => Self::Refused(Error::Damaged(text)),
            _ => Self::Refused(Error::Unexpected(format!(
                "{text} (PostgreSQL code {code})"
            ))),
        }
    }
}

/// What an error of the driver means to a reader.
pub fn store_error(error: sqlx::Error) -> Error {
    Failure::from(error).into_error()
}
