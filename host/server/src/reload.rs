//! Settings that are read a second time while the host runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::failure::{Failure, Result};
use super::params::Params;
use super::{App, answer};
use quipu_api::{Code, Problem, Reloaded};

type Reader = dyn Fn() -> std::result::Result<Reloaded, String> + Send + Sync;

/// Reads settings a second time and applies those that can change while the host runs. Cheap to
/// clone.
#[derive(Clone)]
pub struct Reload {
    read: Arc<Reader>,
    /// One at a time.
    running: Arc<Mutex<()>>,
}

impl Reload {
    /// A function that reads the settings. It may block. When it fails it has changed nothing; the
    /// text says why.
    pub fn new(
        read: impl Fn() -> std::result::Result<Reloaded, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
            running: Arc::default(),
        }
    }

    /// Reads the settings on another thread, and logs the result.
    ///
    /// # Errors
    /// When a setting is wrong; then nothing has changed.
    pub async fn run(&self) -> std::result::Result<Reloaded, String> {
        let Self { read, running } = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _one = running.lock().unwrap_or_else(PoisonError::into_inner);
            read()
        });
        let read = reading.await.unwrap_or_else(|error| Err(error.to_string()));
        match &read {
            Ok(Reloaded { changed, restart }) => {
                tracing::info!(?changed, ?restart, "the configuration was reloaded");
            }
            Err(why) => {
                tracing::error!(%why, "the configuration was not reloaded; nothing changed")
            }
        }
        read
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

/// Reads the configuration a second time: the certificate with its key, the keys that sign
/// components, the limits of callers, and the log level.
///
/// When something is wrong, nothing changes. Connections stay open: new connections get the new
/// certificate. Other settings that have changed are listed; they apply after a restart. SIGHUP
/// does the same.
#[utoipa::path(
    post, path = "/v1/reload", tag = "operations",
    security(("token" = ["operate"])),
    responses(
        (status = 200, body = Reloaded, description = "What has changed"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem: `reload-refused` when a setting is wrong"),
    ),
)]
pub async fn reload(State(app): State<App>, _: Params<()>) -> Result<Response> {
    app.tenancy.check_main()?;
    let reloaded = match &app.options.reload {
        Some(reload) => reload.run().await,
        None => Ok(Reloaded::default()),
    };
    match reloaded {
        Ok(reloaded) => answer::json(StatusCode::OK, &reloaded),
        Err(why) => Err(Failure::new(Code::ReloadRefused, why)),
    }
}
