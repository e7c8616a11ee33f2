use crate::deploy::Unreadable;
use crate::model::Invalid;
use crate::store;

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
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}
