//! Marks of streams: whether they are archived, and where they are truncated.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::failure::Result;
use super::params::{Params, StreamPath};
use super::request::JsonBytes;
use super::{App, answer, headers};
use quipu::model::{Position, StreamId, Version};
use quipu_api::Problem;

/// Whether a stream takes appends.
#[derive(Serialize, ToSchema)]
pub struct ArchivedStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Whether it is archived.
    archived: bool,
    /// Position of the event in the stream `$streams` that tells of it; null when
    /// nothing had to be done.
    position: Option<u64>,
}

/// Archives a stream.
///
/// It takes no appends then, and lists and pages by category leave it out unless asked.
/// Its events stay in the log. Archiving it again does nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/archive", tag = "streams",
    params(("stream" = String, Path, description = "The stream"), headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "It is archived", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn archive(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    params.finish()?;
    let context = headers::context(&headers)?;
    let position = app.host.archive(&stream, context).await?;
    archived_stream(&app, &stream, true, position).await
}

/// Restores an archived stream.
///
/// It takes appends again. Restoring it again does nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/restore", tag = "streams",
    params(("stream" = String, Path, description = "The stream"), headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "It is not archived", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn restore(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    params.finish()?;
    let context = headers::context(&headers)?;
    let position = app.host.restore(&stream, context).await?;
    archived_stream(&app, &stream, false, position).await
}

async fn archived_stream(
    app: &App,
    stream: &StreamId,
    archived: bool,
    position: Option<Position>,
) -> Result<Response> {
    let view = ArchivedStream {
        stream: stream.as_str(),
        archived,
        position: position.map(|position| position.0),
    };
    answer::about(app, stream, &view).await
}

/// Where a stream is to be truncated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TruncateBody {
    /// Events before this version leave the stream's reads; 0 brings all of them back.
    before: u64,
}

/// Where a stream is truncated.
#[derive(Serialize, ToSchema)]
pub struct TruncatedStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Events before this version have left the stream's reads; 0: none have.
    truncated_before: u64,
    /// Position of the event in the stream `$streams` that tells of it; null when
    /// nothing had to be done.
    position: Option<u64>,
}

/// Truncates a stream before a version, or undoes it.
///
/// The events before it leave the stream's reads and loading, and stay in the log. A
/// snapshot is taken of all events first and stands for them; without one, `truncate-refused`.
/// The last event always stays. `before` 0 undoes it.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/truncate", tag = "streams",
    params(("stream" = String, Path, description = "The stream"), headers::Origin),
    request_body = TruncateBody,
    responses(
        (status = 200, body = TruncatedStream, description = "It is truncated there", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn truncate(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    params.finish()?;
    let TruncateBody { before } = body.parse()?;
    let context = headers::context(&headers)?;
    let truncated = app.host.truncate(&stream, Version(before), context);
    let view = TruncatedStream {
        stream: stream.as_str(),
        truncated_before: before,
        position: truncated.await?.map(|position| position.0),
    };
    answer::about(&app, &stream, &view).await
}
