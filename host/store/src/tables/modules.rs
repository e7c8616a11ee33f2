//! Modules, their signatures, and the history of the plan.

use std::collections::HashMap;

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connections, Row, for_update};
use super::signed;
use crate::preflight;
use crate::signature::signature;
use crate::{
    Deployment, Member, ModuleStore, ProjectionPlan, Result, SIGNATURES_MAX, StoredModule,
};
use quipu_model::{Digest, PublicKey, Signature, Timestamp};

const PUT: &str = "INSERT INTO modules (digest, bytes, uploaded_at) VALUES ($1, $2, $3) \
     ON CONFLICT (digest) DO NOTHING";
const RENEW: &str = "UPDATE modules SET uploaded_at = $2 \
     WHERE digest = $1 AND module_id NOT IN (SELECT module_id FROM activated_modules)";
const GET: &str = "SELECT bytes FROM modules WHERE digest = $1";
const LIST: &str = "SELECT digest, CAST(length(bytes) AS bigint) AS bytes, uploaded_at \
     FROM modules ORDER BY module_id";
const DEPLOYMENTS: &str = "SELECT d.plan, d.name, m.digest, d.activated_at, d.activated_by, \
     d.categories, d.trusted, d.projections, d.preflight FROM deployments AS d \
     JOIN modules AS m ON m.module_id = d.module_id ORDER BY d.plan";
const MEMBERS: &str = "SELECT r.plan, r.name, m.digest FROM release_members AS r \
     LEFT JOIN modules AS m ON m.module_id = r.module_id ORDER BY r.plan, r.name";
const SIGN: &str = "INSERT INTO module_signatures (module_id, key, signature) \
     SELECT m.module_id, $2, $3 FROM modules AS m WHERE m.digest = $1 AND $4 > (\
         SELECT count(*) FROM module_signatures AS s \
         WHERE s.module_id = m.module_id AND s.key <> $2) \
     ON CONFLICT (module_id, key) DO UPDATE SET signature = excluded.signature";
const UNSIGN: &str = "DELETE FROM module_signatures WHERE key = $2 \
     AND module_id = (SELECT module_id FROM modules WHERE digest = $1)";
const SIGNATURES: &str = "SELECT s.key, s.signature FROM modules AS m \
     JOIN module_signatures AS s ON s.module_id = m.module_id WHERE m.digest = $1 ORDER BY s.key";
/// The log is read once for all of them.
const UNUSED: &str = "SELECT digest, CAST(length(bytes) AS bigint) AS bytes, uploaded_at \
     FROM modules \
     WHERE uploaded_at <= $1 AND module_id NOT IN (SELECT module_id FROM activated_modules) \
         AND module_id NOT IN (SELECT module_id FROM events WHERE module_id IS NOT NULL) \
     ORDER BY module_id";
/// Modules that were activated meanwhile stay. No event comes before an activation of its module.
const STILL_UNUSED: &str = concat!(
    "SELECT module_id FROM modules WHERE digest = $1 \
     AND module_id NOT IN (SELECT module_id FROM activated_modules)",
    for_update!()
);
const REMOVE: [&str; 2] = [
    "DELETE FROM module_signatures WHERE module_id = $1",
    "DELETE FROM modules WHERE module_id = $1",
];

/// An upload waits for the disk: an activation may follow it.
pub struct Modules(pub Connections);

from_row!(StoredModule, |row| Ok(StoredModule {
    digest: row.digest("digest")?,
    bytes: row.number("bytes")?,
    uploaded_at: Timestamp(row.number("uploaded_at")?),
}));

from_row!(Deployment, |row| Ok(Deployment {
    plan: row.number("plan")?,
    name: row.cell("name")?,
    digest: row.digest("digest")?,
    others: Vec::new(),
    activated_at: Timestamp(row.number("activated_at")?),
    activated_by: row.cell("activated_by")?,
    categories: categories(row)?,
    trusted: dialect::digests(row, "trusted")?,
    projections: ProjectionPlan::of_json(row.cell("projections")?)?,
    preflight: preflight::of_json(row.cell("preflight")?)?,
}));

