//! Records activations.

use super::dialect::Connection;
use super::tables::signed;
use crate::{Deployment, preflight};

/// An activation that retires a name has no module.
const MEMBER: &str = "INSERT INTO release_members (plan, name, module_id) \
    SELECT $1, $2, module_id FROM modules WHERE digest = $3 \
    UNION ALL SELECT $1, $2, NULL WHERE $3 IS NULL";
const ACTIVATE: &str = "INSERT INTO deployments \
    (plan, name, module_id, activated_at, activated_by, categories, trusted, projections, preflight) \
    SELECT $1, $2, module_id, $3, $4, $5, $6, $8, $9 FROM modules WHERE digest = $7";

/// Records an activation, within a transaction. Returns false when one of its modules is not in the
/// store.
pub async fn activate(connection: &mut Connection, deployment: &Deployment) -> sqlx::Result<bool> {
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
