use std::future::{Future, IntoFuture};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::patience::Patient;
use super::router::router_until;
use crate::Host;

/// How long requests in flight have, once the server is told to end. A client that
/// goes on sending, or sends half a request, can't hold up the end for longer.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves the host until `shutdown` is done: then no connection is accepted, requests
/// in flight are answered within 10 s, and the host is shut down. Requests of many
/// lines read no further: what was read is answered, the rest is not executed;
/// subscriptions end at once. A command that is cut off after 10 s is recorded or not; its id tells.
///
/// # Errors
/// When the listener or the store fails.
pub async fn serve(
    listener: TcpListener,
    host: Host,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let ending = CancellationToken::new();
    let listener = Patient::new(listener, options.slow_reader_max);
    let router = router_until(host.clone(), options, ending.clone());
    let told = ending.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        told.cancel();
    });
    let too_late = async {
        ending.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving.into_future() => served?,
        () = too_late => tracing::warn!("requests were still open when the host ended"),
    }
    host.shutdown().await?;
    Ok(())
}