/// The categories that an activation changed. An activation that was made before they were stored
/// changed the category of its name.
pub fn categories(row: &Row) -> Result<Vec<String>> {
    match dialect::texts(row, "categories")? {
        Some(categories) => Ok(categories),
        None => Ok(vec![row.cell("name")?]),
    }
}

impl Modules {
    /// The others of each release, by its plan.
    async fn members(&self) -> Result<HashMap<u64, Vec<Member>>> {
        let rows = sqlx::query(MEMBERS).fetch_all(self.0.pool()).await?;
        let mut members: HashMap<u64, Vec<Member>> = HashMap::new();
        for row in &rows {
            let member = Member {
                name: row.cell("name")?,
                digest: row.maybe_digest("digest")?,
            };
            members.entry(row.number("plan")?).or_default().push(member);
        }
        Ok(members)
    }

    /// Removes a module with its signatures. Returns false when it was activated meanwhile.
    async fn remove(&self, digest: Digest) -> Result<bool> {
        let mut writing = self.0.begin().await?;
        let unused = sqlx::query_scalar(STILL_UNUSED).bind(&digest.0[..]);
        let unused: Option<i64> = unused.fetch_optional(&mut *writing).await?;
        let Some(module) = unused else {
            return Ok(false);
        };
        for sql in REMOVE {
            let query = sqlx::query(sql).bind(module);
            query.execute(&mut *writing).await?;
        }
        writing.commit().await?;
        Ok(true)
    }
}

#[async_trait]
impl ModuleStore for Modules {
    async fn put(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> Result<bool> {
        let mut writing = self.0.begin_durable().await?;
        let put = sqlx::query(PUT)
            .bind(&digest.0[..])
            .bind(bytes)
            .bind(signed(at.0));
        let is_new = put.execute(&mut *writing).await?.rows_affected() == 1;
        if !is_new {
            let renewal = sqlx::query(RENEW).bind(&digest.0[..]).bind(signed(at.0));
            renewal.execute(&mut *writing).await?;
        }
        writing.commit().await?;
        Ok(is_new)
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let get = sqlx::query_scalar(GET).bind(&digest.0[..]);
        Ok(get.fetch_optional(self.0.pool()).await?)
    }

    async fn sign(&self, digest: Digest, signature: Signature) -> Result<()> {
        let sign = sqlx::query(SIGN)
            .bind(&digest.0[..])
            .bind(&signature.key.0[..])
            .bind(&signature.bytes[..])
            .bind(signed(SIGNATURES_MAX as u64));
        self.0.execute(sign).await.map(|_| ())
    }

    async fn unsign(&self, digest: Digest, key: PublicKey) -> Result<()> {
        let unsign = sqlx::query(UNSIGN).bind(&digest.0[..]).bind(&key.0[..]);
        self.0.execute(unsign).await.map(|_| ())
    }

    async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>> {
        let signatures = sqlx::query(SIGNATURES).bind(&digest.0[..]);
        let rows = signatures.fetch_all(self.0.pool()).await?;
        rows.iter()
            .map(|row| signature(row.cell("key")?, row.cell("signature")?))
            .collect()
    }

    async fn prune(&self, before: Timestamp, for_real: bool) -> Result<Vec<StoredModule>> {
        let unused = sqlx::query_as(UNUSED).bind(signed(before.0));
        let unused: Vec<StoredModule> = unused.fetch_all(self.0.pool()).await?;
        if !for_real {
            return Ok(unused);
        }
        let mut removed = Vec::new();
        for module in unused {
            if self.remove(module.digest).await? {
                removed.push(module);
            }
        }
        Ok(removed)
    }

    async fn list(&self) -> Result<Vec<StoredModule>> {
        Ok(sqlx::query_as(LIST).fetch_all(self.0.pool()).await?)
    }

    async fn deployments(&self) -> Result<Vec<Deployment>> {
        let deployments = sqlx::query_as(DEPLOYMENTS);
        let mut deployments: Vec<Deployment> = deployments.fetch_all(self.0.pool()).await?;
        // The members are read after the history, so every activation in the history has its
        // members stored by then.
        let mut members = self.members().await?;
        for deployment in &mut deployments {
            deployment.others = members.remove(&deployment.plan).unwrap_or_default();
        }
        Ok(deployments)
    }
}
