//! Whether somebody may do something, and by which rule.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::access::{self, By};
use super::administration::{self, Serves};
use super::failure::{Failure, Result};
use super::params::Params;
use super::{App, answer};
use quipu::access::{Action, Caller, Grant, Identified, Object, Role};
use quipu::model::Invalid;
use quipu_api::{CanView, Code, Problem};
use quipu_policy::Target;

/// The caller itself, as `who`.
const ME: &str = "me";
/// Before a role, as `who`.
const ROLE: &str = "role:";

/// Who does what to what.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CanQuery {
    /// `me`, the name of a valid token, or `role:` and a role. Whoever asks for others needs the action admin
    #[serde(default = "me")]
    #[param(required = false)]
    who: String,
    /// The action, as `command`
    #[param(required = true)]
    action: Option<String>,
    /// `store`, `category/NAME`, `stream/ID`, `projection/NAME` or `module/NAME`
    #[serde(default = "store")]
    #[param(required = false)]
    on: String,
}

fn me() -> String {
    ME.to_owned()
}

fn store() -> String {
    "store".to_owned()
}

/// Says whether somebody may do something, and by which rule.
#[utoipa::path(
    get, path = "/v1/can", operation_id = "can", tag = "access",
    security(("token" = [])),
    params(CanQuery),
    responses(
        (status = 200, body = CanView, description = "Whether it is allowed"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem: `token-not-found` when no valid token has the name"),
    ),
)]
pub async fn can(
    State(app): State<App>,
    By(caller): By,
    Extension(serves): Extension<Serves>,
    Params(query): Params<CanQuery>,
) -> Result<Response> {
    let wrong =
        |name: &str, error: Invalid| Failure::bad_request(format!("query: {name}: {error}"));
    let action = query.action.as_deref();
    let action = action.ok_or_else(|| Failure::bad_request("query: action is missing"))?;
    let action: Action = action.parse().map_err(|error| wrong("action", error))?;
    let on: Target = query.on.parse().map_err(|error| wrong("on", error))?;
    // The answer is that of a request, which may not be able to name it.
    let on = app.access.asked_for(action, on);
    let who = match &*query.who {
        ME => caller,
        who => {
            administration::only(serves, "whether others may do something")?;
            access::check(&app, &caller, Action::Admin, Object::Store)?;
            somebody(&app, who).await?
        }
    };
    let rules = app.options.rules.current();
    let checked = rules.check(&who, action, on.object());
    let by = match (&checked, &rules.policy, who.grant()) {
        (_, _, None) => vec!["the host is open".to_owned()],
        (_, Some(policy), _) => match policy.decide(&who, action, on.object()) {
            decision if decision.is_allowed == checked.is_ok() => decision.rules,
            // The lists of the grant, or a part of what is asked for, deny it.
            _ => Vec::new(),
        },
        (Ok(()), None, Some(grant)) => vec![format!("role {}", grant.role)],
        (Err(_), None, _) => Vec::new(),
    };
    let view = CanView {
        allowed: checked.is_ok(),
        rules: by,
        why: checked.err(),
    };
    answer::json(StatusCode::OK, &view)
}

async fn somebody(app: &App, who: &str) -> Result<Caller> {
    if let Some(role) = who.strip_prefix(ROLE) {
        let role: Role = role
            .parse()
            .map_err(|error| Failure::bad_request(format!("query: who: {error}")))?;
        let identified = Caller::identified(Identified {
            name: who.to_owned(),
            grant: Grant::of(role),
            attributes: Default::default(),
            expires_at: None,
        });
        return Ok(identified?);
    }
    let found = app.host.tokens().named(who).await?;
    found.ok_or_else(|| {
        let detail = format!("no valid token is named {who:?}");
        Failure::new(Code::TokenNotFound, detail)
    })
}
