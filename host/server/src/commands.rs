//! `POST /v1/streams/{stream}/commands`.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::access::By;
use super::failure::Result;
use super::params::{Params, StreamPath};
use super::request::JsonBytes;
use super::{App, answer, headers};
use quipu::access::Caller;
use quipu::model::{Command, Name};
use quipu_api::{Problem, body, outcome};

/// A command.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandBody<'a> {
    /// Its type.
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// Schema version of the data; by default the decider's current one.
    #[serde(default)]
    schema_version: Option<u32>,
    /// JSON, stored byte for byte. Either this or `data_base64`; without both, `{}`.
    #[serde(borrow, default, deserialize_with = "body::given")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Bytes that are not JSON.
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    /// Media type of `data_base64`; default `application/octet-stream`.
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    /// An object, stored byte for byte.
    #[serde(borrow, default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    metadata: Option<&'a RawValue>,
}

/// Executes a command.
///
/// The decider of the stream's category decides it. The answer comes when the events are durable. A command with an `Idempotency-Key` has one
/// outcome: if it is sent a second time, the first outcome is returned, marked as replayed.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/commands", tag = "commands",
    security(("token" = ["command"])),
    params(
        StreamPath,
        ("Idempotency-Key" = Option<String>, Header, description = "The command's id within its stream"),
        headers::Preconditions,
        headers::Origin,
    ),
    request_body = CommandBody,
    responses(
        (status = 200, body = outcome::Outcome, description = "Executed; for a replay, the first outcome", headers(("ETag" = String, description = "The stream's version after the command, as in `version`"))),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "The stream has another version", headers(("ETag" = String, description = "The stream's version, as in `found`; \"0\" if the stream does not exist"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn execute(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let command = body.away(|bytes| command(bytes, &headers, &caller))?;
    let executed = app.host.execute(&stream, command).await?;
    answer::tagged(executed.version, &outcome::Outcome::of(&executed))
}

pub(super) fn command(bytes: &[u8], headers: &HeaderMap, caller: &Caller) -> Result<Command> {
    let given: CommandBody<'_> = body::parse(bytes)?;
    Ok(Command {
        id: headers::command_id(headers)?,
        name: Name::new(&given.r#type)?,
        schema_version: given.schema_version,
        body: body::command_body(
            given.data,
            given.data_base64.as_deref(),
            given.content_type.as_deref(),
        )?,
        metadata: given.metadata.map(body::metadata).transpose()?,
        expected_version: headers::expected_version(headers)?,
        context: headers::context(headers, caller)?,
    })
}
