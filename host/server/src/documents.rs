//! Documents of projections.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::{NamePath, Params, TwoPath};
use super::{App, answer};
use quipu::model::StreamId;
use quipu::projection::{Condition, Live, OrderBy, Query, View, ViewPage};
use quipu::store::{DOCUMENTS_PAGE_MAX, ParkedDocument};
use quipu_api::Problem;

/// Conditions of one query.
const CONDITIONS_MAX: usize = 16;
/// What an order says for the documents' keys.
const BY_KEY: &str = "$key";

/// A document.
#[derive(Serialize, ToSchema)]
pub struct DocumentView<'a> {
    /// Its key.
    key: &'a str,
    /// Byte for byte as it was folded.
    #[schema(value_type = serde_json::Value)]
    document: &'a RawValue,
    /// Rises with each change of a document in its build.
    change: u64,
    /// Everything up to this position of the log is in it, except what is parked.
    position: u64,
    /// True while it may not be what a rebuild under the present plan would make: events that it
    /// was folded from are read in another way by now, or that is being found out. Absent else.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// Events that are parked for it; absent when none are. Of an event that is parked for its
    /// stream nobody knows which documents it concerns: the projection's status counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<ParkedView<'a>>,
}

/// What is parked for a document.
#[derive(Serialize, ToSchema)]
pub struct ParkedView<'a> {
    /// How many events.
    events: u64,
    /// Position of the first of them, for which the others wait.
    first_position: u64,
    /// Why the first one could not be folded; null when it was never tried.
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

/// Some documents.
#[derive(Serialize, ToSchema)]
pub struct DocumentPage<'a> {
    /// In the order that was asked for. Fewer than `limit`, or none, may stand before the
    /// end.
    documents: Vec<DocumentEntry<'a>>,
    /// `cursor` of the next page; null at the end.
    next: Option<&'a str>,
    /// Everything up to this position of the log is in them, except what is parked.
    position: u64,
    /// As of a single document. Absent unless true.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// For how many documents and streams of the projection events are parked, whether they
    /// are in this page or not.
    parked: u64,
}

/// A document of a page.
#[derive(Serialize, ToSchema)]
pub struct DocumentEntry<'a> {
    /// Its key.
    key: &'a str,
    /// Byte for byte as it was folded.
    #[schema(value_type = serde_json::Value)]
    document: &'a RawValue,
    /// Rises with each change of a document in its build.
    change: u64,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The documents that one stream's events alone make.
#[derive(Serialize, ToSchema)]
pub struct LiveView<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// Events before this version have left its reads, and are not in them; absent when none
    /// have.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
    /// By key, byte for byte as they were folded.
    #[serde(serialize_with = "members")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    documents: &'a [(&'a str, &'a RawValue)],
}

impl<'a> LiveView<'a> {
    /// The view of what was folded; the documents are those of `live`, as JSON.
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

/// Reads a document of a projection by its key.
///
/// From the active build; while that is behind, it answers what it has, unless `after` asks
/// for more: then that is waited for. When it does not come in time, the answer is
/// `not-fresh`, with the position reached and the `reason` `lagging`. When it can't come, that
/// is answered at once, with the reason `stopped`, `paused`, `stale` (events that it has folded are read in another way
/// by now, and it is rebuilt), or `parked`: an event up to
/// `after` is parked for this document, or for a stream, whose events may concern any. Of a live projection nothing is stored: see `/v1/projections/{name}/live/{stream}`.
#[utoipa::path(
    get, path = "/v1/views/{projection}/{key}", operation_id = "read_document", tag = "views",
    params(
        ("projection" = String, Path, description = "The projection"),
        ("key" = String, Path, description = "The document's key; a `/` in it is written %2F"),
        ("after" = Option<u64>, Query, description = "Everything up to this position must be in the document, as the answer to a command names it"),
        ("timeout" = Option<u64>, Query, description = "With `after`: how long that is waited for, in ms, 0 to 30000, by default 5000; at most nine tenths of the time that the host gives a request"),
    ),
    responses(
        (status = 200, body = DocumentView, description = "The document"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    TwoPath(name, key): TwoPath,
    mut params: Params,
) -> Result<Response> {
    let freshness = params.freshness(app.options.request_time_max)?;
    params.finish()?;
    let view = app.host.view(&name, &key, freshness).await?;
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

/// Reads documents of a projection, by its indexes or by key.
///
/// A condition is `INDEX=VALUE`, or has `<`, `<=`, `>` or `>=` in place of `=`; the value is
/// written as the index has it: text as it is, numbers in decimal, `true` or `false`. Texts
/// are compared by their bytes. A document whose index has several values, of an array, is
/// found by each, and stands once for each in an order by that index.
///
/// With `after`, the answer is `not-fresh` with the reason `parked` while any event up to that
/// position is parked in the projection: nobody knows which documents would be found with it.
#[utoipa::path(
    get, path = "/v1/views/{projection}", operation_id = "read_documents", tag = "views",
    params(
        ("projection" = String, Path, description = "The projection"),
        ("where" = Option<Vec<String>>, Query, description = "A condition, percent-encoded, as `status%3Dopen` or `amount%3E%3D1000`; may be repeated, at most 16 times: all hold"),
        ("order" = Option<String>, Query, description = "An index, or with `-` before it from the greatest value down; `$key` stands for the keys. By default the index of the first condition, without one the keys"),
        ("limit" = Option<u64>, Query, description = "Documents at most: 1 to 1000, by default 100"),
        ("cursor" = Option<String>, Query, description = "Where another page of the same query ended"),
        ("after" = Option<u64>, Query, description = "Everything up to this position must be in the documents"),
        ("timeout" = Option<u64>, Query, description = "With `after`: how long that is waited for, in ms, 0 to 30000, by default 5000"),
    ),
    responses(
        (status = 200, body = DocumentPage, description = "Documents"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    visit: Visit,
    NamePath(name): NamePath,
    mut params: Params,
) -> Result<Response> {
    let freshness = params.freshness(app.options.request_time_max)?;
    let query = query(&mut params)?;
    params.finish()?;
    let view = async || {
        let page = app.host.views(&name, &query, freshness).await?;
        answer::json(StatusCode::OK, &DocumentPage::of(&page)?)
    };
    if freshness.wait.is_zero() {
        let room = visit.room(&app).await?;
        return Ok(room.of(view().await?));
    }
    // Who waits for a position takes no room meanwhile.
    let answer = view().await?;
    Ok(visit.room(&app).await?.of(answer))
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

fn query(params: &mut Params) -> Result<Query> {
    let conditions = params.all("where").unwrap_or_default();
    if conditions.len() > CONDITIONS_MAX {
        let detail = format!("query: where is given more than {CONDITIONS_MAX} times");
        return Err(Failure::bad_request(detail));
    }
    let conditions = conditions.iter().map(|text| text.parse());
    let conditions = conditions.collect::<std::result::Result<Vec<Condition>, _>>()?;
    Ok(Query {
        conditions,
        order: params.text("order")?.map(order),
        limit: params.limit(DOCUMENTS_PAGE_MAX)?,
        cursor: params.text("cursor")?,
    })
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
