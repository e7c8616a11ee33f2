//! Creates, lists, suspends, resumes and removes tenants.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Tenancy;
use crate::access::By;
use crate::deed::Deed;
use crate::failure::{Failure, Result};
use crate::headers::Reason;
use crate::params::{Params, Segments};
use crate::request::JsonBytes;
use crate::{App, answer};
use quipu::access::Tenants as Registry;
use quipu::store::StoredTenant;
use quipu_api::{Code, CreatedTenant, Problem, TenantList, TenantView};

/// A tenant to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantBody {
    /// Its name: 1 to 40 lower-case letters, digits and hyphens, beginning with a letter.
    name: String,
}

/// `{tenant}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TenantPath {
    /// The tenant
    tenant: String,
}

/// The list of tenants. Only the main store has one.
fn registry(app: &App) -> Result<&Registry> {
    app.tenancy.check_main()?;
    Ok(app.host.tenants())
}

fn view(app: &App, tenant: &StoredTenant) -> TenantView {
    let Tenancy::Main(tenants) = &app.tenancy else {
        return TenantView::of(tenant, None, false);
    };
    let store = tenants.url(tenant).ok().map(|url| url.to_string());
    TenantView::of(tenant, store, tenants.slots.is_open(&tenant.data))
}

/// Lists all tenants.
///
/// A tenant is a store of its own, which the same host serves. A request names its tenant in
/// `Quipu-Tenant`, with a token of the tenant; without the header it concerns the main store. Only
/// the main store has this list.
#[utoipa::path(
    get, path = "/v1/tenants", operation_id = "list_tenants", tag = "tenants",
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = TenantList, description = "The tenants, at most 10000"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let tenants = registry(&app)?.list().await?;
    let tenants = tenants.iter().map(|tenant| view(&app, tenant)).collect();
    answer::json(StatusCode::OK, &TenantList { tenants })
}

/// Creates a tenant with an empty store, and its first token.
///
/// The token has the role `admin` in the tenant, and is shown only in this answer. If no answer
/// arrives, look for the tenant in the list: remove it and create it again.
#[utoipa::path(
    post, path = "/v1/tenants", operation_id = "create_tenant", tag = "tenants",
    security(("token" = ["admin"])),
    params(Reason),
    request_body = TenantBody,
    responses(
        (status = 201, body = CreatedTenant, description = "The tenant and its token"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, such as `tenant-refused`; no tenant was created"),
    ),
)]
pub async fn create(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let TenantBody { name } = body.parse()?;
    registry(&app)?;
    Registry::check_name(&name)?;
    deed.names(&format!("/v1/tenants/{name}"));
    let Tenancy::Main(tenants) = &app.tenancy else {
        let detail = "this host is not configured for tenants: set `place` in [tenants] (or \
                      QUIPU_TENANTS__PLACE), then restart it";
        return Err(Failure::new(Code::TenantRefused, detail));
    };
    let (tenants, by) = (Arc::clone(tenants), caller.name());
    // In a task of its own: it goes on when the client leaves.
    let creating = tokio::spawn(async move { tenants.create(&name, by.as_deref()).await });
    let created = creating.await;
    let (tenant, secret) = created.unwrap_or_else(|error| Err(Failure::internal(&error)))?;
    let created = CreatedTenant {
        token: secret.reveal().to_owned(),
        view: view(&app, &tenant),
    };
    answer::json(StatusCode::CREATED, &created)
}

/// Suspends a tenant: its callers are refused with `tenant-suspended`.
///
/// Its subscriptions and other long answers end, its projections stop, and its store is closed.
/// Other hosts do the same within 5 s. A tenant that is suspended already stays as it is.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/suspend", operation_id = "suspend_tenant", tag = "tenants",
    security(("token" = ["admin"])),
    params(TenantPath, Reason),
    responses(
        (status = 200, body = TenantView, description = "The tenant is suspended"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn suspend(
    State(app): State<App>,
    Segments(TenantPath { tenant }): Segments<TenantPath>,
    deed: Deed,
    _: Params<()>,
) -> Result<Response> {
    let registry = registry(&app)?;
    deed.needs_reason("suspending a tenant")?;
    let suspended = registry.suspend(&tenant).await?;
    close(&app, &suspended).await;
    answer::json(StatusCode::OK, &view(&app, &suspended))
}

/// Resumes a tenant that was suspended. Its store is opened at the next request.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/resume", operation_id = "resume_tenant", tag = "tenants",
    security(("token" = ["admin"])),
    params(TenantPath, Reason),
    responses(
        (status = 200, body = TenantView, description = "The tenant is served"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn resume(
    State(app): State<App>,
    Segments(TenantPath { tenant }): Segments<TenantPath>,
    _: Deed,
    _: Params<()>,
) -> Result<Response> {
    let resumed = registry(&app)?.resume(&tenant).await?;
    if let Tenancy::Main(tenants) = &app.tenancy {
        tenants.slots.forget_tokens(&resumed.data);
    }
    answer::json(StatusCode::OK, &view(&app, &resumed))
}

/// Removes a tenant from the list, for good. Its store stays where it is; the answer has the address.
///
/// A later tenant of the same name gets another store.
#[utoipa::path(
    delete, path = "/v1/tenants/{tenant}", operation_id = "remove_tenant", tag = "tenants",
    security(("token" = ["admin"])),
    params(TenantPath, Reason),
    responses(
        (status = 200, body = TenantView, description = "The tenant that was removed"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn remove(
    State(app): State<App>,
    Segments(TenantPath { tenant }): Segments<TenantPath>,
    deed: Deed,
    _: Params<()>,
) -> Result<Response> {
    let registry = registry(&app)?;
    deed.needs_reason("removing a tenant")?;
    let removed = registry.remove(&tenant).await?;
    close(&app, &removed).await;
    if let Tenancy::Main(tenants) = &app.tenancy {
        tenants.slots.forget(&removed.data);
    }
    answer::json(StatusCode::OK, &view(&app, &removed))
}

/// Closes a tenant that is not served any more.
async fn close(app: &App, tenant: &StoredTenant) {
    if let Tenancy::Main(tenants) = &app.tenancy {
        let (tenants, data) = (Arc::clone(tenants), tenant.data.clone());
        // In a task of its own: it goes on when the client leaves.
        let closing = tokio::spawn(async move { tenants.close(&data).await });
        if let Err(error) = closing.await {
            tracing::error!(%error, "a tenant was not closed");
        }
    }
}
