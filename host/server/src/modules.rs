//! Modules: components that the host stores.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::answering::Visit;
use super::deed::Deed;
use super::failure::Result;
use super::params::{DigestPath, Params};
use super::request::{OptionalJson, WasmBytes};
use super::{App, answer, deploying, headers, limits};
use quipu::Upload;
use quipu::runtime::Module;
use quipu_api::{ModuleEntry, ModuleList, ModuleView, Problem, PrunedModule, PrunedView, choices};

/// The path of the modules.
pub const PATH: &str = "/v1/modules";

/// Uploads a component.
///
/// The component is checked and stored together with its signature; nothing is activated. The same
/// bytes may be uploaded a second time with another signature.
#[utoipa::path(
    post, path = PATH, tag = "modules",
    security(("token" = ["deploy"])),
    params(("Quipu-Signature" = Option<String>, Header, description = "`ed25519`, the public key and the signature of the body, both in base64")),
    request_body(description = "The component", content(
        (choices::Bytes = "application/wasm"),
        (choices::Binary = "application/octet-stream"),
    )),
    responses(
        (status = 201, body = ModuleView, description = "The module is stored"),
        (status = 200, body = ModuleView, description = "The module was already stored"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn upload(
    State(app): State<App>,
    By(caller): By,
    _: Params<()>,
    headers: HeaderMap,
    body: WasmBytes,
) -> Result<Response> {
    limits::check_modules(&app, &body.bytes()).await?;
    let upload = Upload::new(body.bytes().into()).signed(headers::signature(&headers)?);
    let examined = app.host.examine(upload).await?;
    deploying::check(&app, &caller, &examined.module.manifest().name)?;
    let uploaded = app.host.store_module(examined).await?;
    let status = match uploaded.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    answer::json(status, &stored(&app, &uploaded.module).await?)
}

/// Lists the modules of the store.
#[utoipa::path(
    get, path = PATH, operation_id = "list_modules", tag = "modules",
    security(("token" = ["read"])),
    responses(
        (status = 200, body = ModuleList, description = "Modules"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let plan = app.host.plan();
    let mut names: HashMap<_, String> = HashMap::new();
    for deployment in app.host.deployments().await? {
        for (name, digest) in deployment.members() {
            if let Some(digest) = digest {
                names.insert(digest, name.to_owned());
            }
        }
    }
    let modules = app.host.modules().await?;
    let entry = |stored: quipu::store::StoredModule| ModuleEntry {
        digest: stored.digest.to_string(),
        bytes: stored.bytes,
        uploaded_at: stored.uploaded_at.to_string(),
        name: names.get(&stored.digest).cloned(),
        active: plan.serves(stored.digest),
    };
    let list = ModuleList {
        modules: modules.into_iter().map(entry).collect(),
    };
    answer::json(StatusCode::OK, &list)
}

/// The view of a stored module, with the keys of those who signed it.
async fn stored(app: &App, module: &Module) -> Result<ModuleView> {
    let signatures = app.host.signatures(module.digest()).await?;
    let keys = signatures.iter().map(|signature| signature.key.to_string());
    Ok(ModuleView {
        signed_by: keys.collect(),
        ..ModuleView::of(module)
    })
}

/// Which modules to remove.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Minimum time since the upload in seconds; default 86400.
    #[serde(default)]
    older_than_s: Option<u64>,
    /// Lists these modules and removes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Removes modules that were never activated.
///
/// A module that an event names is not removed. A module that was active once stays forever,
/// because the history is replayed with it.
#[utoipa::path(
    post, path = "/v1/modules/prune", operation_id = "prune_modules", tag = "modules",
    security(("token" = ["operate"])),
    params(headers::Reason),
    request_body(content = Option<PruneBody>, description = "Which modules to remove"),
    responses(
        (status = 200, body = PrunedView, description = "The removed modules"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn prune(
    State(app): State<App>,
    deed: Deed,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let given: PruneBody = body.parse()?;
    if !given.dry_run {
        deed.needs_reason("removing components")?;
    }
    let older_than = Duration::from_secs(given.older_than_s.unwrap_or(86_400));
    let pruned = app.host.prune(older_than, !given.dry_run).await?;
    let modules = pruned.into_iter().map(|module| PrunedModule {
        digest: module.digest.to_string(),
        bytes: module.bytes,
        uploaded_at: module.uploaded_at.to_string(),
    });
    let view = PrunedView {
        removed: !given.dry_run,
        modules: modules.collect(),
    };
    answer::json(StatusCode::OK, &view)
}

/// Shows a module.
#[utoipa::path(
    get, path = "/v1/modules/{digest}", operation_id = "show_module", tag = "modules",
    security(("token" = ["read"])),
    params(DigestPath),
    responses(
        (status = 200, body = ModuleView, description = "The module"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    DigestPath(digest): DigestPath,
    _: Params<()>,
) -> Result<Response> {
    let module = app.host.module(digest).await?;
    answer::json(StatusCode::OK, &stored(&app, &module).await?)
}

/// Downloads a component.
///
/// With `Accept: application/octet-stream` the bytes have that media type.
#[utoipa::path(
    get, path = "/v1/modules/{digest}/wasm", tag = "modules",
    security(("token" = ["read"])),
    params(DigestPath),
    responses(
        (status = 200, description = "The component", content(
            (choices::Binary = "application/wasm"),
            (choices::Binary = "application/octet-stream"),
        )),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn download(
    State(app): State<App>,
    visit: Visit,
    DigestPath(digest): DigestPath,
    _: Params<()>,
    headers: HeaderMap,
) -> Result<Response> {
    let room = visit.room(&app).await?;
    let bytes = app.host.module_bytes(digest).await?;
    let media_type = match headers::accepts_bytes(&headers) {
        true => headers::BYTES,
        false => "application/wasm",
    };
    let media_type = HeaderValue::from_static(media_type);
    let response = ([(header::CONTENT_TYPE, media_type)], bytes).into_response();
    Ok(room.of(answer::varying(response)))
}
