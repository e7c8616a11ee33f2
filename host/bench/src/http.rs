//! Measures commands over HTTP: from an open host, and with a token, a policy and the audit.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::Rng;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Options;
use super::connection::Connection;
use super::host::{Guests, shut_down, warm_hosts, work};
use super::place::Place;
use super::turns::{self, ROUNDS, Rate};
use quipu::Host;
use quipu::access::{Grant, NewToken, Role};
use quipu_policy::Policy;
use quipu_server::{self as http, InForce, Rules};

/// Connections, each with one command in flight.
pub const IN_FLIGHT: usize = 64;
/// A policy as a host has it: it permits more than the roles, and forbids something.
const POLICY: &str = r#"
permit (principal, action == Action::"command", resource in Category::"account");
forbid (principal, action == Action::"append", resource in Category::"loan");
"#;

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Http {
    /// Commands per second: open, with a token, and with a policy too.
    pub rates: Vec<Rate>,
}

/// Measures on a new store.
pub async fn measure(options: &Options, component: &[u8]) -> Result<Http> {
    let place = Place::new(options)?;
    let hosts = warm_hosts(options, &place, &Guests::only(component)).await?;
    let host = hosts[0].clone();
    let new = NewToken {
        name: "bench".to_owned(),
        grant: Grant::of(Role::Client),
        expires_at: None,
        by: None,
    };
    let (_, secret) = host.tokens().create(new).await?;
    let token = Some(secret.reveal());
    let policy = Policy::parse(POLICY);
    let (policy, _) = policy.map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let with_policy = Rules::new(InForce {
        policy: Some(policy),
        ..InForce::default()
    });
    let open = Served::start(&host, true, Rules::default()).await?;
    let closed = Served::start(&host, false, Rules::default()).await?;
    let ruled = Served::start(&host, false, with_policy).await?;
    let kinds = [(&open, None), (&closed, token), (&ruled, token)];
    let mut rates = [
        ("open", Vec::new()),
        ("token", Vec::new()),
        ("token, policy, audit", Vec::new()),
    ];
    for (order, counts) in turns::rounds(kinds.len()) {
        for at in order {
            let (served, token) = kinds[at];
            let streams = options.streams as u64;
            let rate = drive(served.address, token, streams, turns::slice(options)).await?;
            if counts {
                rates[at].1.push(rate);
            }
        }
    }
    for served in [open, closed, ruled] {
        served.end().await?;
    }
    shut_down(hosts).await?;
    place.remove().await?;
    Ok(Http {
        rates: turns::compared(&rates),
    })
}

/// A server in this process.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<()>>,
}

impl Served {
    async fn start(host: &Host, is_open: bool, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let options = http::Options {
            allow_unauthenticated: is_open,
            rules: Arc::new(rules),
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

    async fn end(self) -> Result<()> {
        _ = self.stop.send(());
        self.serving.await?
    }
}

/// Executes commands at a host for some time. Returns how many it executed per second.
pub async fn drive(
    address: SocketAddr,
    token: Option<&str>,
    streams: u64,
    duration: Duration,
) -> Result<f64> {
    let begun = Instant::now();
    let authorization =
        token.map_or_else(String::new, |it| format!("authorization: Bearer {it}\r\n"));
    let callers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let authorization = authorization.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(address, authorization).await?;
                let mut number = 0_u64;
                while begun.elapsed() < duration {
                    execute(&mut connection, streams).await?;
                    number += 1;
                }
                Ok::<_, anyhow::Error>(number)
            })
        })
        .collect();
    let mut number = 0;
    for caller in callers {
        number += caller.await??;
    }
    Ok(number as f64 / begun.elapsed().as_secs_f64())
}

/// Executes a command on one of many streams.
async fn execute(connection: &mut Connection, streams: u64) -> Result<()> {
    let number = rand::rng().random_range(0..streams);
    let body = format!(r#"{{"type":"schedule-work","data":{}}}"#, work());
    let path = format!("/v1/streams/loan-{number}/commands");
    let (status, answer) = connection.post(&path, &body).await?;
    ensure!(status == 200, "unexpected answer: {status} {answer}");
    Ok(())
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nover HTTP, {IN_FLIGHT} connections, medians of {ROUNDS} rounds in turns"
        )?;
        turns::table(f, &self.rates)
    }
}
