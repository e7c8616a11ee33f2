use std::future::Future;

use tokio::net::TcpListener;

use super::{Options, router};
use crate::Host;

/// Serves the host until `shutdown` is done: then nothing new is accepted, requests
/// in flight are answered, and the host is shut down.
///
/// # Errors
/// When the listener or the store fails.
pub async fn serve(
    listener: TcpListener,
    host: Host,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let router = router(host.clone(), options);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await?;
    host.shutdown().await?;
    Ok(())
}
