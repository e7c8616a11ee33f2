use crate::app::{ApproveError, DeployError};
use crate::{
    access, deploy, engine, model, projection, proof, propose, store, subscribe, transfer,
};

/// Any error of a host, for programs that handle all of them in one place.
///
/// Each method returns the error of its own part, whose variants say more; `?` turns it into
/// this one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A value breaks a rule of the model.
    #[error(transparent)]
    Invalid(#[from] model::Invalid),
    /// A command, an append or a read of a stream failed, or the domain rejected the command.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A component was refused.
    #[error(transparent)]
    Module(#[from] deploy::Error),
    /// A release did not become active.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A projection did not answer.
    #[error(transparent)]
    Projection(#[from] projection::Error),
    /// A preflight, a shadow or a verification did not end.
    #[error(transparent)]
    Proof(#[from] proof::Error),
    /// A subscription ended or was refused.
    #[error(transparent)]
    Subscription(#[from] subscribe::Error),
    /// An import ended early.
    #[error(transparent)]
    Import(#[from] transfer::Failed),
    /// A token or a tenant could not be made, found or changed.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A caller was refused.
    #[error(transparent)]
    Caller(#[from] access::Refused),
    /// A proposal could not be stored or decided.
    #[error(transparent)]
    Proposal(#[from] propose::Error),
    /// An approved command has no result yet.
    #[error(transparent)]
    Approval(#[from] ApproveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Its stable code. Codes are those of HTTP; `internal` is a host that did not start for a
    /// reason other than its store or its modules.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Start(StartError::Store(error)) | Self::Store(error) => error.code(),
            Self::Start(StartError::Deploy(error)) | Self::Module(error) => error.code(),
            Self::Start(_) => "internal",
            Self::Invalid(_) => "bad-request",
            Self::Engine(error) => error.code(),
            Self::Deploy(error) => error.code(),
            Self::Projection(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Subscription(error) => error.code(),
            Self::Import(failed) => failed.error.code(),
            Self::Access(error) => error.code(),
            Self::Caller(refused) => refused.code(),
            Self::Proposal(error) => error.code(),
            Self::Approval(error) => error.code(),
        }
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The sandbox can't be made.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::Error),
    /// A module that is active in the store can't be loaded.
    #[error(transparent)]
    Deploy(#[from] deploy::Error),
    /// The operating system could not start a thread.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}
