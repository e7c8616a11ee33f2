//! Requests that end when they are done, also if their caller leaves before: those that the audit
//! records.

use std::time::Duration;

use axum::response::Response;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::failure::{Failure, Result};
use super::log_context;

/// How long the end of a host waits for those whose callers are gone.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The requests whose change is still to be recorded.
#[derive(Clone, Default)]
pub(super) struct PendingRequests(TaskTracker);

impl PendingRequests {
    /// Answers in a task of its own. A caller who leaves drops the answer, not the work: otherwise
    /// what it changed might have no record.
    pub async fn answer(
        &self,
        answering: impl Future<Output = Result<Response>> + Send + 'static,
    ) -> Result<Response> {
        let context = log_context::current();
        let answering = async move {
            match context {
                Some(context) => context.scope(answering).await,
                None => answering.await,
            }
        };
        let answered = self.0.spawn(answering).await;
        answered.unwrap_or_else(|error| Err(Failure::internal(&error)))
    }

    /// Waits for those whose callers are gone.
    pub async fn end(&self) {
        self.0.close();
        if timeout(WAIT_MAX, self.0.wait()).await.is_err() {
            tracing::warn!(
                requests = self.0.len(),
                "changes were not complete when the host ended; the audit has them as unknown"
            );
        }
    }
}
