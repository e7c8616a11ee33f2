use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

use super::{
    acknowledgements, activate, appends, changes, commands, deployments, documents, export, health,
    lines, log, long_read, marks, modules, preflights, projections, rejections, shadows, snapshots,
    sse, state, streams, subscribe, subscriptions, types, verify,
};
use quipu_api::{LineAnswer, RunLine, choices, line};

/// The OpenAPI description of the interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quipu",
        description = "An event-sourcing host whose domain logic runs as WebAssembly components.\n\nErrors are problem documents (RFC 9457) with a stable `code`. A body whose type is not the documented one is a `bad-request` with status 415. Unknown members and parameters are rejected, and the error names them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        commands::execute,
        lines::execute_lines,
        streams::list,
        streams::read,
        appends::append,
        appends::append_all,
        marks::archive,
        marks::restore,
        marks::truncate,
        state::state,
        snapshots::take,
        snapshots::check,
        verify::verify,
        acknowledgements::acknowledge,
        acknowledgements::list,
        acknowledgements::withdraw,
        log::read,
        log::read_one,
        subscribe::log,
        subscribe::stream,
        subscriptions::list,
        subscriptions::show,
        subscriptions::claim,
        subscriptions::read,
        subscriptions::acknowledge,
        subscriptions::release,
        subscriptions::seek,
        subscriptions::forget,
        rejections::list,
        types::list,
        modules::upload,
        modules::list,
        modules::prune,
        modules::show,
        modules::download,
        log::decided_by,
        preflights::preflight,
        shadows::shadow,
        activate::activate,
        deployments::list,
        deployments::show,
        activate::roll_back,
        projections::list,
        projections::show,
        projections::order,
        projections::rebuild,
        projections::retry_parked,
        projections::drop_parked,
        projections::parked,
        projections::skipped,
        changes::subscribe,
        projections::live,
        documents::list,
        documents::read,
        export::export,
        export::import,
        health::status,
        health::live,
        health::ready,
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
        choices::Form,
        choices::Archived,
        choices::WithArchived,
        choices::BuildRole,
        choices::ProjectionOrder,
    )),
)]
struct Api;

/// The OpenAPI 3.1 description of the interface, in JSON.
pub fn openapi() -> String {
    let mut description = Api::openapi();
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
