//! Tokens, callers and the audit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::access::{Caller, Checked, Grant, Issued};
use quipu::model::Digest;
use quipu::store::AuditRecord;

/// What a token allows: the actions of a role, on everything or on what is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// The role: `viewer`, `proposer`, `client`, `author`, `operator`, `admin`, `scraper` or `none`.
    pub role: String,
    /// Only streams of these categories. If categories or projections are listed, nothing else is
    /// allowed.
    pub categories: Vec<String>,
    /// Only these projections.
    pub projections: Vec<String>,
    /// Requests per second; null for the limit of the host.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its public part, which `token revoke` takes.
    pub id: String,
    /// Whom it is for. Events, deployments and audit records name the caller so.
    pub name: String,
    /// What it allows.
    #[serde(flatten)]
    pub grant: GrantView,
    /// When it was made.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// Who made it; null when the host does not know.
    pub created_by: Option<String>,
    /// From when on it is refused; null for never.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// When it was revoked; null while it is valid.
    #[schema(format = "date-time")]
    pub revoked_at: Option<String>,
    /// When it was last used, to about a minute; null when it was not used.
    #[schema(format = "date-time")]
    pub used_at: Option<String>,
}

/// Tokens.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens in the order in which they were made.
    pub tokens: Vec<TokenView>,
}

/// A new token.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token's text. It is shown only here.
    pub token: String,
    /// What the store knows of it.
    #[serde(flatten)]
    pub view: TokenView,
}

/// Who calls.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// The caller's name; null for a caller without a token, on a host that is open to everybody.
    pub name: Option<String>,
    /// The token's id.
    pub token_id: Option<String>,
    /// What the token allows; null where everybody may do everything.
    pub grant: Option<GrantView>,
    /// When the token or the certificate expires; null for never.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// What else is known of the caller. Policies can ask for it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Whether somebody may do something.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CanView {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rules that allow or forbid it: `role client`, or the `@id` of a policy, or its number in
    /// the file.
    pub rules: Vec<String>,
    /// Why it is denied; null when it is allowed.
    pub why: Option<String>,
}

/// A record of the audit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Its number: 1 for the first, without gaps.
    pub number: u64,
    /// When the request was answered; of an `unknown` one, when it began.
    #[schema(format = "date-time")]
    pub at: String,
    /// Who asked; null for a caller without a name.
    pub principal: Option<String>,
    /// The caller's address.
    pub origin: Option<String>,
    /// The operation, by its id in this description.
    pub operation: String,
    /// The path of the request.
    pub object: String,
    /// `done`, `left` when the caller disconnected before the end, `unknown` when the host died before
    /// it was recorded, or the code of the problem.
    pub result: String,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// SHA-256 over the digest of the record before it and this record.
    pub digest: String,
}

/// A page of the audit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The records in order.
    pub records: Vec<AuditView>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<u64>,
}

/// The result of checking the audit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditCheck {
    /// How many records are in order, from the first one on.
    pub records: u64,
    /// The digest of the last of them. A copy that is kept elsewhere shows later whether records
    /// were removed at the end.
    pub digest: String,
    /// Number of the first record that is not in order; null if all are.
    pub broken: Option<u64>,
    /// What is wrong with it.
    pub why: Option<String>,
}

impl GrantView {
    /// The view of a grant.
    pub fn of(grant: &Grant) -> Self {
        Self {
            role: grant.role.to_string(),
            categories: grant.categories.clone(),
            projections: grant.projections.clone(),
            requests_per_second: grant.requests_per_second,
        }
    }
}

impl TokenView {
    /// The view of a token.
    pub fn of(token: &Issued) -> Self {
        let Issued { stored, grant } = token;
        Self {
            id: stored.id.to_string(),
            name: stored.name.to_string(),
            grant: GrantView::of(grant),
            created_at: stored.created_at.to_string(),
            created_by: stored.created_by.as_ref().map(ToString::to_string),
            expires_at: stored.expires_at.map(|at| at.to_string()),
            revoked_at: stored.revoked_at.map(|at| at.to_string()),
            used_at: stored.used_at.map(|at| at.to_string()),
        }
    }
}

impl Whoami {
    /// The view of a caller.
    pub fn of(caller: &Caller) -> Self {
        let token = caller.token().map(|token| &token.stored);
        Self {
            name: caller.name().map(|name| name.to_string()),
            token_id: token.map(|token| token.id.to_string()),
            grant: caller.grant().map(GrantView::of),
            expires_at: caller.expires_at().map(|at| at.to_string()),
            attributes: caller
                .attributes()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

impl AuditView {
    /// The view of a record.
    pub fn of(record: &AuditRecord) -> Self {
        let entry = &record.entry;
        Self {
            number: record.number,
            at: entry.at.to_string(),
            principal: entry.principal.as_ref().map(ToString::to_string),
            origin: entry.origin.as_ref().map(ToString::to_string),
            operation: entry.operation.to_string(),
            object: entry.object.to_string(),
            result: entry.result.to_string(),
            reason: entry.reason.as_ref().map(ToString::to_string),
            digest: Digest(record.digest).to_string(),
        }
    }
}

impl AuditCheck {
    /// The view of a check.
    pub fn of(checked: &Checked) -> Self {
        let broken = checked.broken.as_ref();
        Self {
            records: checked.records,
            digest: Digest(checked.digest).to_string(),
            broken: broken.map(|broken| broken.number),
            why: broken.map(|broken| broken.why.to_owned()),
        }
    }
}
