//! Components and the history of the plan.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow};
use sqlx::{ConnectOptions, Connection};

use super::cell::Cells;
use super::encode::signed;
use super::side::{Side, commit};
use crate::preflight;
use crate::signature::signature;
use crate::{
    Deployment, Error, Member, ModuleStore, ProjectionPlan, Result, SIGNATURES_MAX, StoredModule,
};
use quipu_model::{Digest, PublicKey, Signature, Timestamp};

const PUT: &str = "INSERT INTO modules (digest, bytes, uploaded_at) VALUES (?1, ?2, ?3) \
    ON CONFLICT (digest) DO NOTHING";
const AGAIN: &str = "UPDATE modules SET uploaded_at = ?2 \
    WHERE digest = ?1 AND module_id NOT IN (SELECT module_id FROM activated_modules)";
const GET: &str = "SELECT bytes FROM modules WHERE digest = ?1";
const LIST: &str = "SELECT digest, length(bytes), uploaded_at FROM modules ORDER BY module_id";
const DEPLOYMENTS: &str = "SELECT d.plan, d.name, m.digest, d.activated_at, d.activated_by, \
    d.categories, d.trusted, d.projections, d.preflight FROM deployments AS d \
    JOIN modules AS m ON m.module_id = d.module_id ORDER BY d.plan";

const MEMBERS: &str = "SELECT r.plan, r.name, m.digest FROM release_members AS r \
    LEFT JOIN modules AS m ON m.module_id = r.module_id ORDER BY r.plan, r.name";

const SIGN: &str = "INSERT INTO module_signatures (module_id, key, signature) \
    SELECT m.module_id, ?2, ?3 FROM modules AS m WHERE m.digest = ?1 AND ?4 > (\
        SELECT count(*) FROM module_signatures AS s \
        WHERE s.module_id = m.module_id AND s.key <> ?2) \
    ON CONFLICT (module_id, key) DO UPDATE SET signature = excluded.signature";
const UNSIGN_ONE: &str = "DELETE FROM module_signatures WHERE key = ?2 \
    AND module_id = (SELECT module_id FROM modules WHERE digest = ?1)";
const SIGNATURES: &str = "SELECT s.key, s.signature FROM modules AS m \
    JOIN module_signatures AS s ON s.module_id = m.module_id WHERE m.digest = ?1 ORDER BY s.key";
/// The log is read once, for all of them.
const UNUSED: &str = "SELECT digest, length(bytes), uploaded_at FROM modules \
    WHERE uploaded_at <= ?1 AND module_id NOT IN (SELECT module_id FROM activated_modules) \
        AND module_id NOT IN (SELECT module_id FROM events WHERE module_id IS NOT NULL) \
    ORDER BY module_id";
/// What was activated meanwhile stays. No event comes before an activation of its module.
const PRUNE: &str = "DELETE FROM modules WHERE digest = ?1 \
    AND module_id NOT IN (SELECT module_id FROM activated_modules)";
const UNSIGN: &str = "DELETE FROM module_signatures \
    WHERE module_id NOT IN (SELECT module_id FROM modules)";

/// Reads through the pool; an upload opens a connection of its own, since it is
/// rare and must not hold the writer.
pub struct Modules {
    pool: SqlitePool,
    side: Side,
    writing: SqliteConnectOptions,
}

impl Modules {
    /// Modules of the store behind these connections.
    pub fn new(pool: SqlitePool, side: Side, writing: SqliteConnectOptions) -> Self {
        Self {
            pool,
            side,
            writing,
        }
    }

    async fn insert(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> sqlx::Result<bool> {
        let mut connection = self.writing.connect().await?;
        let done = sqlx::query(PUT)
            .bind(digest.0.to_vec())
            .bind(bytes)
            .bind(signed(at.0))
            .execute(&mut connection)
            .await?;
        let is_new = done.rows_affected() == 1;
        if !is_new {
            sqlx::query(AGAIN)
                .bind(digest.0.to_vec())
                .bind(signed(at.0))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(is_new)
    }

    async fn keep(&self, digest: Digest, signature: Signature) -> Result<()> {
        let done = sqlx::query(SIGN)
            .bind(digest.0.to_vec())
            .bind(signature.key.0.to_vec())
            .bind(signature.bytes.to_vec())
            .bind(signed(SIGNATURES_MAX as u64))
            .execute(&mut *self.side.turn().await?.connection)
            .await;
        done?;
        Ok(())
    }

    async fn unused(&self, before: Timestamp) -> Result<Vec<StoredModule>> {
        let rows = sqlx::query(UNUSED)
            .bind(signed(before.0))
            .fetch_all(&self.pool)
            .await?;
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
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        for module in unused {
            let done = sqlx::query(PRUNE)
                .bind(module.digest.0.to_vec())
                .execute(&mut *writing)
                .await?;
            if done.rows_affected() == 1 {
                removed.push(module);
            }
        }
        let done = sqlx::query(UNSIGN).execute(&mut *writing).await;
        done?;
        commit(writing).await?;
        Ok(removed)
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

fn module(row: &SqliteRow) -> Result<StoredModule> {
    Ok(StoredModule {
        digest: row.digest(0)?,
        bytes: row.number(1)?,
        uploaded_at: Timestamp(row.number(2)?),
    })
}

#[async_trait]
impl ModuleStore for Modules {
    async fn put(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> Result<bool> {
        self.insert(digest, bytes, at).await.map_err(Error::from)
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query(GET)
            .bind(digest.0.to_vec())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.cell(0)).transpose()
    }

    async fn sign(&self, digest: Digest, signature: Signature) -> Result<()> {
        self.keep(digest, signature).await
    }

    async fn unsign(&self, digest: Digest, key: PublicKey) -> Result<()> {
        let done = sqlx::query(UNSIGN_ONE)
            .bind(digest.0.to_vec())
            .bind(key.0.to_vec())
            .execute(&mut *self.side.turn().await?.connection)
            .await;
        done?;
        Ok(())
    }

    async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>> {
        let rows = sqlx::query(SIGNATURES)
            .bind(digest.0.to_vec())
            .fetch_all(&self.pool)
            .await?;
        let row = |row: &SqliteRow| signature(row.cell(0)?, row.cell(1)?);
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
                    categories: categories(row.cell(1)?, row.cell(5)?)?,
                    trusted: trusted(row.cell(6)?)?,
                    projections: ProjectionPlan::of_json(row.cell(7)?)?,
                    preflight: preflight::of_json(row.cell(8)?)?,
                })
            })
            .collect()
    }
}
