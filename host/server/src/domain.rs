//! The active domain: its description, and its commands under paths of their own.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;

use super::access::By;
use super::failure::{Failure, Result};
use super::params::{Params, Segments};
use super::request::JsonBytes;
use super::{App, answer, headers, openapi};
use quipu::access::{Action, Object};
use quipu::deploy::Plan;
use quipu::model::{Body, Category, Command, Context, Name, StreamId};
use quipu_api::{Code, Problem, domain, outcome};

/// The description of the domain, with the number of its plan.
#[derive(Clone, Default)]
pub struct Described(Arc<Mutex<Option<(u64, Bytes)>>>);

impl Described {
    fn get(&self, plan: u64) -> Option<Bytes> {
        let described = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, bytes) = described.as_ref()?;
        (*number == plan).then(|| bytes.clone())
    }

    fn set(&self, plan: u64, bytes: Bytes) {
        let mut described = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *described = Some((plan, bytes));
    }
}

/// Describes the active domain in OpenAPI 3.1.
///
/// It has a path for each type of commands, with the JSON Schema that the decider declares, the
/// codes with which it rejects, the data of events as schemas, and the reads of each projection.
/// Generators of clients make typed functions of it. It changes with each activation. A caller who
/// may read only some categories and projections gets the description of these.
#[utoipa::path(
    get, path = "/v1/domain/openapi.json", operation_id = "describe_domain", tag = "commands",
    security(("token" = ["read"])),
    responses(
        (status = 200, body = serde_json::Value, description = "The description; `x-quipu-plan` is the number of its plan, `x-quipu-notes` lists what is left out"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn describe(State(app): State<App>, By(caller): By, _: Params<()>) -> Result<Response> {
    let plan = app.host.plan();
    let number = plan.number;
    let rules = app.options.rules.current();
    let may_read = move |object: Object<'_>| rules.check(&caller, Action::Read, object);
    let is_whole = match may_read(Object::Store) {
        Ok(()) => true,
        Err(why) if !reaches_any(&plan, &may_read) => {
            app.meters.denied(Action::Read);
            return Err(Failure::new(Code::Forbidden, why));
        }
        Err(_) => false,
    };
    let bytes = match app.domain.get(number).filter(|_| is_whole) {
        Some(bytes) => bytes,
        None => {
            let may_show = move |object: Object<'_>| is_whole || may_read(object).is_ok();
            let describing = tokio::task::spawn_blocking(move || described(&plan, &may_show));
            let bytes = describing
                .await
                .map_err(|error| Failure::internal(&error))??;
            if is_whole {
                app.domain.set(number, bytes.clone());
            }
            bytes
        }
    };
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], bytes).into_response())
}

/// Whether a caller may read anything of the domain.
fn reaches_any(
    plan: &Plan,
    may_read: &dyn Fn(Object<'_>) -> std::result::Result<(), String>,
) -> bool {
    let mut categories = plan.readers();
    let mut projections = plan.projections();
    categories.any(|(category, _)| may_read(Object::Category(category)).is_ok())
        || projections.any(|(name, _)| may_read(Object::Projection(name)).is_ok())
}

fn described(plan: &Plan, may_show: &dyn Fn(Object<'_>) -> bool) -> Result<Bytes> {
    let failed = |error| Failure::internal(&error);
    let host = serde_json::from_str(&openapi()).map_err(failed)?;
    let document = domain::document(&host, plan, may_show);
    Ok(serde_json::to_vec_pretty(&document).map_err(failed)?.into())
}

/// `{category}/{key}/{command}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CommandPath {
    /// The category of the stream
    category: String,
    /// The stream's id after its category and `-`
    key: String,
    /// Type of the command
    command: String,
}

/// Details of a command.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CommandQuery {
    /// Schema version of the data; by default the decider's current one
    schema_version: Option<u32>,
}

/// Executes a command whose data is the body.
///
/// Does the same as `POST /v1/streams/{category}-{key}/commands`, without metadata. The description
/// of the domain has one such path for each type of commands.
#[utoipa::path(
    post, path = "/v1/domain/{category}/{key}/{command}", operation_id = "execute_typed", tag = "commands",
    security(("token" = ["command"])),
    params(
        CommandPath,
        CommandQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "The command's id within its stream"),
        headers::Preconditions,
        headers::Origin,
    ),
    request_body(content = serde_json::Value, description = "The data of the command, stored byte for byte"),
    responses(
        (status = 200, body = outcome::Outcome, description = "Executed; for a replay, the first outcome", headers(("ETag" = String, description = "The stream's version after the command, as in `version`"))),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "The stream has another version", headers(("ETag" = String, description = "The stream's version, as in `found`; \"0\" if the stream does not exist"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn execute(
    State(app): State<App>,
    Segments(path): Segments<CommandPath>,
    By(caller): By,
    Params(query): Params<CommandQuery>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let category = Category::new(&path.category)?;
    let stream = StreamId::new(&format!("{}-{}", category.as_str(), path.key))?;
    let context = headers::context(&headers, &caller)?;
    let command = body.away(|bytes| command(bytes, &path.command, &query, &headers))?;
    let command = Command { context, ..command };
    let executed = app.host.execute(&stream, command).await?;
    answer::tagged(executed.version, &outcome::Outcome::of(&executed))
}

fn command(bytes: &[u8], name: &str, query: &CommandQuery, headers: &HeaderMap) -> Result<Command> {
    Ok(Command {
        id: headers::command_id(headers)?,
        name: Name::new(name)?,
        schema_version: query.schema_version,
        body: Body::json(bytes.trim_ascii().to_vec())?,
        metadata: None,
        expected_version: headers::expected_version(headers)?,
        context: Context::default(),
    })
}
