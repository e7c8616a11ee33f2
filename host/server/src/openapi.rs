use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, RefOr};

use super::access::SCHEME;
use super::deprecation::{self, DEPRECATED, Deprecation};
use super::{changes, long_read, router, sse};
use quipu_api::{LineAnswer, RunLine, choices, line};

/// The parts of the description that belong to no path.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quipu",
        description = "An event-sourcing host whose domain logic runs as WebAssembly components.\n\nErrors are problem documents (RFC 9457) with a stable `code`. A body whose type is not the documented one is a `bad-request` with status 415. Unknown members and parameters are rejected, and the error names them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(
        line::Line<'static>,
        LineAnswer,
        RunLine,
        long_read::EventLine<'static>,
        sse::Reached,
        changes::ChangeView,
        // Schemas of parameters are not found automatically.
        choices::Direction,
        super::proposals::ListedProposals,
        choices::Form,
        choices::Payload,
        choices::Archived,
        choices::WithArchived,
        choices::BuildRole,
        choices::ProjectionOrder,
    )),
)]
struct Common;

/// The description without paths.
pub(super) fn common() -> openapi::OpenApi {
    Common::openapi()
}

/// The OpenAPI 3.1 description of the interface, in JSON.
pub fn openapi() -> String {
    complete(router::paths().into_openapi(), DEPRECATED)
}

/// The JSON of a description with all paths of handlers, completed with `HEAD` and with what is
/// deprecated.
pub(super) fn complete(mut description: openapi::OpenApi, deprecated: &[Deprecation]) -> String {
    deprecation::mark(&mut description, deprecated);
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let says = "A token of `quipu token create`. A store that never had a token needs none. The \
                word after the scheme is the action that the caller must be allowed.";
    let scheme = SecurityScheme::Http(scheme.description(Some(says)).build());
    let components = description.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, scheme);
    for path in description.paths.paths.values_mut() {
        path.head = path.get.as_ref().map(head_of);
    }
    description.to_pretty_json().expect("a description is JSON")
}

/// `HEAD`, which is answered for every `GET` path: with its status and headers, without its body.
fn head_of(get: &Operation) -> Operation {
    let mut head = get.clone();
    let id = head.operation_id.unwrap_or_default();
    head.operation_id = Some(format!("{id}_head"));
    let summary = head.summary.unwrap_or_default();
    head.summary = Some(format!("{summary} Without a body."));
    head.description = None;
    for response in head.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    head
}
