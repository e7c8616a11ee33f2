//! Components and the history of the plan.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use crate::preflight;
use crate::signature::signature;
use crate::{
    Deployment, Error, Member, ModuleStore, ProjectionPlan, Result, SIGNATURES_MAX, StoredModule,
};
use quipu_model::{Digest, PublicKey, Signature, Timestamp};

const PUT: &str = "INSERT INTO modules (digest, bytes, uploaded_at) VALUES ($1, $2, $3) \
    ON CONFLICT (digest) DO NOTHING";
const AGAIN: &str = "UPDATE modules SET uploaded_at = $2 \
    WHERE digest = $1 AND module_id NOT IN (SELECT module_id FROM activated_modules)";
const GET: &str = "SELECT bytes FROM modules WHERE digest = $1";
const LIST: &str = "SELECT digest, length(bytes)::bigint, uploaded_at FROM modules \
    ORDER BY module_id";
const DEPLOYMENTS: &str = "SELECT d.plan, d.name, m.digest, d.activated_at, d.activated_by, \
    coalesce(d.categories, ARRAY[d.name]), coalesce(d.trusted, ARRAY[]::bytea[]), d.projections, \
    d.preflight FROM deployments AS d JOIN modules AS m ON m.module_id = d.module_id ORDER BY d.plan";
const MEMBERS: &str = "SELECT r.plan, r.name, m.digest FROM release_members AS r \
    LEFT JOIN modules AS m ON m.module_id = r.module_id ORDER BY r.plan, r.name";
/// One that retires a name has no module.
const MEMBER: &str = "INSERT INTO release_members (plan, name, module_id) \
    SELECT $1, $2, module_id FROM modules WHERE digest = $3 \
    UNION ALL SELECT $1, $2, NULL WHERE $3 IS NULL";
const ACTIVATE: &str = "INSERT INTO deployments \
    (plan, name, module_id, activated_at, activated_by, categories, trusted, projections, preflight) \
    SELECT $1, $2, module_id, $3, $4, $5, $6, $8, $9 FROM modules WHERE digest = $7";

const SIGN: &str = "INSERT INTO module_signatures (module_id, key, signature) \
    SELECT m.module_id, $2, $3 FROM modules AS m WHERE m.digest = $1 AND $4 > (\
        SELECT count(*) FROM module_signatures AS s \
        WHERE s.module_id = m.module_id AND s.key <> $2) \
    ON CONFLICT (module_id, key) DO UPDATE SET signature = excluded.signature";
const UNSIGN: &str = "DELETE FROM module_signatures WHERE key = $2 \
    AND module_id = (SELECT module_id FROM modules WHERE digest = $1)";
const SIGNATURES: &str = "SELECT s.key, s.signature FROM modules AS m \
    JOIN module_signatures AS s ON s.module_id = m.module_id WHERE m.digest = $1 ORDER BY s.key";
/// The log is read once, for all of them.
const UNUSED: &str = "SELECT digest, length(bytes)::bigint, uploaded_at FROM modules \
    WHERE uploaded_at <= $1 AND module_id NOT IN (SELECT module_id FROM activated_modules) \
        AND module_id NOT IN (SELECT module_id FROM events WHERE module_id IS NOT NULL) \
    ORDER BY module_id";
/// What was activated meanwhile stays. No event comes before an activation of its module.
const PRUNE: &str = "WITH pruned AS (SELECT module_id FROM modules WHERE digest = $1 \
        AND module_id NOT IN (SELECT module_id FROM activated_modules) FOR UPDATE), \
    unsigned AS (DELETE FROM module_signatures WHERE module_id IN (SELECT module_id FROM pruned)) \
    DELETE FROM modules WHERE module_id IN (SELECT module_id FROM pruned)";

/// Modules in a schema.
pub struct Modules {
    pool: PgPool,
}

