//! Deprecated operations and parameters, which answers and the OpenAPI description name.
//!
//! The header `Deprecation` (RFC 9745) has the time since when, `Sunset` (RFC 8594) the time of the
//! removal, and `Link` leads to what replaces it.

use axum::Router;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use jiff::tz::Offset;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{Deprecated, OpenApi};

pub use jiff::civil::{Date, date};

use super::App;

/// What is deprecated in the HTTP interface.
pub const DEPRECATED: &[Deprecation] = &[];

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// An operation that is deprecated, or a parameter of one.
#[derive(Debug, Clone, Copy)]
pub struct Deprecation {
    /// The method, as `GET`. `HEAD` belongs to `GET`.
    pub method: &'static str,
    /// The path as the OpenAPI description has it, as `/v1/streams/{stream}/events`.
    pub path: &'static str,
    /// The parameter of the query that is deprecated; none for the whole operation.
    pub parameter: Option<&'static str>,
    /// The day of the release that deprecated it.
    pub since: Date,
    /// The first day on which a release may be without it.
    pub removal: Date,
    /// Where its replacement is described: a URI, or a path of the host.
    pub link: &'static str,
}

/// Adds headers to the answers of deprecated operations, also to errors. Without entries there is no
/// layer.
pub(super) fn announced(router: Router<App>, table: &'static [Deprecation]) -> Router<App> {
    match table.is_empty() {
        true => router,
        false => router.layer(from_fn_with_state(table, announce)),
    }
}

async fn announce(
    State(table): State<&'static [Deprecation]>,
    request: Request,
    next: Next,
) -> Response {
    let used: Vec<_> = table.iter().filter(|it| it.is_used_by(&request)).collect();
    let mut response = next.run(request).await;
    add(&used, response.headers_mut());
    response
}

/// Adds the earliest days of what was used, and each link.
fn add(used: &[&Deprecation], headers: &mut HeaderMap) {
    let since = used.iter().map(|it| it.since).min();
    let removal = used.iter().map(|it| it.removal).min();
    let (Some(since), Some(removal)) = (since, removal) else {
        return;
    };
    let begin = Offset::UTC.to_timestamp(since.at(0, 0, 0, 0));
    let begin = begin.expect("a day of the table is a time").as_second();
    let end = removal.strftime("%a, %d %b %Y 00:00:00 GMT").to_string();
    let links = used.iter().map(|it| {
        let link = format!("<{}>; rel=\"deprecation\"", it.link);
        (header::LINK, link)
    });
    let dates = [(DEPRECATION, format!("@{begin}")), (SUNSET, end)];
    for (name, value) in dates.into_iter().chain(links) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(name, value);
        }
    }
}

/// Marks entries of a table in the description. Those that it does not have change nothing.
pub(super) fn mark(description: &mut OpenApi, table: &[Deprecation]) {
    for entry in table {
        let Some(item) = description.paths.paths.get_mut(entry.path) else {
            continue;
        };
        let operation = match entry.method {
            "GET" => &mut item.get,
            "POST" => &mut item.post,
            "PUT" => &mut item.put,
            "DELETE" => &mut item.delete,
            "PATCH" => &mut item.patch,
            _ => continue,
        };
        if let Some(operation) = operation {
            entry.mark(operation);
        }
    }
}

impl Deprecation {
    fn is_used_by(&self, request: &Request) -> bool {
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let path = request.extensions().get::<MatchedPath>();
        method.as_str() == self.method
            && path.is_some_and(|path| path.as_str() == self.path)
            && self.parameter.is_none_or(|name| has(request, name))
    }

    fn mark(&self, operation: &mut Operation) {
        let Some(name) = self.parameter else {
            operation.deprecated = Some(Deprecated::True);
            operation.description = Some(self.described(operation.description.take()));
            return;
        };
        for parameter in operation.parameters.iter_mut().flatten() {
            if parameter.name == name && parameter.parameter_in == ParameterIn::Query {
                parameter.deprecated = Some(Deprecated::True);
                parameter.description = Some(self.described(parameter.description.take()));
            }
        }
    }

    /// A description that ends with what a reader must know.
    fn described(&self, description: Option<String>) -> String {
        let notice = format!(
            "Deprecated since {}, removed on {} or later; {} describes what replaces it.",
            self.since, self.removal, self.link
        );
        match description {
            Some(text) => format!("{text}\n\n{notice}"),
            None => notice,
        }
    }
}

/// Whether the query has a parameter of this name.
fn has(request: &Request, name: &str) -> bool {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    pairs.is_ok_and(|Query(pairs)| pairs.iter().any(|(given, _)| given == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Deprecation = Deprecation {
        method: "GET",
        path: "/v1/events",
        parameter: Some("limit"),
        since: date(2026, 1, 31),
        removal: date(2026, 8, 1),
        link: "/openapi.json",
    };

    #[test]
    fn the_headers_have_the_forms_of_their_standards() {
        let mut headers = HeaderMap::new();
        add(&[], &mut headers);
        assert!(headers.is_empty());
        let other = Deprecation {
            since: date(2026, 2, 1),
            removal: date(2026, 7, 31),
            link: "https://example.com/a",
            ..LOG
        };
        add(&[&LOG, &other], &mut headers);
        assert_eq!(headers["deprecation"], "@1769817600");
        assert_eq!(headers["sunset"], "Fri, 31 Jul 2026 00:00:00 GMT");
        let links: Vec<_> = headers.get_all("link").iter().collect();
        let expected = [
            "</openapi.json>; rel=\"deprecation\"",
            "<https://example.com/a>; rel=\"deprecation\"",
        ];
        assert_eq!(links, expected);
    }
}
