//! Modules: components that were uploaded.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answering::Visit;
use super::params::{DigestPath, Params};
use super::problem::{Problem, Result};
use super::request::{OptionalJson, WasmBytes};
use super::{App, DefinitionView, TypeVersion, answer, choices, headers};
use quipu::model::{MessageType, Name};
use quipu::runtime::{Module, Step};

/// What a component is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ModuleView {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// The smallest world of the contract that has its exports.
    pub world: String,
    /// Name of its manifest: what it is deployed under.
    pub name: String,
    /// Version of its manifest.
    pub version: String,
    /// Length in bytes.
    pub bytes: u64,
    /// `decider`, `upcaster`, `projection`.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// Commands that it decides.
    pub commands: Vec<TypeView>,
    /// Events that it writes.
    pub events: Vec<TypeView>,
    /// Projections that it defines.
    #[serde(default)]
    pub projections: Vec<DefinitionView>,
    /// Schema version of its decider's state, as snapshots have it; 0 without a decider.
    #[serde(default)]
    pub state_schema_version: u32,
    /// Older schema versions of the state that it migrates.
    #[serde(default)]
    pub migrations: Vec<MigrationView>,
    /// Steps of its upcaster.
    #[serde(default)]
    pub steps: Vec<UpcastView>,
    /// Public keys of those who signed it, in base64.
    #[serde(default)]
    pub signed_by: Vec<String>,
}

/// A migration of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigrationView {
    /// The schema version that it takes.
    pub from: u32,
    /// The schema version that it leads to.
    pub to: u32,
}

/// A step of an upcaster, as its component declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpcastView {
    /// Category whose events it lifts.
    pub category: String,
    /// What it lifts.
    pub from: TypeVersion,
    /// What may come out; empty: the event is dropped.
    pub to: Vec<TypeVersion>,
}

/// A type of commands or events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TypeView {
    /// Its name.
    pub name: String,
    /// Its current schema version.
    pub schema_version: u32,
    /// Its older names.
    pub aliases: Vec<String>,
    /// Media type of its data.
    pub content_type: String,
}

impl ModuleView {
    /// The view of a module.
    pub fn of(module: &Module) -> Self {
        let manifest = module.manifest();
        Self {
            digest: module.digest().to_string(),
            world: module.world().to_owned(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            bytes: module.size() as u64,
            exports: module.exports().iter().map(ToString::to_string).collect(),
            imports: module.imports().to_vec(),
            commands: manifest.commands.iter().map(TypeView::of).collect(),
            events: manifest.events.iter().map(TypeView::of).collect(),
            projections: module
                .projections()
                .iter()
                .map(DefinitionView::of)
                .collect(),
            state_schema_version: manifest.state_schema_version,
            migrations: manifest.migrations.iter().map(MigrationView::of).collect(),
            steps: module.steps().iter().map(UpcastView::of).collect(),
            signed_by: Vec::new(),
        }
    }

    /// The view of a module of the store.
    async fn stored(app: &App, module: &Module) -> Result<Self> {
        let signatures = app.host.signatures(module.digest()).await?;
        let keys = signatures.iter().map(|signature| signature.key.to_string());
        Ok(Self {
            signed_by: keys.collect(),
            ..Self::of(module)
        })
    }
}

impl MigrationView {
    fn of((from, to): &(u32, u32)) -> Self {
        Self {
            from: *from,
            to: *to,
        }
    }
}

impl UpcastView {
    fn of(step: &Step) -> Self {
        let version = |name: &Name, schema_version: u32| TypeVersion {
            r#type: name.to_string(),
            schema_version,
        };
        let to = step.to.iter();
        Self {
            category: step.category.as_str().to_owned(),
            from: version(&step.name, step.from_version),
            to: to.map(|(name, to)| version(name, *to)).collect(),
        }
    }
}

impl TypeView {
    fn of(known: &MessageType) -> Self {
        Self {
            name: known.name.to_string(),
            schema_version: known.schema_version,
            aliases: known.aliases.iter().map(ToString::to_string).collect(),
            content_type: known.content_type.to_string(),
        }
    }
}

/// Modules of the store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleList {
    /// Oldest first.
    pub modules: Vec<ModuleEntry>,
}

