//! Reports of backups, which are made by other programs.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deed::Deed;
use super::failure::{Failure, Result};
use super::params::Params;
use super::request::OptionalJson;
use super::{App, answer};
use quipu::store::Job;
use quipu_api::Problem;

/// A backup that began earlier is not reported.
const AGE_S_MAX: u64 = 30 * 24 * 3_600;

/// How a backup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// A copy of the whole store, with any tool.
    #[default]
    Backup,
    /// The log in the folder of `quipu ship`.
    Ship,
}

/// A backup that was made.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupBody {
    /// How it was made; by default `backup`.
    #[serde(default)]
    kind: BackupKind,
    /// How long ago it was begun, in seconds: 0 to 2592000, by default 0. It contains what was
    /// stored before.
    #[serde(default)]
    age_s: u64,
}

/// A backup that was reported.
#[derive(Serialize, ToSchema)]
pub struct BackupView {
    /// How it was made.
    kind: BackupKind,
    /// When it was begun.
    #[schema(format = "date-time")]
    began_at: String,
}

/// Reports that a backup of the store was made.
///
/// The store has the time of the last one of each kind. Metrics and status show it, so an alert
/// can find out that backups are missing. `quipu backup` and `quipu ship` report by themselves. The
/// host does not check the backup.
#[utoipa::path(
    post, path = "/v1/backups", operation_id = "report_backup", tag = "operations",
    security(("token" = ["operate"])),
    request_body(content = Option<BackupBody>, description = "The backup"),
    responses(
        (status = 200, body = BackupView, description = "The backup was reported"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn report(
    State(app): State<App>,
    deed: Deed,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let BackupBody { kind, age_s } = body.parse()?;
    if age_s > AGE_S_MAX {
        let detail = format!("age_s is 0 to {AGE_S_MAX}, found {age_s}");
        return Err(Failure::bad_request(detail));
    }
    let job = match kind {
        BackupKind::Backup => Job::Backup,
        BackupKind::Ship => {
            // A shipper reports every minute, which would fill the audit.
            deed.withdraw().await?;
            Job::Ship
        }
    };
    let began_at = app.host.report_job(job, Duration::from_secs(age_s)).await?;
    let view = BackupView {
        kind,
        began_at: began_at.to_string(),
    };
    answer::json(StatusCode::OK, &view)
}
