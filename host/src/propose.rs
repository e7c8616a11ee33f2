//! Proposals: commands that are stored with their effect, and executed when somebody else approves
//! them.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Preview;
use crate::model::{Clock, Command, CommandId, Context, Invalid, Timestamp};
use crate::store::{
    self, AddedProposal, Decision, PROPOSAL_BYTES_MAX, PROPOSALS_OPEN_MAX,
    PROPOSALS_OPEN_OF_ONE_MAX, Proposal, ProposalFilter, ProposalResult, ProposalStore,
    StoredProposal,
};

/// Longest note of a proposal, in bytes.
pub const NOTE_BYTES_MAX: usize = 1_024;

/// How long a proposal can be approved by default, and at most.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// See [`EXPIRES_AFTER`].
pub const EXPIRES_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The proposals of a store.
pub struct Proposals {
    store: Arc<dyn ProposalStore>,
    clock: Arc<dyn Clock>,
}

/// A command to propose.
#[derive(Debug, Clone)]
pub struct NewProposal {
    /// What the command leads to now.
    pub preview: Preview,
    /// The events as JSON.
    pub effect: String,
    /// A note for whoever approves it.
    pub note: Option<String>,
    /// How long it can be approved.
    pub expires_after: Duration,
}

/// The state of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can be approved or denied.
    Open,
    /// Nobody decided in time.
    Expired,
    /// It was denied.
    Denied,
    /// It was approved, and it is not known yet whether the command was executed.
    Approved,
    /// It was approved, and the command was executed.
    Executed,
    /// It was approved, and the command was not executed, for example because the domain rejected
    /// it.
    Failed,
}

/// Why a proposal could not be stored or decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A part of the proposal is not well-formed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The command or its effect is too large to wait for an approval.
    #[error(
        "{what} of the proposal has {bytes} bytes, more than {PROPOSAL_BYTES_MAX}; execute the \
         command directly"
    )]
    TooLarge {
        /// `the command` or `the effect`.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The command id belongs to a proposal of another command.
    #[error(
        "command id {id} belongs to proposal {number}, which is another command; take a fresh one"
    )]
    IdReused {
        /// The id.
        id: CommandId,
        /// The proposal.
        number: u64,
    },
    /// The store has as many open proposals as it takes.
    #[error(
        "{PROPOSALS_OPEN_MAX} proposals are open, and no more than these may be; approve or deny some"
    )]
    Full,
    /// The caller has the most open proposals that one caller may have.
    #[error(
        "you have {PROPOSALS_OPEN_OF_ONE_MAX} open proposals, the most that one caller may have; \
         wait until some are approved, denied or expired"
    )]
    FullOfOne,
    /// There is no such proposal.
    #[error("there is no proposal {0}; `quipu proposal list --all` lists them")]
    NotFound(u64),
    /// The proposal can't be approved or denied any more.
    #[error("proposal {number} is {state}; {remedy}", state = state.as_str(), remedy = state.remedy())]
    Closed {
        /// Its number.
        number: u64,
        /// Its state.
        state: State,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::TooLarge { .. } => "too-large",
            Self::IdReused { .. } => "idempotency-key-reused",
            Self::Full | Self::FullOfOne => "too-many-proposals",
            Self::NotFound(_) => "proposal-not-found",
            Self::Closed { .. } => "proposal-closed",
            Self::Store(error) => error.code(),
        }
    }
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Approved => "approved",
            Self::Executed => "executed",
            Self::Failed => "failed",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Approved => "approve it a second time to execute its command",
            Self::Executed => "its command was executed",
            _ => "propose the command a second time, with a fresh id",
        }
    }

    /// The state of a proposal at a time.
    pub fn of(stored: &StoredProposal, now: Timestamp) -> Self {
        match (&stored.decision, &stored.result) {
            (_, Some(ProposalResult::Executed(_))) => Self::Executed,
            (_, Some(ProposalResult::Failed { .. })) => Self::Failed,
            (Some(decision), None) if decision.is_approved => Self::Approved,
            (Some(_), None) => Self::Denied,
            (None, None) if stored.proposal.expires_at > now => Self::Open,
            (None, None) => Self::Expired,
        }
    }
}

