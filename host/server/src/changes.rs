//! Changes of a projection's documents, as they happen.

use std::task::{Context, Poll};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::Result;
use super::params::{Params, ProjectionPath, Segments};
use super::subscribe::{LastSeen, last_seen};
use super::{App, answer, sse};
use quipu::projection::{Change, Error};
use quipu_api::Problem;

/// Data of `document`, `switched` and `heartbeat`: each has the members that belong to it.
#[derive(Serialize, ToSchema)]
pub struct ChangeView<'a> {
    /// With `document`: its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// With `document`: byte for byte as it was folded; null when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<Option<&'a RawValue>>,
    /// With `switched`: version of the definition that answers from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// Number of the change in its build; with `heartbeat`, the last change that was checked for
    /// this subscription.
    change: u64,
}

/// Where a subscription to changes begins.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Only documents that changed after the change with this id, for example `3-70`; without it all documents come first
    after: Option<String>,
}

/// Subscribes to the changes of a projection's documents.
///
/// The documents that have changed after `after` come first, each in its current form, then further
/// changes. Of several changes to a document in a row, only the last may be sent. `document`
/// carries one document, with null for one that was deleted. Its id is the build and the number of
/// the change, for example `3-70`. If one event changed several documents, only the last of them
/// has the id, so a client that reconnects misses none. `switched` comes when another build starts
/// to answer, and at the start if that happened while the client was away: discard the documents,
/// because all documents of the new build follow. `heartbeat` comes every 15 s when there is
/// nothing else. A client that stops reading for 30 s is disconnected, with `too-slow` if that can
/// still be sent. `error` carries a problem and ends the subscription.
#[utoipa::path(
    get, path = "/v1/projections/{name}/changes", operation_id = "subscribe_changes", tag = "projections",
    security(("token" = ["view"])),
    params(ProjectionPath, ChangesQuery, LastSeen),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "`document`, `switched`, `heartbeat`, `too-slow`, `error`. The data of the first three are a `ChangeView`"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn subscribe(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    Params(query): Params<ChangesQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let after = last_seen(&headers)?.or(query.after.as_deref());
    let after = after.map(str::parse).transpose()?;
    let changes = Changes(app.host.changes(&name, after).await?);
    let slow_reader_max = app.options.slow_reader_max;
    Ok(sse::answer(
        changes,
        app.meters,
        slow_reader_max,
        app.ending,
    ))
}

/// The changes of one subscription.
struct Changes(BoxStream<'static, std::result::Result<Change, Error>>);

impl sse::Source for Changes {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        chunk: &mut Vec<u8>,
    ) -> Poll<Option<Result<()>>> {
        let polled = self.0.poll_next_unpin(context);
        polled.map(|next| Some(next?.map_err(Into::into).and_then(|it| write(&it, chunk))))
    }
}

fn write(change: &Change, chunk: &mut Vec<u8>) -> Result<()> {
    let mut view = ChangeView {
        key: None,
        document: None,
        version: None,
        change: 0,
    };
    let (name, at, is_place) = match change {
        Change::Document {
            key,
            document,
            at,
            is_last,
        } => {
            view.key = Some(key);
            view.document = Some(document.as_deref().map(answer::raw).transpose()?);
            ("document", at, *is_last)
        }
        Change::Switched { version, at } => {
            view.version = Some(*version);
            ("switched", at, true)
        }
        Change::Heartbeat(at) => ("heartbeat", at, true),
    };
    view.change = at.change;
    sse::write(is_place.then_some(at), name, &view, chunk);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu::projection::ChangePlace;
    use quipu::store::BuildId;

    fn place(change: u64) -> ChangePlace {
        let build = BuildId(3);
        ChangePlace { build, change }
    }

    fn written(change: &Change) -> String {
        let mut chunk = Vec::new();
        assert!(write(change, &mut chunk).is_ok());
        String::from_utf8(chunk).unwrap()
    }

    #[test]
    fn a_place_is_named_after_the_last_document_of_a_change() {
        let document = |document: Option<&str>, is_last| Change::Document {
            key: "a".into(),
            document: document.map(Into::into),
            at: place(7),
            is_last,
        };
        assert_eq!(
            written(&document(Some("{ \"n\":1.0 }"), false)),
            "event: document\ndata: {\"key\":\"a\",\"document\":{ \"n\":1.0 },\"change\":7}\n\n"
        );
        assert_eq!(
            written(&document(None, true)),
            "id: 3-7\nevent: document\ndata: {\"key\":\"a\",\"document\":null,\"change\":7}\n\n"
        );
    }

    #[test]
    fn a_switch_and_a_heartbeat_name_their_place() {
        let switched = Change::Switched {
            version: 2,
            at: place(0),
        };
        assert_eq!(
            written(&switched),
            "id: 3-0\nevent: switched\ndata: {\"version\":2,\"change\":0}\n\n"
        );
        let beat = written(&Change::Heartbeat(place(9)));
        assert_eq!(beat, "id: 3-9\nevent: heartbeat\ndata: {\"change\":9}\n\n");
    }
}
