//! Proposals of commands as JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use quipu::engine::Preview;
use quipu::model::{CommandId, NewEvent};
use quipu::propose::State;
use quipu::store::{ProposalResult, StoredProposal};

use crate::Expected;
use crate::event::{Data, metadata_of};

/// An event that a command would lead to, or led to when it was proposed.
#[derive(Serialize, ToSchema)]
pub struct EffectEvent<'a> {
    /// Its type.
    r#type: &'a str,
    /// Schema version of the data.
    schema_version: u32,
    #[serde(flatten)]
    data: Data<'a>,
}

/// The events of a preview as JSON, as the store keeps them.
///
/// # Errors
/// When an event has no JSON form.
pub fn effect(preview: &Preview) -> serde_json::Result<String> {
    let events: Vec<_> = preview.events.iter().map(EffectEvent::of).collect();
    serde_json::to_string(&events)
}

impl<'a> EffectEvent<'a> {
    /// The view of an event.
    pub fn of(event: &'a NewEvent) -> Self {
        Self {
            r#type: event.name.as_str(),
            schema_version: event.schema_version,
            data: Data::of(&event.body),
        }
    }
}

/// What a command led to when it was proposed.
#[derive(Serialize, ToSchema)]
pub struct EffectView<'a> {
    /// Digest of the module that decided.
    module: String,
    /// The plan under which it was decided.
    plan: u64,
    /// The version of the stream on whose state it was decided.
    version: u64,
    /// The events. An execution decides on the state of that time, so it may lead to others.
    #[schema(value_type = Vec<EffectEvent>)]
    events: &'a RawValue,
}

/// What an approved command led to.
#[derive(Serialize, ToSchema)]
pub struct ProposalResultView<'a> {
    /// The version of the stream after the command; absent when it was not executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The code of the error, for example `rejected`; absent when the command was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// Why the command was not executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// A proposed command.
#[derive(Serialize, ToSchema)]
pub struct ProposalView<'a> {
    /// Its number, which increases with time.
    number: u64,
    /// `open`, `expired`, `denied`, `approved` (and whether the command was executed is not known:
    /// a second approval finds out), `executed`, or `failed`.
    state: &'static str,
    /// The command's stream.
    stream: &'a str,
    /// The command's id, under which it is executed.
    command_id: &'a str,
    /// The command's type.
    command: &'a str,
    /// Schema version of the command's data.
    schema_version: u32,
    #[serde(flatten)]
    data: Data<'a>,
    /// Metadata with which the command is executed; `{}` if there is none.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    metadata: &'a RawValue,
    /// The conversation that the command belongs to; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    /// The message that leads to the command; absent if that is the proposal.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    /// The expected version of the stream; absent for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<Expected>,
    /// A note of who proposed it.
    note: Option<&'a str>,
    /// When it was proposed.
    #[schema(format = "date-time")]
    proposed_at: String,
    /// Who proposed it; null when the host does not know.
    proposed_by: Option<&'a str>,
    /// From when on it can't be approved any more.
    #[schema(format = "date-time")]
    expires_at: String,
    /// What it led to when it was proposed.
    effect: EffectView<'a>,
    /// When it was approved or denied; null before.
    #[schema(format = "date-time")]
    decided_at: Option<String>,
    /// Who approved or denied it; null when nobody did, or the host does not know.
    decided_by: Option<&'a str>,
    /// Why it was approved or denied.
    reason: Option<&'a str>,
    /// What the approved command led to; null before it was executed.
    result: Option<ProposalResultView<'a>>,
}

/// Proposed commands.
#[derive(Serialize, ToSchema)]
pub struct ProposalList<'a> {
    /// The newest first.
    pub proposals: Vec<ProposalView<'a>>,
    /// The value of `before` for the next page; null at the end.
    pub next: Option<u64>,
}

impl<'a> ProposalView<'a> {
    /// The view of a proposal in a state.
    ///
    /// # Errors
    /// When the stored effect is not JSON.
    pub fn of(stored: &'a StoredProposal, state: State) -> serde_json::Result<Self> {
        let proposal = &stored.proposal;
        let command = &*proposal.command;
        let decision = stored.decision.as_ref();
        Ok(Self {
            number: stored.number,
            state: state.as_str(),
            stream: proposal.stream.as_str(),
            command_id: CommandId::as_str(&command.id),
            command: command.name.as_str(),
            schema_version: command.schema_version,
            data: Data::of(&command.body),
            metadata: metadata_of(command.metadata.as_deref()),
            correlation_id: command.context.correlation_id.as_deref(),
            causation_id: command.context.causation_id.as_deref(),
            expected_version: Expected::of(proposal.expected),
            note: proposal.note.as_deref(),
            proposed_at: command.accepted_at.to_string(),
            proposed_by: command.context.principal.as_deref(),
            expires_at: proposal.expires_at.to_string(),
            effect: EffectView {
                module: proposal.module.to_string(),
                plan: proposal.plan,
                version: proposal.version.0,
                events: serde_json::from_str(&proposal.effect)?,
            },
            decided_at: decision.map(|decision| decision.at.to_string()),
            decided_by: decision.and_then(|decision| decision.by.as_deref()),
            reason: decision.and_then(|decision| decision.reason.as_deref()),
            result: stored.result.as_ref().map(ProposalResultView::of),
        })
    }
}

impl<'a> ProposalResultView<'a> {
    fn of(result: &'a ProposalResult) -> Self {
        match result {
            ProposalResult::Executed(version) => Self {
                version: Some(version.0),
                code: None,
                detail: None,
            },
            ProposalResult::Failed { code, text } => Self {
                version: None,
                code: Some(code),
                detail: Some(text),
            },
        }
    }
}
