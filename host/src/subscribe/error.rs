use std::time::Duration;

use crate::deploy::Unreadable;
use crate::model::Invalid;
use crate::{store, upcast};

/// Why a subscription could not start, or has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. Subscribe from the last checkpoint.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The next event can't be lifted. Subscribe from the last checkpoint after a deployment that
    /// can lift it, or subscribe to events as they are stored.
    #[error(transparent)]
    Unreadable(#[from] Box<Unreadable>),
    /// The start or the filter makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The host has the maximum number of subscriptions.
    #[error("the host has {0} subscriptions, as many as it takes; try again later")]
    TooMany(usize),
    /// Another client owns the subscription.
    #[error(
        "subscription {name} is held by another client for {} s, unless it goes on; claim it then",
        held_for.as_secs_f32().ceil()
    )]
    Held {
        /// Name of the subscription.
        name: String,
        /// The remaining time of its lease.
        held_for: Duration,
    },
    /// Another client has claimed the subscription since, or an operator has moved its checkpoint.
    #[error(
        "the claim of subscription {0} counts no more: another client has claimed it, or it was \
         moved; claim it again"
    )]
    Lost(String),
    /// There is no such name.
    #[error("there is no subscription {0}; a claim makes it")]
    Unknown(String),
    /// The store has the maximum number of named subscriptions.
    #[error(
        "the store has {0} named subscriptions, as many as it takes; delete one that is not used"
    )]
    TooManyNames(usize),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Returns the stable code of the error, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::TooMany(_) | Self::Stopped => "overloaded",
            Self::Held { .. } => "subscription-held",
            Self::Lost(_) => "claim-lost",
            Self::Unknown(_) => "subscription-not-found",
            Self::TooManyNames(_) => "too-many-subscriptions",
            Self::Unreadable(unreadable) => match &unreadable.error {
                error if error.is_of_host() => "overloaded",
                upcast::Error::Fault { .. } => "guest-fault",
                _ => "unreadable-event",
            },
            Self::Store(error) => error.code(),
        }
    }
}