impl Modules {
    /// Modules of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn unused(&self, before: Timestamp) -> Result<Vec<StoredModule>> {
        let rows = sqlx::query(UNUSED).bind(signed(before.0));
        let rows = rows.fetch_all(&self.pool).await?;
        rows.iter().map(module).collect()
    }

    /// The others of each release, by its plan.
    async fn members(&self) -> Result<HashMap<u64, Vec<Member>>> {
        let rows = sqlx::query(MEMBERS).fetch_all(&self.pool).await?;
        let mut members: HashMap<u64, Vec<Member>> = HashMap::new();
        for row in &rows {
            let member = Member {
                name: row.cell(1)?,
                digest: row.maybe_digest(2)?,
            };
            members.entry(row.number(0)?).or_default().push(member);
        }
        Ok(members)
    }

    /// Those that were removed.
    async fn remove(&self, unused: Vec<StoredModule>) -> Result<Vec<StoredModule>> {
        let mut removed = Vec::new();
        for module in unused {
            let query = sqlx::query(PRUNE).bind(&module.digest.0[..]);
            let done = query.execute(&self.pool).await?;
            if done.rows_affected() == 1 {
                removed.push(module);
            }
        }
        Ok(removed)
    }
}

fn module(row: &PgRow) -> Result<StoredModule> {
    Ok(StoredModule {
        digest: row.digest(0)?,
        bytes: row.number(1)?,
        uploaded_at: Timestamp(row.number(2)?),
    })
}

#[async_trait]
impl ModuleStore for Modules {
    async fn put(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> Result<bool> {
        let done = sqlx::query(PUT)
            .bind(&digest.0[..])
            .bind(bytes)
            .bind(signed(at.0))
            .execute(&self.pool)
            .await?;
        let is_new = done.rows_affected() == 1;
        if !is_new {
            let again = sqlx::query(AGAIN).bind(&digest.0[..]).bind(signed(at.0));
            again.execute(&self.pool).await?;
        }
        Ok(is_new)
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query(GET)
            .bind(&digest.0[..])
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.cell(0)).transpose()
    }

    async fn sign(&self, digest: Digest, signature: Signature) -> Result<()> {
        let done = sqlx::query(SIGN)
            .bind(&digest.0[..])
            .bind(&signature.key.0[..])
            .bind(&signature.bytes[..])
            .bind(signed(SIGNATURES_MAX as u64))
            .execute(&self.pool)
            .await;
        done.map(|_| ()).map_err(Error::from)
    }

    async fn unsign(&self, digest: Digest, key: PublicKey) -> Result<()> {
        let done = sqlx::query(UNSIGN)
            .bind(&digest.0[..])
            .bind(&key.0[..])
            .execute(&self.pool)
            .await;
        done.map(|_| ()).map_err(Error::from)
    }

    async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>> {
        let rows = sqlx::query(SIGNATURES)
            .bind(&digest.0[..])
            .fetch_all(&self.pool)
            .await?;
        let row = |row: &PgRow| signature(row.cell(0)?, row.cell(1)?);
        rows.iter().map(row).collect()
    }

    async fn prune(&self, before: Timestamp, for_real: bool) -> Result<Vec<StoredModule>> {
        let unused = self.unused(before).await?;
        match for_real {
            true => self.remove(unused).await,
            false => Ok(unused),
        }
    }

    async fn list(&self) -> Result<Vec<StoredModule>> {
        let rows = sqlx::query(LIST).fetch_all(&self.pool).await?;
        rows.iter().map(module).collect()
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        let rows = sqlx::query(DEPLOYMENTS).fetch_all(&self.pool).await?;
        // Later: whatever is in the history has its members there by then.
        let mut members = self.members().await?;
        rows.iter()
            .map(|row| {
                Ok(Deployment {
                    others: members.remove(&row.number(0)?).unwrap_or_default(),
                    plan: row.number(0)?,
                    name: row.cell(1)?,
                    digest: row.digest(2)?,
                    activated_at: Timestamp(row.number(3)?),
                    activated_by: row.cell(4)?,
                    categories: row.cell(5)?,
                    trusted: digests(row, 6)?,
                    projections: ProjectionPlan::of_json(row.cell(7)?)?,
                    preflight: preflight::of_json(row.cell(8)?)?,
                })
            })
            .collect()
    }
}

/// Keeps an activation, within a transaction; false when a module of it is not in the store.
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
        .bind(preflight::to_json(deployment.preflight.as_ref()))
        .execute(&mut *connection)
        .await?;
    let mut is_there = done.rows_affected() == 1;
    for member in &deployment.others {
        let done = sqlx::query(MEMBER)
            .bind(signed(deployment.plan))
            .bind(&member.name)
            .bind(member.digest.map(|digest| digest.0.to_vec()))
            .execute(&mut *connection)
            .await?;
        is_there &= done.rows_affected() == 1;
    }
    Ok(is_there)
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
