//! Export and import of the log as a file.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::failure::Result;
use super::pace::Paced;
use super::params::Params;
use super::request::NdjsonBody;
use super::{App, answer, headers};
use quipu::model::Position;
use quipu::store;
use quipu::transfer::{Error, Failed, write_failed};
use quipu_api::{Code, ImportView, Problem, choices};

/// The path that imports an export. The request lasts as long as its body.
pub const IMPORT: &str = "/v1/import";

/// Which part of the log to export.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Only entries after this position; by default all
    after: Option<u64>,
}

/// Exports the log.
///
/// Each line is a CloudEvent. The export contains everything that the store has, up to the event
/// that is the last one when the request arrives. An answer whose last line is not of type
/// `quipu.end` was cut off. With `Accept: application/octet-stream` the lines have that media type.
#[utoipa::path(
    get, path = "/v1/export", operation_id = "export_log", tag = "operations",
    security(("token" = ["operate"])),
    params(ExportQuery),
    responses(
        (status = 200, description = "The lines", content(
            (choices::Binary = "application/x-ndjson"),
            (choices::Binary = "application/octet-stream"),
        )),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn export(
    State(app): State<App>,
    Params(query): Params<ExportQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let after = query.after.unwrap_or(0);
    let export = app.host.export(Position(after)).await;
    let export = export.map_err(|error| problem_of(&error, error.to_string()))?;
    let chunks = futures::stream::try_unfold(Some(export), |export| async move {
        let Some(mut export) = export else {
            return Ok(None);
        };
        let chunk = match export.next().await {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::error!(%error, "an export was cut off");
                let last = failed(&error)?;
                return Ok::<_, store::Error>(Some((last, None)));
            }
        };
        Ok(chunk.map(|chunk| (chunk, Some(export))))
    });
    let mut response = answer::ndjson(Body::from_stream(chunks));
    if headers::accepts_bytes(&headers) {
        let bytes = HeaderValue::from_static(headers::BYTES);
        response.headers_mut().insert(header::CONTENT_TYPE, bytes);
    }
    Ok(answer::varying(response))
}

/// The last line of an export that ends because the store is damaged: a retry does not help, so the
/// reader has to know why. Any other error breaks the answer off.
fn failed(error: &store::Error) -> std::result::Result<Bytes, store::Error> {
    if !error.is_lasting() {
        return Err(error.clone());
    }
    let mut line = Vec::new();
    write_failed(&error.to_string(), &mut line)?;
    Ok(line.into())
}

/// Imports an export.
///
/// The store must be empty, or contain the part that an interrupted import of the same log left:
/// then the import continues after the last event. Everything that was imported before a problem
/// stays. From its first byte on, an import blocks all writes, also those of hosts that start
/// meanwhile; when no data arrives for 20 s, it ends with `body-timeout`. While other hosts are
/// connected to the store, an import is refused.
#[utoipa::path(
    post, path = IMPORT, operation_id = "import_log", tag = "operations",
    security(("token" = ["operate"])),
    request_body(description = "The lines of an export", content(
        (choices::Binary = "application/x-ndjson"),
        (choices::Binary = "application/octet-stream"),
    )),
    responses(
        (status = 200, body = ImportView, description = "Everything was imported"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; `detail` says how far the import got"),
    ),
)]
pub async fn import(State(app): State<App>, _: Params<()>, body: NdjsonBody) -> Result<Response> {
    let body = body.steady();
    let verdict = body.verdict();
    // An import blocks writes only after its client has sent something.
    let mut chunks = Box::pin(chunks(body, app.ending.clone()).fuse().peekable());
    _ = chunks.as_mut().peek().await;
    match app.host.import(chunks.by_ref(), &mut |_| {}).await {
        Ok(imported) => answer::json(StatusCode::OK, &ImportView::of(&imported)),
        Err(failed) => {
            read_on(chunks).await;
            Err(verdict.instead_of(problem(&failed)).into())
        }
    }
}

/// The body, which breaks off when the server is asked to shut down.
fn chunks(
    body: Paced<BodyDataStream>,
    ending: CancellationToken,
) -> impl Stream<Item = std::result::Result<Bytes, String>> {
    let begin = (body, ending);
    futures::stream::unfold(begin, |(mut body, ending)| async {
        let chunk = tokio::select! {
            () = ending.cancelled() => Err("the host is shutting down".to_owned()),
            chunk = body.next() => chunk?.map_err(|error| error.to_string()),
        };
        Some((chunk, (body, ending)))
    })
}

/// How many bytes are still read after a problem, and for how long.
const READ_ON_BYTES_MAX: usize = 64 << 20;
const READ_ON_MAX: Duration = Duration::from_secs(5);

/// Continues to read for a while, so that a client which sends before it reads receives the answer.
async fn read_on(mut chunks: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            read += chunk.len();
            if read > READ_ON_BYTES_MAX {
                break;
            }
        }
    };
    _ = tokio::time::timeout(READ_ON_MAX, reading).await;
}

fn problem(failed: &Failed) -> Box<Problem> {
    problem_of(&failed.error, failed.to_string())
}

fn problem_of(error: &Error, detail: String) -> Box<Problem> {
    match error {
        Error::Part { error, .. } | Error::Store(error)
            if !matches!(
                error,
                store::Error::Import(_) | store::Error::OthersConnected
            ) =>
        {
            error.clone().into()
        }
        error => Box::new(Problem::new(Code::named(error.code()), detail)),
    }
}
