//! The time between the request to shut down and the end of the listener: a load balancer notices that
//! the host is not ready, and no request is lost.

use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use tokio::time::sleep;

use super::App;
use super::failure::{Failure, Result};
use quipu_api::Code;

/// From now on the host is not ready. Completes when its listener may close.
pub(super) async fn begin(app: &App) {
    let delay = app.options.drain_delay;
    app.draining.cancel();
    if !delay.is_zero() {
        tracing::info!(
            ?delay,
            "not ready any more; requests are answered meanwhile"
        );
        sleep(delay).await;
    }
}

/// Whether the host was not asked to shut down.
///
/// # Errors
/// `not-ready` when it was.
pub(super) fn check(app: &App) -> Result<()> {
    match app.draining.is_cancelled() {
        true => Err(Failure::new(Code::NotReady, "the host is shutting down")),
        false => Ok(()),
    }
}

/// Asks the client to use another connection for its next request. HTTP/2 says so in another way, at
/// the end.
pub(super) fn announce(app: &App, version: Version, response: &mut Response) {
    if app.draining.is_cancelled() && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
}
