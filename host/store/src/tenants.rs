//! Tenants: other stores that a host serves.

use async_trait::async_trait;

use super::Result;
use quipu_model::Timestamp;

/// Most tenants of a host.
pub const TENANTS_MAX: usize = 10_000;

/// A tenant, as the main store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTenant {
    /// Its name.
    pub name: Box<str>,
    /// Names its store. A name of a store is never used twice, also not by a later tenant of the
    /// same name.
    pub data: Box<str>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it, as far as the host knows.
    pub created_by: Option<Box<str>>,
    /// When it was suspended; none while it is served.
    pub suspended_at: Option<Timestamp>,
}

/// Tenants, by name. Each change is durable when its call returns.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// Stores a new tenant. Returns false and stores nothing when the name or the store belongs to
    /// another one, or there are [`TENANTS_MAX`].
    async fn add(&self, tenant: &StoredTenant) -> Result<bool>;

    /// Suspends a tenant at a time; none resumes it. Returns false when there is no such tenant. A
    /// tenant that is suspended already keeps its time.
    async fn suspend(&self, name: &str, at: Option<Timestamp>) -> Result<bool>;

    /// Removes a tenant from the list. Its store stays as it is. Returns false when there is no such
    /// tenant.
    async fn remove(&self, name: &str) -> Result<bool>;

    /// Returns all tenants, in the order of their names.
    async fn tenants(&self) -> Result<Vec<StoredTenant>>;
}
