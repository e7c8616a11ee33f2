//! Components and the history of the plan.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection};

use super::cell::Cells;
use super::encode::signed;
use super::error::store_error;
use crate::model::{Digest, Timestamp};
use crate::store::{Deployment, Error, ModuleStore, ProjectionPlan, Result, StoredModule};

const PUT: &str = "INSERT INTO modules (digest, bytes, uploaded_at) VALUES (?1, ?2, ?3) \
    ON CONFLICT (digest) DO NOTHING";
const GET: &str = "SELECT bytes FROM modules WHERE digest = ?1";
const LIST: &str = "SELECT digest, length(bytes), uploaded_at FROM modules ORDER BY module_id";
const DEPLOYMENTS: &str = "SELECT d.plan, d.name, m.digest, d.activated_at, d.activated_by, \
    d.categories, d.trusted, d.projections FROM deployments AS d \
    JOIN modules AS m ON m.module_id = d.module_id ORDER BY d.plan";

/// Reads through the pool; an upload opens a connection of its own, since it is
/// rare and must not hold the writer.
pub struct Modules {
    pool: SqlitePool,
    writing: SqliteConnectOptions,
}

impl Modules {
    /// Modules of the store behind these connections.
    pub fn new(pool: SqlitePool, writing: SqliteConnectOptions) -> Self {
        Self { pool, writing }
    }

    async fn insert(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> sqlx::Result<bool> {
        let mut connection = self.writing.connect().await?;
        let done = sqlx::query(PUT)
            .bind(digest.0.to_vec())
            .bind(bytes)
            .bind(signed(at.0))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(done.rows_affected() == 1)
    }
}

/// The categories that an activation changed. One that was made before they were kept
/// changed that of its name.
pub fn categories(name: &str, array: Option<&str>) -> Result<Vec<String>> {
    match array {
        Some(array) => list(array),
        None => Ok(vec![name.to_owned()]),
    }
}

/// The folds that an activation trusts.
fn trusted(array: Option<&str>) -> Result<Vec<Digest>> {
    let digits: Vec<String> = array.map_or(Ok(Vec::new()), list)?;
    let digest = |digits: &String| {
        let digest = digits.parse();
        digest.map_err(|_| Error::Damaged(format!("an activation trusts {digits:?}")))
    };
    digits.iter().map(digest).collect()
}

fn list(array: &str) -> Result<Vec<String>> {
    serde_json::from_str(array)
        .map_err(|error| Error::Damaged(format!("a list of an activation: {error}")))
}

impl ModuleStore for Modules {
    fn put<'a>(
        &'a self,
        digest: Digest,
        bytes: &'a [u8],
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        async move {
            self.insert(digest, bytes, at)
                .await
                .map_err(|error| store_error(&error))
        }
        .boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        async move {
            let row = sqlx::query(GET)
                .bind(digest.0.to_vec())
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| store_error(&error))?;
            row.map(|row| row.cell(0)).transpose()
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<StoredModule>>> {
        async move {
            let rows = sqlx::query(LIST)
                .fetch_all(&self.pool)
                .await
                .map_err(|error| store_error(&error))?;
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
                .map_err(|error| store_error(&error))?;
            rows.iter()
                .map(|row| {
                    Ok(Deployment {
                        plan: row.number(0)?,
                        name: row.cell(1)?,
                        digest: row.digest(2)?,
                        activated_at: Timestamp(row.number(3)?),
                        activated_by: row.cell(4)?,
                        categories: categories(row.cell(1)?, row.cell(5)?)?,
                        trusted: trusted(row.cell(6)?)?,
                        projections: ProjectionPlan::of_json(row.cell(7)?)?,
                    })
                })
                .collect()
        }
        .boxed()
    }
}
