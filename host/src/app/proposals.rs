//! Commands that wait for an approval.

use super::Host;
use crate::engine::{Error as EngineError, Preview};
use crate::model::{Command, StreamId};
use crate::propose::{self, Proposals};
use crate::store::{ProposalResult, StoredProposal};

/// Why an approved command has no result yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApproveError {
    /// The proposal can't be approved.
    #[error(transparent)]
    Proposal(#[from] propose::Error),
    /// It is approved, but it is not known whether the command was executed: approve it a second
    /// time.
    #[error(transparent)]
    Execution(#[from] EngineError),
}

impl ApproveError {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Proposal(error) => error.code(),
            Self::Execution(error) => error.code(),
        }
    }
}

impl Host {
    /// Decides a command on the committed state of its stream, and stores nothing. With states, the
    /// decider also folds the events and renders the states before and after them.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn preview(
        &self,
        stream: &StreamId,
        command: Command,
        with_states: bool,
    ) -> Result<Preview, EngineError> {
        let engine = &self.tenant.engine;
        engine.preview(stream, command, with_states).await
    }

    /// Decides the command of a proposal, in the name of a caller, on the committed state that its
    /// stream has now, and stores nothing.
    ///
    /// # Errors
    /// As [`preview`](Self::preview).
    pub async fn preview_proposal(
        &self,
        proposal: &StoredProposal,
        by: Option<&str>,
    ) -> Result<Preview, EngineError> {
        let mut command = propose::command(proposal);
        command.context.principal = by.map(Into::into);
        self.preview(&proposal.proposal.stream, command, true).await
    }

    /// Returns the proposals of the store.
    pub fn proposals(&self) -> &Proposals {
        &self.tenant.proposals
    }

    /// Approves a proposal and executes its command under its id. The result is stored, so every
    /// further approval returns the same.
    ///
    /// # Errors
    /// When the proposal can't be approved, or the command could not be executed now although it
    /// may be later. A command that the domain rejects is a result.
    pub async fn approve(
        &self,
        number: u64,
        by: Option<&str>,
        reason: Option<&str>,
    ) -> Result<StoredProposal, ApproveError> {
        let proposals = self.proposals();
        let approved = proposals.approve(number, by, reason).await?;
        if approved.result.is_some() {
            return Ok(approved);
        }
        let command = propose::command(&approved);
        let executed = self.execute(&approved.proposal.stream, command).await;
        let result = match executed {
            Ok(executed) => ProposalResult::Executed(executed.version),
            Err(error) if is_final(&error) => ProposalResult::Failed {
                code: error.code().into(),
                text: error.to_string().into(),
            },
            Err(error) => return Err(error.into()),
        };
        Ok(proposals.finish(number, &result).await?)
    }
}

/// Whether an error is the answer to a command, and not a state of the host that passes.
fn is_final(error: &EngineError) -> bool {
    matches!(
        error.code(),
        "rejected"
            | "invalid-command"
            | "wrong-expected-version"
            | "idempotency-key-reused"
            | "stream-archived"
            | "too-large"
            | "bad-request"
    )
}
