//! One connection: HTTP/1 or HTTP/2, over any transport.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{Response, Version};
use futures::future::Either;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Options;
use super::activity::{Activity, Overdue, Patience};
use super::answering::{Answering, PART_BYTES, Visit};
use super::framing;
use super::meters::Meters;
use super::patience::PatientStream;
use super::sse;
use super::tls::{self, Accepted, Tls};

/// How long a connection that has to be closed may take to say goodbye, once nothing is in flight.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long requests in flight of a client that is trusted no more may take.
const DISTRUSTED: Duration = Duration::from_secs(2);
/// How many resets and stream errors of a client are tolerated on HTTP/2.
const RESETS_MAX: usize = 20;
const STREAM_ERRORS_MAX: usize = 100;
/// Bytes of all headers of a request, on HTTP/2.
const HEADERS_BYTES_MAX: u32 = 64 << 10;

/// How connections are served.
#[derive(Clone)]
pub struct Serving {
    builder: Builder<TokioExecutor>,
    router: Router,
    patience: Patience,
    write_max: Duration,
    tls: Option<Arc<Tls>>,
    meters: Arc<Meters>,
    /// Accept no further requests.
    ending: CancellationToken,
    /// Stop requests in flight, too.
    cut: CancellationToken,
}

impl Serving {
    pub fn new(
        router: Router,
        options: &Options,
        meters: Arc<Meters>,
        ending: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        let write_max = options.slow_reader_max;
        let mut builder = Builder::new(TokioExecutor::new());
        // hyper's own timeout needs a timer and counts an idle connection as a slow head.
        builder.http1().max_buf_size(PART_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(options.connection_requests_max)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(STREAM_ERRORS_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_send_buf_size(PART_BYTES)
            .keep_alive_interval(write_max)
            .keep_alive_timeout(write_max);
        Self {
            builder,
            router,
            patience: Patience {
                head: options.head_time_max,
                idle: options.idle_max,
                unread: write_max,
            },
            write_max,
            tls: options.tls.clone(),
            meters,
            ending,
            cut,
        }
    }

    /// Serves a connection to its end.
    pub async fn serve<S>(self, stream: S, activity: Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let meters = Arc::clone(&self.meters);
        self.serve_stream(stream, Arc::clone(&activity)).await;
        meters.subscribers_closed.add(activity.cut() as u64);
    }

    async fn serve_stream<S>(self, stream: S, activity: Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // It is below TLS, so that it sees what the client takes, not what waits to be encrypted.
        let stream = PatientStream::new(stream, self.write_max, Arc::clone(&activity));
        let Some(tls) = self.tls.clone() else {
            let trust = CancellationToken::new();
            return self.serve_http(stream, activity, trust).await;
        };
        let accepted = tokio::select! {
            accepted = timeout(self.patience.head, tls.accept(stream)) => accepted,
            () = activity.gone.cancelled() => return,
            () = self.ending.cancelled() => return,
        };
        match accepted {
            Ok(Ok(Accepted { stream, trust })) => {
                if let Some(names) = tls::names(&stream) {
                    _ = activity.names.set(Arc::new(names));
                }
                self.serve_http(stream, activity, trust).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Serves HTTP on a connection to its end, or for a while after its client is trusted no more.
    async fn serve_http<S>(self, stream: S, activity: Arc<Activity>, trust: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let requests = Requests {
            router: TowerToHyperService::new(self.router),
            activity: Arc::clone(&activity),
            meters: self.meters,
        };
        let serving = self
            .builder
            .serve_connection(TokioIo::new(stream), requests);
        let mut serving = pin!(serving);
        let overdue = tokio::select! {
            ended = serving.as_mut() => return log(ended),
            () = self.ending.cancelled() => None,
            () = trust.cancelled() => None,
            () = activity.gone.cancelled() => {
                tracing::debug!("a connection was closed to make room");
                return;
            }
            overdue = overdue(&activity, &self.patience) => Some(overdue),
        };
        match overdue {
            Some(overdue @ (Overdue::Head | Overdue::Unread)) => {
                if overdue == Overdue::Unread {
                    activity.unread_too_long();
                }
                tracing::debug!(?overdue, "a connection was closed");
                return;
            }
            Some(Overdue::Idle) | None => serving.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            ended = serving => log(ended),
            () = quiet(&activity, &self.patience) => {}
            () = self.cut.cancelled() => {}
            () = distrusted(&trust) => tracing::debug!("a connection was closed: other clients are trusted now"),
        }
    }
}

/// Completes when a client that is trusted no more has had time to get its answers.
async fn distrusted(trust: &CancellationToken) {
    trust.cancelled().await;
    sleep(DISTRUSTED).await;
}

fn log(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Completes when the connection has to be closed.
async fn overdue(activity: &Activity, patience: &Patience) -> Overdue {
    // An earlier deadline is seen at the next check.
    let shortest = patience.head.min(patience.idle).min(patience.unread);
    let between = (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(5));
    loop {
        let next = Instant::now() + between;
        match activity.due(patience) {
            Some((due, overdue)) if due <= Instant::now() => return overdue,
            Some((due, _)) => sleep_until(due.min(next)).await,
            None => sleep_until(next).await,
        }
    }
}

/// Completes when nothing has been in flight or sent for a while, or when an answer is not read.
async fn quiet(activity: &Activity, patience: &Patience) {
    let begun = Instant::now();
    loop {
        let since = activity.quiet_since().map(|since| since.max(begun));
        if since.is_some_and(|since| since.elapsed() >= FAREWELL) {
            return;
        }
        let due = activity.due(patience);
        if due.is_some_and(|(due, why)| why == Overdue::Unread && due <= Instant::now()) {
            return;
        }
        sleep(FAREWELL / 10).await;
    }
}

/// The requests of one connection.
struct Requests {
    router: TowerToHyperService<Router>,
    activity: Arc<Activity>,
    meters: Arc<Meters>,
}

type Answer = Result<Response<Answering>, Infallible>;

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answering>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let begun = Instant::now();
        let mut in_flight = self.activity.begin(request.version() == Version::HTTP_2);
        in_flight.measure(self.meters.requests.begin());
        let (meters, method) = (Arc::clone(&self.meters), request.method().clone());
        request.extensions_mut().insert(Visit::new(&self.activity));
        let answering = match framing::check(request.version(), request.uri(), request.headers()) {
            Ok(()) => Either::Left(self.router.call(request)),
            Err(failure) => Either::Right(ready(Ok(framing::refused(failure)))),
        };
        Box::pin(async move {
            let response = answering.await?;
            let route = response.extensions().get::<MatchedPath>();
            let route = route.map(MatchedPath::as_str);
            let requests = &meters.requests;
            requests.answered(&method, route, response.status(), begun.elapsed());
            if sse::is_subscription(&response) {
                in_flight.has_no_end();
            }
            Ok(response.map(|body: Body| Answering::new(body, in_flight)))
        })
    }
}
