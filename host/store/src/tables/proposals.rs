//! Proposals of commands.

use std::sync::Arc;

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connections, Row};
use super::signed;
use crate::assemble::stream_id;
use crate::{
    AddedProposal, Decision, Error, PROPOSALS_CLOSED_MAX, PROPOSALS_OPEN_MAX,
    PROPOSALS_OPEN_OF_ONE_MAX, PROPOSALS_PAGE_MAX, Proposal, ProposalFilter, ProposalResult,
    ProposalStore, Result, StoredProposal, record,
};
use quipu_model::{ExpectedVersion, Timestamp, Version};

const NO_STREAM: i64 = -1;
const STREAM_EXISTS: i64 = -2;
const APPROVED: &str = "approved";
const DENIED: &str = "denied";

macro_rules! proposals {
    ($rest:literal) => {
        concat!(
            "SELECT number, stream, command, expected, plan, module, version, effect, note, \
             expires_at, decision, decided_at, decided_by, reason, executed_version, \
             failed_code, failed_text FROM proposals ",
            $rest
        )
    };
}

const ONE: &str = proposals!("WHERE number = $1");
/// One that expired makes room for another with the same command id.
const KNOWN: &str = proposals!(
    "WHERE stream = $1 AND command_id = $2 AND (decision IS NOT NULL OR expires_at > $3) \
     ORDER BY number DESC LIMIT 1"
);
const PAGE: &str =
    proposals!("WHERE number < $1 AND expires_at > $2 ORDER BY number DESC LIMIT $3");
const PAGE_OF: &str = proposals!(
    "WHERE number < $1 AND expires_at > $2 AND category = $4 ORDER BY number DESC LIMIT $3"
);
const OPEN: &str = proposals!(
    "WHERE number < $1 AND expires_at > $2 AND decision IS NULL ORDER BY number DESC LIMIT $3"
);
const OPEN_OF: &str = proposals!(
    "WHERE number < $1 AND expires_at > $2 AND decision IS NULL AND category = $4 \
     ORDER BY number DESC LIMIT $3"
);
const COUNT: &str =
    "SELECT count(*) AS number FROM proposals WHERE decision IS NULL AND expires_at > $1";
const COUNT_OF_ONE: &str = "SELECT count(*) AS number FROM proposals \
     WHERE decision IS NULL AND expires_at > $1 AND proposed_by = $2";
const CLEAR: &str = "DELETE FROM proposals WHERE number IN (SELECT number FROM proposals \
     WHERE decision IS NOT NULL OR expires_at <= $1 ORDER BY number DESC LIMIT 1000 OFFSET $2)";
const ADD: &str = "INSERT INTO proposals (category, stream, command_id, command, expected, plan, \
         module, version, effect, note, expires_at, proposed_by) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING number";
const DECIDE: &str = "UPDATE proposals \
     SET decision = $2, decided_at = $3, decided_by = $4, reason = $5 \
     WHERE number = $1 AND (decision IS NULL AND expires_at > $3 \
         OR decision = 'approved' AND $2 = 'approved' \
             AND executed_version IS NULL AND failed_code IS NULL)";
const FINISH: &str = "UPDATE proposals \
     SET executed_version = $2, failed_code = $3, failed_text = $4 \
     WHERE number = $1 AND decision = 'approved' AND executed_version IS NULL \
         AND failed_code IS NULL";

/// Each change waits for the disk.
pub struct Proposals(pub Connections);

struct Number(u64);

from_row!(Number, |row| Ok(Number(row.number("number")?)));

from_row!(StoredProposal, |row| Ok(StoredProposal {
    number: row.number("number")?,
    proposal: Proposal {
        stream: stream_id(row.cell("stream")?)?,
        command: Arc::new(record::decode(row.cell("command")?)?),
        expected: expected(row.cell("expected")?)?,
        plan: row.number("plan")?,
        module: row.digest("module")?,
        version: Version(row.number("version")?),
        effect: text(row.cell("effect")?)?,
        note: row.maybe_text("note")?,
        expires_at: Timestamp(row.number("expires_at")?),
    },
    decision: decision(row)?,
    result: result(row)?,
}));

fn text(bytes: &[u8]) -> Result<Box<str>> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| Error::Damaged("the effect of a proposal".to_owned()))?;
    Ok(text.into())
}

fn expected(stored: Option<i64>) -> Result<ExpectedVersion> {
    Ok(match stored {
        None => ExpectedVersion::Any,
        Some(NO_STREAM) => ExpectedVersion::NoStream,
        Some(STREAM_EXISTS) => ExpectedVersion::StreamExists,
        Some(version) => {
            let version = u64::try_from(version);
            let damaged = |_| Error::Damaged("the expected version of a proposal".to_owned());
            ExpectedVersion::Exact(Version(version.map_err(damaged)?))
        }
    })
}

fn stored(expected: ExpectedVersion) -> Option<i64> {
    match expected {
        ExpectedVersion::Any => None,
        ExpectedVersion::NoStream => Some(NO_STREAM),
        ExpectedVersion::StreamExists => Some(STREAM_EXISTS),
        ExpectedVersion::Exact(version) => Some(signed(version.0)),
    }
}

