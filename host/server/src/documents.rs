//! Documents of projections.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::{Fresh, PageSize, Params, Segments, Text};
use super::{App, answer};
use quipu::model::StreamId;
use quipu::projection::{Condition, Live, OrderBy, Query, View, ViewPage};
use quipu::store::{DOCUMENTS_PAGE_MAX, ParkedDocument};
use quipu_api::Problem;

/// Conditions of one query.
const CONDITIONS_MAX: usize = 16;
/// The keyword in `order` that means the documents' keys.
const BY_KEY: &str = "$key";

/// A document.
#[derive(Serialize, ToSchema)]
pub struct DocumentView<'a> {
    /// Its key.
    key: &'a str,
    /// The document, byte for byte as it was folded.
    #[schema(value_type = serde_json::Value)]
    document: &'a RawValue,
    /// Rises with each change of a document in its build.
    change: u64,
    /// Everything up to this position of the log is in it, except parked events.
    position: u64,
    /// True while the document may differ from the result of a rebuild under the current plan:
    /// events that it was folded from are now read in another way, or the host is still checking
    /// that. Otherwise absent.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// Parked events of the document; absent when there are none. An event that is parked for its
    /// stream may concern any document: the projection's status counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<ParkedView<'a>>,
}

/// Parked events of a document.
#[derive(Serialize, ToSchema)]
pub struct ParkedView<'a> {
    /// Number of events.
    events: u64,
    /// Position of the first one, for which the others wait.
    first_position: u64,
    /// Why the first one could not be folded; null if it was never tried.
    error: Option<&'a str>,
}

impl<'a> ParkedView<'a> {
    fn of(parked: &'a ParkedDocument) -> Self {
        Self {
            events: parked.events,
            first_position: parked.first_position.0,
            error: parked.error.as_deref(),
        }
    }
}

/// A page of documents.
#[derive(Serialize, ToSchema)]
pub struct DocumentPage<'a> {
    /// The documents in the requested order. A page may have fewer than `limit`, or none, before
    /// the end.
    documents: Vec<DocumentEntry<'a>>,
    /// `cursor` of the next page; null at the end.
    next: Option<&'a str>,
    /// Everything up to this position is in them, except parked events.
    position: u64,
    /// As for a single document. Absent unless true.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// For how many documents and streams of the projection events are parked, on this page or
    /// elsewhere.
    parked: u64,
}

/// A document of a page.
#[derive(Serialize, ToSchema)]
pub struct DocumentEntry<'a> {
    /// Its key.
    key: &'a str,
    /// The document, byte for byte as it was folded.
    #[schema(value_type = serde_json::Value)]
    document: &'a RawValue,
    /// Rises with each change of a document in its build.
    change: u64,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The documents that only the events of one stream produce.
#[derive(Serialize, ToSchema)]
pub struct LiveView<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// Events before this version are truncated and not included; absent when the stream is not
    /// truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
    /// The documents by key, byte for byte as they were folded.
    #[serde(serialize_with = "members")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    documents: &'a [(&'a str, &'a RawValue)],
}

impl<'a> LiveView<'a> {
    /// The view of a live fold; the documents are those of `live`, as JSON.
    pub fn of(stream: &'a StreamId, live: &Live, documents: &'a [(&'a str, &'a RawValue)]) -> Self {
        Self {
            stream: stream.as_str(),
            version: live.version.0,
            truncated_before: Some(live.truncated_before.0).filter(|before| *before > 0),
            documents,
        }
    }
}

fn members<S: Serializer>(
    documents: &&[(&str, &RawValue)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(documents.iter().copied())
}

/// `{projection}/{key}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DocumentPath {
    /// The projection
    projection: String,
    /// The document's key; a `/` in it is written %2F
    key: String,
}

/// Reads a document of a projection by its key.
///
/// The active build answers. While it lags, it returns the document that it has. With `after` the
/// request waits until the build has reached that position. If it does not reach it in time, the
/// answer is `not-fresh`, with the position reached and the `reason` `lagging`. If it can't reach
/// it, the answer comes at once, with the reason `stopped`, `paused`, `stale` (events that it has
/// folded are now read in another way, and it is rebuilt), or `parked`: an event up to `after` is
/// parked for this document, or for a stream, whose events may concern any document. A live
/// projection stores no documents: see `/v1/projections/{name}/live/{stream}`.
#[utoipa::path(
    get, path = "/v1/views/{projection}/{key}", operation_id = "read_document", tag = "views",
    security(("token" = ["view"])),
    params(DocumentPath, Fresh),
    responses(
        (status = 200, body = DocumentView, description = "The document"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    Segments(path): Segments<DocumentPath>,
    Params(fresh): Params<Fresh>,
) -> Result<Response> {
    let freshness = fresh.within(app.options.request_time_max)?;
    let view = app.host.view(&path.projection, &path.key, freshness);
    let view = view.await?;
    let shown = DocumentView {
        key: &view.key,
        document: answer::raw(&view.document)?,
        change: view.change,
        position: view.position.0,
        stale: view.is_stale,
        parked: view.parked.as_ref().map(ParkedView::of),
    };
    answer::json(StatusCode::OK, &shown)
}

/// `{projection}` of a page of documents.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DocumentsPath {
    /// The projection
    projection: String,
}