impl Proposals {
    /// The proposals of a store.
    pub fn new(store: Arc<dyn ProposalStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// A fresh id for a proposed command.
    pub fn fresh_id() -> Result<CommandId, Invalid> {
        CommandId::new(&format!("proposal-{}", crate::model::fresh_id()))
    }

    /// Stores a proposal. A second proposal of the same command under the same id is the first one.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was stored.
    pub async fn propose(&self, new: NewProposal) -> Result<StoredProposal, Error> {
        let NewProposal {
            preview,
            effect,
            note,
            expires_after,
        } = new;
        if let Some(note) = &note {
            check_note(note)?;
        }
        if !(Duration::from_secs(1)..=EXPIRES_AFTER_MAX).contains(&expires_after) {
            let most = EXPIRES_AFTER_MAX.as_secs();
            let why = format!("a proposal expires after 1 to {most} seconds");
            return Err(Invalid(why).into());
        }
        let metadata = preview.command.metadata.as_ref();
        let bytes = preview.command.body.len() + metadata.map_or(0, |it| it.len());
        for (what, bytes) in [("the command", bytes), ("the effect", effect.len())] {
            if bytes > PROPOSAL_BYTES_MAX {
                return Err(Error::TooLarge { what, bytes });
            }
        }
        let micros = u64::try_from(expires_after.as_micros()).unwrap_or(u64::MAX);
        let mut command = preview.command;
        command.accepted_at = self.clock.now();
        let proposal = Proposal {
            stream: preview.stream,
            expires_at: Timestamp(command.accepted_at.0.saturating_add(micros)),
            command: Arc::new(command),
            expected: preview.expected,
            plan: preview.plan,
            module: preview.module,
            version: preview.version,
            effect: effect.into(),
            note: note.map(Into::into),
        };
        match self.store.add(&proposal).await? {
            AddedProposal::New(number) => Ok(StoredProposal {
                number,
                proposal,
                decision: None,
                result: None,
            }),
            AddedProposal::Known(known) if is_same(&known.proposal, &proposal) => Ok(*known),
            AddedProposal::Known(known) => Err(Error::IdReused {
                id: proposal.command.id.clone(),
                number: known.number,
            }),
            AddedProposal::Full => Err(Error::Full),
            AddedProposal::FullOfOne => Err(Error::FullOfOne),
        }
    }

    /// Returns a proposal.
    ///
    /// # Errors
    /// When there is none of this number, or the store fails.
    pub async fn find(&self, number: u64) -> Result<StoredProposal, Error> {
        let found = self.store.proposal(number).await?;
        found.ok_or(Error::NotFound(number))
    }

    /// Returns up to `limit` proposals, at most 100, the newest first; only open ones unless `all`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        category: Option<&str>,
        all: bool,
        before: Option<u64>,
        limit: usize,
    ) -> store::Result<Vec<StoredProposal>> {
        let filter = ProposalFilter {
            category,
            open_at: (!all).then(|| self.clock.now()),
            before,
        };
        self.store.proposals(filter, limit).await
    }

    /// The state of a proposal now.
    pub fn state(&self, stored: &StoredProposal) -> State {
        State::of(stored, self.clock.now())
    }

    /// Denies an open proposal. A second denial changes nothing.
    ///
    /// # Errors
    /// When there is no such proposal, it was approved or has expired, or the store fails.
    pub async fn deny(
        &self,
        number: u64,
        by: Option<&str>,
        reason: Option<&str>,
    ) -> Result<StoredProposal, Error> {
        let decided = self.decide(number, (by, reason), false).await?;
        match self.state(&decided) {
            State::Denied => Ok(decided),
            state => Err(Error::Closed { number, state }),
        }
    }

    /// Approves an open proposal. Until its result is stored, a further approval takes the place of the
    /// one before: nothing is executed in the name of somebody who approved it once. Then it changes
    /// nothing.
    ///
    /// # Errors
    /// When there is no such proposal, it was denied or has expired, or the store fails.
    pub async fn approve(
        &self,
        number: u64,
        by: Option<&str>,
        reason: Option<&str>,
    ) -> Result<StoredProposal, Error> {
        let decided = self.decide(number, (by, reason), true).await?;
        match self.state(&decided) {
            State::Approved | State::Executed | State::Failed => Ok(decided),
            state => Err(Error::Closed { number, state }),
        }
    }

    async fn decide(
        &self,
        number: u64,
        (by, reason): (Option<&str>, Option<&str>),
        is_approved: bool,
    ) -> Result<StoredProposal, Error> {
        let decision = Decision {
            is_approved,
            at: self.clock.now(),
            by: by.map(Into::into),
            reason: reason.map(Into::into),
        };
        self.store.decide(number, &decision).await?;
        self.find(number).await
    }

    /// Stores what an approved command led to. Returns what is stored, which may be the result of
    /// another approval.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(
        &self,
        number: u64,
        result: &ProposalResult,
    ) -> Result<StoredProposal, Error> {
        self.store.finish(number, result).await?;
        self.find(number).await
    }
}

/// The command of a proposal, as it is executed in the name of whoever approved it.
pub fn command(stored: &StoredProposal) -> Command {
    let record = &stored.proposal.command;
    let by = stored.decision.as_ref().and_then(|it| it.by.as_deref());
    let cause = || format!("proposal-{}", stored.number).into();
    Command {
        id: Some(record.id.clone()),
        name: record.name.clone(),
        schema_version: Some(record.schema_version),
        body: record.body.clone(),
        metadata: record.metadata.clone(),
        expected_version: stored.proposal.expected,
        context: Context {
            principal: by.map(Into::into),
            causation_id: Some(record.context.causation_id.clone().unwrap_or_else(cause)),
            ..record.context.clone()
        },
    }
}

fn is_same(one: &Proposal, other: &Proposal) -> bool {
    one.command.is_repeated_by(&other.command) && one.expected == other.expected
}

fn check_note(note: &str) -> Result<(), Invalid> {
    let is_line = !note.trim().is_empty() && !note.chars().any(char::is_control);
    if is_line && note.len() <= NOTE_BYTES_MAX {
        return Ok(());
    }
    Err(Invalid(format!(
        "a note is one line of 1 to {NOTE_BYTES_MAX} bytes"
    )))
}
