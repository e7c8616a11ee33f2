use std::time::Duration;

use crate::deploy::Unreadable;
use crate::model::Invalid;
use crate::{store, upcast};

/// Why there is no subscription, or why one has ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store failed. Subscribe again from the last place.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The next event can't be lifted. Subscribe again from the last place when something
    /// else has been deployed, or to events as they are stored.
    #[error(transparent)]
    Unreadable(#[from] Box<Unreadable>),
    /// A start or a filter that makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The host has as many subscriptions as it takes.
    #[error("the host has {0} subscriptions, as many as it takes; try again later")]
    TooMany(usize),
    /// Another owner holds the name.
    #[error(
        "subscription {name} is held by another client for {} s, unless it goes on; claim it then",
        held_for.as_secs_f32().ceil()
    )]
    Held {
        /// The name.
        name: String,
        /// For how long from now on.
        held_for: Duration,
    },
    /// The name was claimed by another owner since, or moved by an operator.
    #[error(
        "the claim of subscription {0} counts no more: another client has claimed it, or it was \
         moved; claim it again"
    )]
    Lost(String),
    /// There is no such name.
    #[error("there is no subscription {0}; a claim makes it")]
    Unknown(String),
    /// The store has as many names as it takes.
    #[error(
        "the store has {0} named subscriptions, as many as it takes; delete one that is not used"
    )]
    TooManyNames(usize),
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::TooMany(_) | Self::Stopped => "overloaded",
            Self::Held { .. } => "subscription-held",
            Self::Lost(_) => "claim-lost",
            Self::Unknown(_) => "subscription-not-found",
            Self::TooManyNames(_) => "too-many-subscriptions",
            Self::Unreadable(unreadable) => match &unreadable.error {
                upcast::Error::Fault { .. } => "guest-fault",
                _ => "unreadable-event",
            },
            Self::Store(error) => error.code(),
        }
    }
}
