use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::administration::Serves;
use super::connection::Serving;
use super::connections::Connections;
use super::draining;
use super::router::{app, routed};
use super::{App, Options};
use quipu::Host;

/// How long requests in flight may take after the server was asked to shut down. A client that
/// keeps sending, or sends half a request, can't delay the shutdown for longer.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the host has to close its store, once no request is in flight.
const CLOSE: Duration = Duration::from_secs(10);

/// The listeners of a host.
#[derive(Debug)]
pub struct Listeners {
    /// Answers every operation; with `admin`, only those of applications.
    pub main: TcpListener,
    /// Answers every operation, on connections of its own.
    pub admin: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Self {
        Self { main, admin: None }
    }
}

/// Serves the host until `shutdown` completes and `drain_delay` has passed, or a part of the host fails
/// without which it can't work. Then no connection is accepted, requests in flight are answered within 10 s, and the host
/// shuts down within 10 s more. Requests of many lines stop reading: lines that were read are
/// answered, the rest is not executed. Subscriptions end at once. A command that is cut off after
/// 10 s may or may not be recorded; sending it again with its id shows which.
///
/// # Errors
/// When the listener, the store or a part of the host fails.
pub async fn serve(
    listeners: impl Into<Listeners>,
    host: Host,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (ending, cut) = (CancellationToken::new(), CancellationToken::new());
    let Listeners { main, admin } = listeners.into();
    let app = app(host.clone(), options.clone(), ending.clone());
    let tenants = app.tenancy.tenants();
    if let Some(tenants) = tenants.clone() {
        let begin = move || {
            let tenants = Arc::clone(&tenants);
            async move { tenants.tend().await }
        };
        tokio::spawn(host.supervisor().restarting("keeper of tenants", begin));
    }
    let serving = |serves| {
        let router = routed(App {
            serves,
            ..app.clone()
        });
        let meters = Arc::clone(&app.meters);
        Serving::new(router, &options, meters, ending.clone(), cut.clone())
    };
    let everything = serving(Serves::Everything);
    let (connections, of_admin) = match &admin {
        None => (Connections::new(everything, &options), None),
        Some(_) => {
            let applications = serving(Serves::Applications);
            let (connections, of_admin) =
                Connections::new(applications, &options).divided(everything);
            (connections, Some(of_admin))
        }
    };
    let pending = app.pending.clone();
    let (failing, token) = (host.clone(), ending.clone());
    let draining = async move {
        shutdown.await;
        draining::begin(&app).await;
    };
    // Dropped also by a panic: a host that nobody could ask to end would be worse.
    let token = token.drop_guard();
    tokio::spawn(async move {
        tokio::select! {
            () = draining => {}
            _ = failing.until_failed() => {}
        }
        drop(token);
    });
    let administration = async {
        if let (Some(listener), Some(connections)) = (admin, of_admin) {
            connections.run(listener, ending.clone()).await;
        }
    };
    let applications = connections.run(main, ending.clone());
    let mut serving = pin!(async { tokio::join!(applications, administration) });
    let too_late = async {
        ending.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = &mut serving => {}
        () = too_late => {
            tracing::warn!("requests were still open when the host ended");
            cut.cancel();
            serving.await;
        }
    }
    let failed = host.failed();
    let closing = async {
        pending.end().await;
        let others = async {
            if let Some(tenants) = tenants {
                tenants.close_all().await;
            }
        };
        tokio::join!(host.shutdown(), others).0
    };
    let closed = tokio::time::timeout(CLOSE, closing).await;
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
