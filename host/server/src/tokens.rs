//! Tokens of callers, and who calls.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::params::{Params, Segments, Time};
use super::request::JsonBytes;
use super::{App, answer};
use quipu::access::{self, Grant, NewToken, Role};
use quipu_api::{CreatedToken, Problem, TokenList, TokenView, Whoami, choices};

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// Whom it is for: 1 to 200 bytes. No two valid tokens have the same name.
    name: String,
    /// What it allows.
    #[schema(value_type = choices::Role)]
    role: String,
    /// Only streams of these categories; at most 100. If categories or projections are listed,
    /// nothing else is allowed.
    #[serde(default)]
    categories: Option<Vec<String>>,
    /// Only these projections; at most 100.
    #[serde(default)]
    projections: Option<Vec<String>>,
    /// Requests per second, 1 or more, in place of the limit of the host.
    #[serde(default)]
    requests_per_second: Option<u32>,
    /// From when on it is refused; by default never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "date-time")]
    expires_at: Option<Time>,
}

/// Makes a token.
///
/// Its text is shown only in this answer: the store has a hash of the secret. From the first token
/// on, every request needs one, except for `/healthz`, `/readyz` and `/openapi.json`.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "create_token", tag = "access",
    security(("token" = ["admin"])),
    request_body = TokenBody,
    responses(
        (status = 201, body = CreatedToken, description = "The token"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; no token was made"),
    ),
)]
pub async fn create(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let given: TokenBody = body.parse()?;
    deed.concerns(&described(&given));
    let new = NewToken {
        name: given.name,
        grant: Grant {
            role: given.role.parse::<Role>()?,
            categories: listed("categories", given.categories)?,
            projections: listed("projections", given.projections)?,
            requests_per_second: given.requests_per_second,
        },
        expires_at: given.expires_at.map(|at| at.0),
        by: caller.name().map(|name| name.to_string()),
    };
    let (token, secret) = app.host.tokens().create(new).await?;
    let created = CreatedToken {
        token: secret.reveal().to_owned(),
        view: TokenView::of(&token),
    };
    answer::json(StatusCode::CREATED, &created)
}

/// What a token may do, for the audit.
fn described(token: &TokenBody) -> String {
    access::described(
        &token.name,
        &token.role,
        token.expires_at.as_ref().map(|at| at.0),
        token.requests_per_second,
        token.categories.as_deref().unwrap_or_default(),
        token.projections.as_deref().unwrap_or_default(),
    )
}

/// A list of a grant. An empty one would allow everything, which nobody who sends it can mean.
fn listed(name: &str, given: Option<Vec<String>>) -> Result<Vec<String>> {
    match given {
        Some(listed) if listed.is_empty() => Err(Failure::bad_request(format!(
            "{name} is empty; leave it out for a token that is not limited"
        ))),
        given => Ok(given.unwrap_or_default()),
    }
}

/// Lists all tokens, also those that have expired or are revoked.
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "list_tokens", tag = "access",
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = TokenList, description = "The tokens, at most 10000"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let tokens = app.host.tokens().list().await?;
    let tokens = tokens.iter().map(TokenView::of).collect();
    answer::json(StatusCode::OK, &TokenList { tokens })
}

/// `{token}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TokenPath {
    /// The token's id, its name or its whole text, percent-encoded
    token: String,
}

/// Revokes a token, for good.
///
/// Every host of the store refuses it within 5 s, and ends its subscriptions and other long answers.
#[utoipa::path(
    delete, path = "/v1/tokens/{token}", operation_id = "revoke_token", tag = "access",
    security(("token" = ["admin"])),
    params(TokenPath),
    responses(
        (status = 200, body = TokenView, description = "The token is revoked"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    Segments(TokenPath { token }): Segments<TokenPath>,
    _: Params<()>,
) -> Result<Response> {
    let revoked = app.host.tokens().revoke(&token).await?;
    answer::json(StatusCode::OK, &TokenView::of(&revoked))
}

/// Shows who calls, and what the caller may do.
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "access",
    security(("token" = [])),
    responses(
        (status = 200, body = Whoami, description = "The caller"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn whoami(By(caller): By, _: Params<()>) -> Result<Response> {
    answer::json(StatusCode::OK, &Whoami::of(&caller))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_says_what_a_token_may_do() {
        let token = |json: &str| serde_json::from_str::<TokenBody>(json).map(|it| described(&it));
        let all = r#"{
            "name": "shop", "role": "client", "categories": ["cart", "order"],
            "projections": ["totals"], "requests_per_second": 5,
            "expires_at": "2031-01-31T12:00:00Z"
        }"#;
        let text = "\"shop\" client, expires 2031-01-31T12:00:00.000000Z, 5 requests per second, \
                    on category cart, order; projection totals";
        assert_eq!(token(all).unwrap(), text);
        let root = token(r#"{"name": "root", "role": "admin"}"#).unwrap();
        assert_eq!(root, "\"root\" admin, never expires, on everything");
    }
}