/// A module of the store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleEntry {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When it came.
    #[schema(format = "date-time")]
    pub uploaded_at: String,
    /// The name under which it was last activated; null when it never was.
    pub name: Option<String>,
    /// Whether it is active.
    pub active: bool,
}

/// Uploads a component.
///
/// It is checked and kept, and so is its signature; nothing is activated. The same bytes may
/// come again with another signature.
#[utoipa::path(
    post, path = "/v1/modules", tag = "modules",
    params(("Quipu-Signature" = Option<String>, Header, description = "`ed25519`, the public key and the signature of the body, both in base64")),
    request_body(description = "The component", content(
        (choices::Bytes = "application/wasm"),
        (choices::Binary = "application/octet-stream"),
    )),
    responses(
        (status = 201, body = ModuleView, description = "Accepted"),
        (status = 200, body = ModuleView, description = "The store had it already"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn upload(
    State(app): State<App>,
    params: Params,
    headers: HeaderMap,
    body: WasmBytes,
) -> Result<Response> {
    params.finish()?;
    let uploaded = match headers::signature(&headers)? {
        Some(signature) => {
            app.host
                .upload_signed(body.bytes().into(), signature)
                .await?
        }
        None => app.host.upload(body.bytes().into()).await?,
    };
    let status = match uploaded.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    answer::json(status, &ModuleView::stored(&app, &uploaded.module).await?)
}

/// Lists the modules of the store.
#[utoipa::path(
    get, path = "/v1/modules", operation_id = "list_modules", tag = "modules",
    responses(
        (status = 200, body = ModuleList, description = "Modules"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, params: Params) -> Result<Response> {
    params.finish()?;
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

/// Which modules are removed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Those that came so many seconds ago, or more: 86400 without it.
    #[serde(default)]
    older_than_s: Option<u64>,
    /// Says which they are, and removes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Modules that are not needed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PrunedView {
    /// Whether they were removed.
    pub removed: bool,
    /// Oldest first.
    pub modules: Vec<PrunedModule>,
}

/// A module that is not needed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PrunedModule {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When it came.
    #[schema(format = "date-time")]
    pub uploaded_at: String,
}

/// Removes modules that nobody needs.
///
/// Those that were never activated, and that no event names. What was activated once is kept
/// for good: the history is decided again with it.
#[utoipa::path(
    post, path = "/v1/modules/prune", operation_id = "prune_modules", tag = "modules",
    request_body(content = Option<PruneBody>, description = "Which ones"),
    responses(
        (status = 200, body = PrunedView, description = "What was removed"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn prune(State(app): State<App>, params: Params, body: OptionalJson) -> Result<Response> {
    params.finish()?;
    let given: PruneBody = body.parse()?;
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

/// Shows what a module is.
#[utoipa::path(
    get, path = "/v1/modules/{digest}", operation_id = "show_module", tag = "modules",
    params(("digest" = String, Path, description = "SHA-256 of the component")),
    responses(
        (status = 200, body = ModuleView, description = "The module"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    DigestPath(digest): DigestPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let module = app.host.module(digest).await?;
    answer::json(StatusCode::OK, &ModuleView::stored(&app, &module).await?)
}

/// Downloads a component.
///
/// With `Accept: application/octet-stream` the bytes come under that type.
#[utoipa::path(
    get, path = "/v1/modules/{digest}/wasm", tag = "modules",
    params(("digest" = String, Path, description = "SHA-256 of the component")),
    responses(
        (status = 200, description = "Its bytes", content(
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
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    params.finish()?;
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