/// Which documents to read, and in which order.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DocumentsQuery {
    /// A condition, percent-encoded, for example `status%3Dopen` or `amount%3E%3D1000`; may be repeated, at most 16 times: documents must match all of them
    r#where: Option<Vec<String>>,
    /// An index; with `-` before it, from the greatest value down; `$key` means the keys. By default the index of the first condition, or the keys if there is no condition
    #[param(value_type = Option<String>)]
    order: Option<Text>,
    /// Maximum number of documents: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<DOCUMENTS_PAGE_MAX>,
    /// `cursor` of the previous page of the same query
    #[param(value_type = Option<String>)]
    cursor: Option<Text>,
}

/// Reads documents of a projection, by its indexes or by key.
///
/// A condition is `INDEX=VALUE`, or has `<`, `<=`, `>` or `>=` instead of `=`. The value is written
/// as the index stores it: text as it is, numbers in decimal, `true` or `false`. Texts are compared
/// by their bytes. A document whose index has several values, from an array, is found by each of
/// them, and appears once, at the first of them that fits.
///
/// With `after`, the answer is `not-fresh` with the reason `parked` while any event up to that
/// position is parked in the projection, because it could change which documents match.
#[utoipa::path(
    get, path = "/v1/views/{projection}", operation_id = "read_documents", tag = "views",
    security(("token" = ["view"])),
    params(DocumentsPath, DocumentsQuery, Fresh),
    responses(
        (status = 200, body = DocumentPage, description = "Documents"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    visit: Visit,
    Segments(path): Segments<DocumentsPath>,
    Params((query, fresh)): Params<(DocumentsQuery, Fresh)>,
) -> Result<Response> {
    let freshness = fresh.within(app.options.request_time_max)?;
    let query = query.into_query()?;
    // A request that waits for a position holds no memory meanwhile.
    app.host.until_fresh(&path.projection, freshness).await?;
    let room = visit.room(&app).await?;
    let page = app.host.views(&path.projection, &query, freshness).await?;
    Ok(room.of(answer::json(StatusCode::OK, &DocumentPage::of(&page)?)?))
}

impl<'a> DocumentPage<'a> {
    fn of(page: &'a ViewPage) -> Result<Self> {
        let entry = |view: &'a View| {
            Ok(DocumentEntry {
                key: &view.key,
                document: answer::raw(&view.document)?,
                change: view.change,
            })
        };
        Ok(Self {
            documents: page.documents.iter().map(entry).collect::<Result<_>>()?,
            next: page.cursor.as_deref(),
            position: page.position.0,
            stale: page.is_stale,
            parked: page.parked,
        })
    }
}

impl DocumentsQuery {
    fn into_query(self) -> Result<Query> {
        let conditions = self.r#where.unwrap_or_default();
        if conditions.len() > CONDITIONS_MAX {
            let detail = format!("query: where is given more than {CONDITIONS_MAX} times");
            return Err(Failure::bad_request(detail));
        }
        let conditions = conditions.iter().map(|text| text.parse());
        let conditions = conditions.collect::<std::result::Result<Vec<Condition>, _>>()?;
        Ok(Query {
            conditions,
            order: self.order.map(|text| order(text.0)),
            limit: self.limit.0,
            cursor: self.cursor.map(|cursor| cursor.0),
        })
    }
}

fn order(text: String) -> OrderBy {
    let (index, is_descending) = match text.strip_prefix('-') {
        Some(index) => (index.to_owned(), true),
        None => (text, false),
    };
    OrderBy {
        index: Some(index).filter(|index| index != BY_KEY),
        is_descending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_an_index_or_the_keys() {
        for (text, index, is_descending) in [
            ("amount", Some("amount"), false),
            ("-amount", Some("amount"), true),
            ("$key", None, false),
            ("-$key", None, true),
        ] {
            let expected = OrderBy {
                index: index.map(str::to_owned),
                is_descending,
            };
            assert_eq!(order(text.to_owned()), expected, "{text}");
        }
    }
}
