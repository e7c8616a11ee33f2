//! Measures what a tenant far above its limit costs another tenant.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Options;
use super::connection::Connection;
use super::place::Place;
use quipu::Host;
use quipu::access::{Grant, NewToken, Role};
use quipu::store::{self, StoreUrl};
use quipu_server::{self as http, Limiter, Limits, OpenedTenant, Opener, TenantOptions};

/// Requests a second that one caller may send.
const LIMIT: u32 = 200;
/// Requests a second of the tenant whose latencies are measured.
const STEADY: u32 = 100;
/// How far the other tenant goes above its limit.
const TIMES: u32 = 10;
/// Rounds of each kind, in turns.
const ROUNDS: usize = 3;

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Tenants {
    /// The 99th percentile of one tenant's appends while another one sends as much as it may.
    pub within_p99_ms: f64,
    /// The same while the other one sends ten times as much.
    pub above_p99_ms: f64,
    /// The part of the other one's requests that was refused then.
    pub refused: f64,
}

/// Measures on new stores.
pub async fn measure(options: &Options) -> Result<Tenants> {
    let place = Place::new(options)?;
    let host = opened(place.url()?).await?;
    let new = NewToken {
        name: "bench".to_owned(),
        grant: Grant::of(Role::Admin),
        expires_at: None,
        by: None,
    };
    let (_, secret) = host.tokens().create(new).await?;
    let tenants = of_tenants(&place.url()?);
    let served = Served::start(&host, &place.url()?, &tenants).await?;
    let noisy = served.create("noisy", secret.reveal()).await?;
    let steady = served.create("steady", secret.reveal()).await?;
    let duration = Duration::from_secs(options.seconds);
    let (mut within, mut above, mut refused) = (Vec::new(), Vec::new(), (0, 0));
    for round in 0..=ROUNDS {
        for times in [1, TIMES] {
            let loud = drive(served.address, &noisy, LIMIT * times, duration);
            let calm = drive(served.address, &steady, STEADY, duration);
            let (loud, calm) = tokio::try_join!(loud, calm)?;
            ensure!(calm.refused == 0, "the steady tenant was refused");
            // The first round warms everything.
            match (round, times) {
                (0, _) => {}
                (_, 1) => within.extend(calm.waited),
                _ => {
                    above.extend(calm.waited);
                    refused.0 += loud.refused;
                    refused.1 += loud.waited.len() + loud.refused;
                }
            }
        }
    }
    let listed = host.tenants().list().await?;
    served.end().await?;
    if let StoreUrl::Postgres(_) = place.url()? {
        for tenant in listed {
            if let StoreUrl::Postgres(url) = place.url()?.of_tenant(&tenants, &tenant.data)? {
                store::drop_schema(&url).await?;
            }
        }
    }
    place.remove().await?;
    Ok(Tenants {
        within_p99_ms: p99(within),
        above_p99_ms: p99(above),
        refused: refused.0 as f64 / refused.1.max(1) as f64,
    })
}

async fn opened(url: StoreUrl) -> Result<Host> {
    let store = store::open(&url).await?;
    Ok(Host::builder().opened_store(store).build().await?)
}

/// Where the stores of the tenants are.
fn of_tenants(store: &StoreUrl) -> String {
    match store {
        StoreUrl::Sqlite(file) => file.with_extension("tenants").display().to_string(),
        _ => format!("bench_{:08x}_", rand::random::<u32>()),
    }
}

fn p99(mut waited: Vec<Duration>) -> f64 {
    waited.sort_unstable();
    let at = waited.get(waited.len() * 99 / 100);
    at.map_or(0.0, |at| at.as_secs_f64() * 1_000.0)
}

/// A server with tenants in this process.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<()>>,
}

impl Served {
    async fn start(host: &Host, store: &StoreUrl, place: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let open: Opener = Arc::new(|url, _, _| {
            Box::pin(async move {
                Ok(OpenedTenant {
                    host: opened(url).await?,
                    rules: Arc::default(),
                    share: None,
                })
            })
        });
        let limits = Limits {
            requests_per_second: LIMIT,
            ..Limits::default()
        };
        let options = http::Options {
            limits: Arc::new(Limiter::new(limits)),
            tenants: Some(TenantOptions {
                store: store.clone(),
                place: place.to_owned(),
                open_max: 2,
                share: 2,
                identities: false,
                open,
            }),
            ..http::Options::default()
        };
        let (stop, stopped) = oneshot::channel();
        let serving = http::serve(listener, host.clone(), options, async { _ = stopped.await });
        Ok(Self {
            address,
            stop,
            serving: tokio::spawn(serving),
        })
    }

    /// Creates a tenant. Returns the headers of its caller.
    async fn create(&self, name: &str, token: &str) -> Result<String> {
        let headers = format!("authorization: Bearer {token}\r\n");
        let mut connection = Connection::open(self.address, headers).await?;
        let body = format!(r#"{{"name":"{name}"}}"#);
        let (status, created) = connection.post("/v1/tenants", &body).await?;
        ensure!(status == 201, "the tenant was not created: {created}");
        let created: serde_json::Value = serde_json::from_str(created)?;
        let token = created["token"].as_str().unwrap_or_default();
        Ok(format!(
            "authorization: Bearer {token}\r\nquipu-tenant: {name}\r\n"
        ))
    }

    async fn end(self) -> Result<()> {
        _ = self.stop.send(());
        self.serving.await?
    }
}

/// What the requests of one tenant came to.
#[derive(Default)]
struct Came {
    /// The times of those that were accepted, counted from when they were due.
    waited: Vec<Duration>,
    refused: usize,
}

/// Appends at a steady rate, whether or not answers have come.
async fn drive(address: SocketAddr, headers: &str, rate: u32, duration: Duration) -> Result<Came> {
    let connections = (rate / 25).clamp(1, 64);
    let pause = Duration::from_secs(1) * connections / rate;
    let callers: Vec<_> = (0..connections)
        .map(|number| {
            let headers = headers.to_owned();
            tokio::spawn(async move {
                let mut connection = Connection::open(address, headers).await?;
                let path = format!("/v1/streams/note-{number}/events");
                let mut due = interval(pause);
                due.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let (begun, mut came) = (Instant::now(), Came::default());
                while begun.elapsed() < duration {
                    let due = due.tick().await;
                    match connection.post(&path, EVENT).await?.0 {
                        200 | 201 => came.waited.push(due.elapsed()),
                        429 => came.refused += 1,
                        other => anyhow::bail!("unexpected answer: {other}"),
                    }
                }
                anyhow::Ok(came)
            })
        })
        .collect();
    let mut all = Came::default();
    for caller in callers {
        let came = caller.await??;
        all.waited.extend(came.waited);
        all.refused += came.refused;
    }
    Ok(all)
}

const EVENT: &str = r#"{"events":[{"type":"noted","data":{"text":"a note of some length"}}]}"#;

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            within_p99_ms,
            above_p99_ms,
            refused,
        } = self;
        writeln!(
            f,
            "\np99 of a tenant's appends while another tenant is at its limit of {LIMIT}/s: \
             {within_p99_ms:.2} ms; at {TIMES} times that, with {:.0} % refused: {above_p99_ms:.2} \
             ms; x{:.2}",
            refused * 100.0,
            above_p99_ms / within_p99_ms
        )
    }
}
