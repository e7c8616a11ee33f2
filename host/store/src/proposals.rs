//! Proposals: commands that somebody else approves or denies.

use std::sync::Arc;

use async_trait::async_trait;

use super::Result;
use quipu_model::{CommandRecord, Digest, ExpectedVersion, StreamId, Timestamp, Version};

/// Most open proposals of a store.
pub const PROPOSALS_OPEN_MAX: usize = 1_000;

/// Most open proposals of one principal, so that one can't keep all others from proposing.
pub const PROPOSALS_OPEN_OF_ONE_MAX: usize = 100;

/// Most proposals of a store that are not open any more; older ones are removed.
pub const PROPOSALS_CLOSED_MAX: usize = 10_000;

/// Most proposals of one page.
pub const PROPOSALS_PAGE_MAX: usize = 100;

/// Most bytes of the data and metadata of a proposed command, and of its effect.
pub const PROPOSAL_BYTES_MAX: usize = 64 << 10;

/// A proposed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The stream.
    pub stream: StreamId,
    /// The command. Its principal is who proposed it, its time when.
    pub command: Arc<CommandRecord>,
    /// The expected version of the stream.
    pub expected: ExpectedVersion,
    /// The plan under which the effect was decided.
    pub plan: u64,
    /// The module that decided the effect.
    pub module: Digest,
    /// The version of the stream on whose state the effect was decided.
    pub version: Version,
    /// The events that were decided, as JSON.
    pub effect: Box<str>,
    /// A note of who proposed it.
    pub note: Option<Box<str>>,
    /// From when on it can't be approved any more.
    pub expires_at: Timestamp,
}

/// A proposal in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredProposal {
    /// Its number, which increases with time.
    pub number: u64,
    /// What was proposed.
    pub proposal: Proposal,
    /// Who approved or denied it; none while it is open, or when it expired.
    pub decision: Option<Decision>,
    /// What the execution led to; none before the command was executed.
    pub result: Option<ProposalResult>,
}

/// An approval or a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the command may be executed.
    pub is_approved: bool,
    /// When.
    pub at: Timestamp,
    /// By whom, as far as the host knows.
    pub by: Option<Box<str>>,
    /// Why, if a reason was given.
    pub reason: Option<Box<str>>,
}

/// What an approved command led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalResult {
    /// The command was executed; the stream has this version after it.
    Executed(Version),
    /// The command was not executed, and will not be.
    Failed {
        /// The code of the error.
        code: Box<str>,
        /// The message of the error.
        text: Box<str>,
    },
}

/// The outcome of [`ProposalStore::add`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedProposal {
    /// It is stored under this number.
    New(u64),
    /// The stream has a proposal with this command id, which is open or was decided.
    Known(Box<StoredProposal>),
    /// The store has [`PROPOSALS_OPEN_MAX`] open proposals.
    Full,
    /// Its principal has [`PROPOSALS_OPEN_OF_ONE_MAX`] open proposals.
    FullOfOne,
}

/// Which proposals to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProposalFilter<'a> {
    /// Only streams of this category.
    pub category: Option<&'a str>,
    /// Only those that are open at this time.
    pub open_at: Option<Timestamp>,
    /// Only those before this number.
    pub before: Option<u64>,
}

/// Proposals, by number. Each change is durable when its call returns.
#[async_trait]
pub trait ProposalStore: Send + Sync {
    /// Stores a proposal, unless one with this command id is known.
    async fn add(&self, proposal: &Proposal) -> Result<AddedProposal>;

    /// Returns a proposal.
    async fn proposal(&self, number: u64) -> Result<Option<StoredProposal>>;

    /// Returns up to `limit` proposals, at most [`PROPOSALS_PAGE_MAX`], the newest first.
    async fn proposals(
        &self,
        filter: ProposalFilter<'_>,
        limit: usize,
    ) -> Result<Vec<StoredProposal>>;

    /// Approves or denies an open proposal, or approves one that is approved and has no result yet.
    /// Returns false and changes nothing when it is not so at the time of the decision.
    async fn decide(&self, number: u64, decision: &Decision) -> Result<bool>;

    /// Stores what an approved command led to, unless that is stored already.
    async fn finish(&self, number: u64, result: &ProposalResult) -> Result<()>;
}
