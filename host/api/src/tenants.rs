//! Tenants of a host.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::store::StoredTenant;

/// A tenant: a store of its own, served by the same host.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its name, which callers send as `Quipu-Tenant`.
    pub name: String,
    /// When it was created.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// Who created it; null when the host does not know.
    pub created_by: Option<String>,
    /// When it was suspended; null while its callers are served.
    #[schema(format = "date-time")]
    pub suspended_at: Option<String>,
    /// The address of its store, without user and password; null when this host is not configured
    /// for tenants.
    pub store: Option<String>,
    /// Whether this host has its store open.
    pub is_open: bool,
}

/// Tenants.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantList {
    /// The tenants in the order of their names.
    pub tenants: Vec<TenantView>,
}

/// A new tenant.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedTenant {
    /// The tenant's first token, with the role `admin`. It is shown only here.
    pub token: String,
    /// The tenant.
    #[serde(flatten)]
    pub view: TenantView,
}

impl TenantView {
    /// The view of a tenant.
    pub fn of(tenant: &StoredTenant, store: Option<String>, is_open: bool) -> Self {
        Self {
            name: tenant.name.to_string(),
            created_at: tenant.created_at.to_string(),
            created_by: tenant.created_by.as_ref().map(ToString::to_string),
            suspended_at: tenant.suspended_at.map(|at| at.to_string()),
            store,
            is_open,
        }
    }
}
