//! Components and the history of the plan.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use super::error::store_error;
use crate::model::{Digest, Timestamp};
use crate::store::{Deployment, Error, ModuleStore, ProjectionPlan, Result, StoredModule};

const PUT: &str = "INSERT INTO modules (digest, bytes, uploaded_at) VALUES ($1, $2, $3) \
    ON CONFLICT (digest) DO NOTHING";
const GET: &str = "SELECT bytes FROM modules WHERE digest = $1";
const LIST: &str = "SELECT digest, length(bytes)::bigint, uploaded_at FROM modules \
    ORDER BY module_id";
const DEPLOYMENTS: &str = "SELECT d.plan, d.name, m.digest, d.activated_at, d.activated_by, \
    coalesce(d.categories, ARRAY[d.name]), coalesce(d.trusted, ARRAY[]::bytea[]), d.projections \
    FROM deployments AS d JOIN modules AS m ON m.module_id = d.module_id ORDER BY d.plan";
const ACTIVATE: &str = "INSERT INTO deployments \
    (plan, name, module_id, activated_at, activated_by, categories, trusted, projections) \
    SELECT $1, $2, module_id, $3, $4, $5, $6, $8 FROM modules WHERE digest = $7";

/// Modules in a schema.
pub struct Modules {
    pool: PgPool,
}

impl Modules {
    /// Modules of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl ModuleStore for Modules {
    fn put<'a>(
        &'a self,
        digest: Digest,
        bytes: &'a [u8],
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        async move {
            let done = sqlx::query(PUT)
                .bind(&digest.0[..])
                .bind(bytes)
                .bind(signed(at.0))
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(done.rows_affected() == 1)
        }
        .boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        async move {
            let row = sqlx::query(GET)
                .bind(&digest.0[..])
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.map(|row| row.cell(0)).transpose()
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<StoredModule>>> {
        async move {
            let rows = sqlx::query(LIST)
                .fetch_all(&self.pool)
                .await
                .map_err(store_error)?;
            rows.iter()
                .map(|row| {
                    Ok(StoredModule {
                        digest: row.digest(0)?,
                        bytes: row.number(1)?,
                        uploaded_at: Timestamp(row.number(2)?),
                    })
                })
                .collect()
        }
        .boxed()
    }

    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>>> {
        async move {
            let rows = sqlx::query(DEPLOYMENTS)
                .fetch_all(&self.pool)
                .await
                .map_err(store_error)?;
            rows.iter()
                .map(|row| {
                    Ok(Deployment {
                        plan: row.number(0)?,
                        name: row.cell(1)?,
                        digest: row.digest(2)?,
                        activated_at: Timestamp(row.number(3)?),
                        activated_by: row.cell(4)?,
                        categories: row.cell(5)?,
                        trusted: digests(row, 6)?,
                        projections: ProjectionPlan::of_json(row.cell(7)?)?,
                    })
                })
                .collect()
        }
        .boxed()
    }
}

/// Keeps an activation; false when its module is not in the store.
pub async fn activate(
    connection: &mut PgConnection,
    deployment: &Deployment,
) -> sqlx::Result<bool> {
    let trusted: Vec<&[u8]> = deployment.trusted.iter().map(|fold| &fold.0[..]).collect();
    let done = sqlx::query(ACTIVATE)
        .bind(signed(deployment.plan))
        .bind(&deployment.name)
        .bind(signed(deployment.activated_at.0))
        .bind(&deployment.activated_by)
        .bind(&deployment.categories)
        .bind(trusted)
        .bind(&deployment.digest.0[..])
        .bind(deployment.projections.to_json())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn digests(row: &PgRow, column: usize) -> Result<Vec<Digest>> {
    let digest = |bytes: Vec<u8>| {
        let bytes = bytes.try_into();
        bytes
            .map(Digest)
            .map_err(|_| Error::Damaged("a fold that is trusted does not have 32 bytes".to_owned()))
    };
    row.cell::<Vec<Vec<u8>>>(column)?
        .into_iter()
        .map(digest)
        .collect()
}
