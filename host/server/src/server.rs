use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::connection::Serving;
use super::connections::Connections;
use super::router::router_until;
use quipu::Host;

/// How long requests in flight may take after the server was asked to shut down. A client that
/// keeps sending, or sends half a request, can't delay the shutdown for longer.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the host has to close its store, once no request is in flight.
const CLOSE: Duration = Duration::from_secs(10);

/// Serves the host until `shutdown` completes, or a part of the host fails without which it can't
/// work. Then no connection is accepted, requests in flight are answered within 10 s, and the host
/// shuts down within 10 s more. Requests of many lines stop reading: lines that were read are
/// answered, the rest is not executed. Subscriptions end at once. A command that is cut off after
/// 10 s may or may not be recorded; sending it again with its id shows which.
///
/// # Errors
/// When the listener, the store or a part of the host fails.
pub async fn serve(
    listener: TcpListener,
    host: Host,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (ending, cut) = (CancellationToken::new(), CancellationToken::new());
    let router = router_until(host.clone(), options.clone(), ending.clone());
    let serving = Serving::new(router, &options, ending.clone(), cut.clone());
    let connections = Connections::new(serving, &options);
    let (failing, told) = (host.clone(), ending.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown => {}
            _ = failing.until_failed() => {}
        }
        told.cancel();
    });
    let mut serving = pin!(connections.run(listener, ending.clone()));
    let too_late = async {
        ending.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = &mut serving => {}
        () = too_late => {
            tracing::warn!("requests were still open when the host ended");
            cut.cancel();
            serving.await;
        }
    }
    let failed = host.failed();
    let closed = tokio::time::timeout(CLOSE, host.shutdown()).await;
    if let Some(part) = failed {
        let cause = part.cause.unwrap_or_default();
        anyhow::bail!(
            "the {} of the host failed ({cause}), so it shut down; restart it: everything that was answered is durable",
            part.name
        );
    }
    match closed {
        Ok(closed) => Ok(closed?),
        Err(_) => anyhow::bail!(
            "the store was not closed within {} s; everything that was answered is durable",
            CLOSE.as_secs()
        ),
    }
}
