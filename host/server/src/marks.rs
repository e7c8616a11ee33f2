//! Marks of streams: whether a stream is archived, and where it is truncated.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::By;
use super::deed::Deed;
use super::failure::Result;
use super::params::{Params, StreamPath};
use super::request::JsonBytes;
use super::{App, answer, headers};
use quipu::model::{Position, StreamId, Version};
use quipu_api::Problem;

/// Whether a stream accepts appends.
#[derive(Serialize, ToSchema)]
pub struct ArchivedStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Whether it is archived.
    archived: bool,
    /// Position of the event in the stream `$streams` that records the change; null if there was
    /// nothing to do.
    position: Option<u64>,
}

/// Archives a stream.
///
/// An archived stream accepts no appends, and lists and pages by category leave it out unless
/// asked. Its events stay in the log. Archiving an archived stream changes nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/archive", tag = "streams",
    security(("token" = ["archive"])),
    params(StreamPath, headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "The stream is archived", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn archive(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    _: Params<()>,
    headers: HeaderMap,
) -> Result<Response> {
    let context = headers::context(&headers, &caller)?;
    let position = app.host.archive(&stream, context).await?;
    archived_stream(&app, &stream, true, position).await
}

/// Restores an archived stream.
///
/// The stream accepts appends again. Restoring a stream that is not archived changes nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/restore", tag = "streams",
    security(("token" = ["archive"])),
    params(StreamPath, headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "The stream is not archived", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn restore(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    _: Params<()>,
    headers: HeaderMap,
) -> Result<Response> {
    let context = headers::context(&headers, &caller)?;
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

/// Where to truncate a stream.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TruncateBody {
    /// Events before this version are hidden from reads of the stream; 0 restores all of them.
    before: u64,
}

/// Where a stream is truncated.
#[derive(Serialize, ToSchema)]
pub struct TruncatedStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Events before this version are hidden from reads of the stream; 0: the stream is not
    /// truncated.
    truncated_before: u64,
    /// Position of the event in the stream `$streams` that records the change; null if there was
    /// nothing to do.
    position: Option<u64>,
}

/// Truncates a stream before a version, or undoes it.
///
/// The events before that version are hidden from stream reads and replay, and stay in the log. A
/// snapshot of all events is taken first and replaces them; if that is not possible, the answer is
/// `truncate-refused`. The last event always stays. `before` 0 undoes the truncation.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/truncate", tag = "streams",
    security(("token" = ["archive"])),
    params(StreamPath, headers::Origin, headers::Reason),
    request_body = TruncateBody,
    responses(
        (status = 200, body = TruncatedStream, description = "The stream is truncated", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn truncate(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    deed.needs_reason("truncating a stream")?;
    let TruncateBody { before } = body.parse()?;
    let context = headers::context(&headers, &caller)?;
    let truncated = app.host.truncate(&stream, Version(before), context);
    let view = TruncatedStream {
        stream: stream.as_str(),
        truncated_before: before,
        position: truncated.await?.map(|position| position.0),
    };
    answer::about(&app, &stream, &view).await
}
