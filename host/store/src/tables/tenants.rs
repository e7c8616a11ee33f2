//! Tenants of the host.

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connections};
use super::signed;
use crate::{Result, StoredTenant, TENANTS_MAX, TenantStore};
use quipu_model::Timestamp;

const ADD: &str = "INSERT INTO tenants (name, data, created_at, created_by, suspended_at) \
     SELECT $1, $2, $3, $4, NULL \
     WHERE $5 > (SELECT count(*) FROM tenants) \
         AND NOT EXISTS (SELECT 1 FROM tenants WHERE name = $1 OR data = $2)";
/// The first time stays when it is suspended a second time.
const SUSPEND: &str =
    "UPDATE tenants SET suspended_at = coalesce(suspended_at, $2) WHERE name = $1";
const RESUME: &str = "UPDATE tenants SET suspended_at = NULL WHERE name = $1";
const REMOVE: &str = "DELETE FROM tenants WHERE name = $1";
const LIST: &str = "SELECT name, data, created_at, created_by, suspended_at \
     FROM tenants ORDER BY name";

/// Each change waits for the disk.
pub struct Tenants(pub Connections);

from_row!(StoredTenant, |row| Ok(StoredTenant {
    name: row.cell::<&str>("name")?.into(),
    data: row.cell::<&str>("data")?.into(),
    created_at: Timestamp(row.number("created_at")?),
    created_by: row.maybe_text("created_by")?,
    suspended_at: row.maybe_number("suspended_at")?.map(Timestamp),
}));

impl Tenants {
    /// Executes one statement. Returns whether it changed a row.
    async fn change(&self, query: dialect::Query<'_>) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        let done = query.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

#[async_trait]
impl TenantStore for Tenants {
    async fn add(&self, tenant: &StoredTenant) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        dialect::lock_tenants(&mut writing).await?;
        let add = sqlx::query(ADD)
            .bind(&*tenant.name)
            .bind(&*tenant.data)
            .bind(signed(tenant.created_at.0))
            .bind(tenant.created_by.as_deref())
            .bind(signed(TENANTS_MAX as u64));
        let done = add.execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn suspend(&self, name: &str, at: Option<Timestamp>) -> Result<bool> {
        match at {
            Some(at) => self.change(sqlx::query(SUSPEND).bind(name).bind(signed(at.0))),
            None => self.change(sqlx::query(RESUME).bind(name)),
        }
        .await
    }

    async fn remove(&self, name: &str) -> Result<bool> {
        self.change(sqlx::query(REMOVE).bind(name)).await
    }

    async fn tenants(&self) -> Result<Vec<StoredTenant>> {
        Ok(sqlx::query_as(LIST).fetch_all(self.0.pool()).await?)
    }
}