fn decision(row: &Row) -> Result<Option<Decision>> {
    let Some(word) = row.cell::<Option<&str>>("decision")? else {
        return Ok(None);
    };
    Ok(Some(Decision {
        is_approved: match word {
            APPROVED => true,
            DENIED => false,
            other => {
                return Err(Error::Damaged(format!(
                    "the decision {other:?} of a proposal"
                )));
            }
        },
        at: Timestamp(row.maybe_number("decided_at")?.unwrap_or_default()),
        by: row.maybe_text("decided_by")?,
        reason: row.maybe_text("reason")?,
    }))
}

fn result(row: &Row) -> Result<Option<ProposalResult>> {
    if let Some(version) = row.maybe_number("executed_version")? {
        return Ok(Some(ProposalResult::Executed(Version(version))));
    }
    let Some(code) = row.maybe_text("failed_code")? else {
        return Ok(None);
    };
    let text = row.maybe_text("failed_text")?.unwrap_or_default();
    Ok(Some(ProposalResult::Failed { code, text }))
}

#[async_trait]
impl ProposalStore for Proposals {
    async fn add(&self, proposal: &Proposal) -> Result<AddedProposal> {
        let (stream, command) = (&proposal.stream, &proposal.command);
        let now = signed(command.accepted_at.0);
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_proposals(&mut writing).await?;
        let known: Option<StoredProposal> = sqlx::query_as(KNOWN)
            .bind(stream.as_str())
            .bind(command.id.as_str())
            .bind(now)
            .fetch_optional(&mut *writing)
            .await?;
        if let Some(known) = known {
            return Ok(AddedProposal::Known(Box::new(known)));
        }
        let open: Number = sqlx::query_as(COUNT)
            .bind(now)
            .fetch_one(&mut *writing)
            .await?;
        if open.0 >= PROPOSALS_OPEN_MAX as u64 {
            return Ok(AddedProposal::Full);
        }
        let principal = command.context.principal.as_deref();
        if let Some(principal) = principal {
            let own: Number = sqlx::query_as(COUNT_OF_ONE)
                .bind(now)
                .bind(principal)
                .fetch_one(&mut *writing)
                .await?;
            if own.0 >= PROPOSALS_OPEN_OF_ONE_MAX as u64 {
                return Ok(AddedProposal::FullOfOne);
            }
        }
        let clear = sqlx::query(CLEAR)
            .bind(now)
            .bind(signed(PROPOSALS_CLOSED_MAX as u64));
        clear.execute(&mut *writing).await?;
        let mut bytes = Vec::new();
        record::encode(command, &mut bytes)?;
        let added: Number = sqlx::query_as(ADD)
            .bind(stream.category())
            .bind(stream.as_str())
            .bind(command.id.as_str())
            .bind(bytes)
            .bind(stored(proposal.expected))
            .bind(signed(proposal.plan))
            .bind(&proposal.module.0[..])
            .bind(signed(proposal.version.0))
            .bind(proposal.effect.as_bytes())
            .bind(proposal.note.as_deref())
            .bind(signed(proposal.expires_at.0))
            .bind(principal)
            .fetch_one(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(AddedProposal::New(added.0))
    }

    async fn proposal(&self, number: u64) -> Result<Option<StoredProposal>> {
        let one = sqlx::query_as(ONE).bind(signed(number));
        Ok(one.fetch_optional(self.0.pool()).await?)
    }

    async fn proposals(
        &self,
        filter: ProposalFilter<'_>,
        limit: usize,
    ) -> Result<Vec<StoredProposal>> {
        let sql = match (filter.open_at, filter.category) {
            (None, None) => PAGE,
            (None, Some(_)) => PAGE_OF,
            (Some(_), None) => OPEN,
            (Some(_), Some(_)) => OPEN_OF,
        };
        let query = sqlx::query_as(sql)
            .bind(signed(filter.before.unwrap_or(u64::MAX)))
            .bind(signed(filter.open_at.map_or(0, |at| at.0)))
            .bind(signed(limit.min(PROPOSALS_PAGE_MAX) as u64));
        let query = match filter.category {
            Some(category) => query.bind(category),
            None => query,
        };
        Ok(query.fetch_all(self.0.pool()).await?)
    }

    async fn decide(&self, number: u64, decision: &Decision) -> Result<bool> {
        let word = if decision.is_approved {
            APPROVED
        } else {
            DENIED
        };
        let mut writing = self.0.begin_durable().await?;
        let decide = sqlx::query(DECIDE)
            .bind(signed(number))
            .bind(word)
            .bind(signed(decision.at.0))
            .bind(decision.by.as_deref())
            .bind(decision.reason.as_deref());
        let done = decide.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn finish(&self, number: u64, result: &ProposalResult) -> Result<()> {
        let (version, code, text) = match result {
            ProposalResult::Executed(version) => (Some(signed(version.0)), None, None),
            ProposalResult::Failed { code, text } => (None, Some(&**code), Some(&**text)),
        };
        let mut writing = self.0.begin_durable().await?;
        let finish = sqlx::query(FINISH)
            .bind(signed(number))
            .bind(version)
            .bind(code)
            .bind(text);
        finish.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(())
    }
}
