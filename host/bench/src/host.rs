//! Measures commands from request to answer, and direct appends for comparison.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use rand::Rng;
use serde::Serialize;
use tokio::sync::oneshot;

use super::load::{Measured, drive};
use super::place::Place;
use super::{Options, machine};
use quipu::commit::{self, Staged, Verdict};
use quipu::deploy::ProjectionChanges;
use quipu::model::{
    Body, Command, CommandId, CommandRecord, Context, Digest, ExpectedVersion, Name, NewEvent,
    SettingsChange, StreamId, Timestamp, fresh_id,
};
use quipu::projection;
use quipu::store::{Commit, Decided, Item, Outcome, Write};
use quipu::{Demand, Deploy, Host};

/// The streams to which the commands go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One of many streams, at random.
    ManyStreams,
    /// Always the same stream.
    HotStream,
    /// One of many streams, with an id that was executed before.
    Replays,
}

/// The source of command ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ids {
    /// Random ids from the caller, which are recorded and indexed.
    Callers,
    /// Ids created by the host.
    None,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManyStreams => "many streams",
            Self::HotStream => "one hot stream",
            Self::Replays => "known ids again",
        })
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callers => "callers' ids",
            Self::None => "no ids",
        })
    }
}

/// The modules that are active during the measurement.
pub struct Guests<'a> {
    /// The component that decides.
    pub decider: &'a [u8],
    /// A component with projections, and their settings.
    pub views: Option<(&'a [u8], BTreeMap<String, SettingsChange>)>,
}

impl<'a> Guests<'a> {
    /// Without projections.
    pub fn only(decider: &'a [u8]) -> Self {
        let views = None;
        Self { decider, views }
    }
}

/// Memory of a host with warm aggregates.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Number of warm aggregates.
    pub aggregates: usize,
    /// Memory of the process before the host was started, in bytes.
    pub before_bytes: u64,
    /// Memory of the process with all aggregates warm, in bytes.
    pub warm_bytes: u64,
}

/// The body of the command and of its event: 75 bytes of JSON.
pub fn work() -> String {
    format!(r#"{{"item":"{}"}}"#, "w".repeat(64))
}

pub fn stream(number: u64) -> StreamId {
    StreamId::new(&format!("loan-{number}")).unwrap_or_else(|_| unreachable!("a short id"))
}

fn random_id() -> String {
    uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string()
}

/// Starts hosts on a new store with an active guest. Every stream is warm at the host to which its
/// commands go.
pub async fn warm_hosts(
    options: &Options,
    place: &Place,
    guests: &Guests<'_>,
) -> Result<Arc<Vec<Host>>> {
    let mut hosts = Vec::new();
    for _ in 0..options.hosts {
        let store = quipu::store::open(&place.url()?).await?;
        // Other load on this machine must not cause commands to be rejected.
        let projections = projection::Options {
            inline_time: Duration::from_secs(2),
            ..projection::Options::default()
        };
        let building = Host::builder().opened_store(store).projections(projections);
        hosts.push(building.build().await?);
    }
    let module = hosts[0].upload(guests.decider.to_vec()).await?.module;
    hosts[0].activate(module.digest(), None).await?;
    if let Some((views, settings)) = &guests.views {
        let module = hosts[0].upload(views.to_vec()).await?.module;
        hosts[0]
            .deploy(
                Deploy::new(module.digest())
                    .preflight(Demand::Skip)
                    .projections(ProjectionChanges {
                        changes: settings.clone(),
                        ..ProjectionChanges::default()
                    }),
            )
            .await?;
    }
    let (hosts, next) = (Arc::new(hosts), Arc::new(AtomicU64::new(0)));
    let streams = options.streams as u64;
    let callers = (0..256).map(|_| {
        let (hosts, next) = (Arc::clone(&hosts), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= streams {
                    return Ok::<_, anyhow::Error>(());
                }
                let command = Command::new("submit", r#"{"amount":20000}"#)?;
                let host = &hosts[number as usize % hosts.len()];
                host.execute(&stream(number), command.with_id("submit")?)
                    .await?;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(hosts)
}

pub async fn shut_down(hosts: Arc<Vec<Host>>) -> Result<()> {
    for host in hosts.iter() {
        host.clone().shutdown().await?;
    }
    Ok(())
}

fn batches_of(hosts: &[Host]) -> u64 {
    hosts.iter().map(Host::batches).sum()
}

/// Measures memory with warm aggregates.
pub async fn memory(options: &Options, component: &[u8]) -> Result<Memory> {
    let place = Place::new(options)?;
    let before_bytes = machine::resident_bytes();
    let hosts = warm_hosts(options, &place, &Guests::only(component)).await?;
    let warm_bytes = machine::resident_bytes();
    shut_down(hosts).await?;
    place.remove().await?;
    Ok(Memory {
        aggregates: options.streams,
        before_bytes,
        warm_bytes,
    })
}

/// Measures commands from request to answer.
pub async fn whole(
    options: &Options,
    guests: &Guests<'_>,
    kind: Kind,
    ids: Ids,
    in_flight: usize,
    duration: Duration,
) -> Result<Measured> {
    let place = Place::new(options)?;
    let hosts = warm_hosts(options, &place, guests).await?;
    let streams = options.streams as u64;
    let measured = executed(&hosts, streams, (kind, ids), in_flight, duration).await?;
    shut_down(hosts).await?;
    place.remove().await?;
    Ok(measured)
}

/// Measures commands on warm hosts.
pub async fn executed(
    hosts: &Arc<Vec<Host>>,
    streams: u64,
    (kind, ids): (Kind, Ids),
    in_flight: usize,
    duration: Duration,
) -> Result<Measured> {
    let (executing, work) = (Arc::clone(hosts), work());
    let batches = batches_of(hosts);
    let mut measured = drive(in_flight, duration, move |_| {
        let hosts = Arc::clone(&executing);
        let command = match kind {
            Kind::Replays => Command::new("submit", r#"{"amount":20000}"#)
                .and_then(|command| command.with_id("submit")),
            _ => Command::new("schedule-work", work.clone()).and_then(|command| match ids {
                Ids::Callers => command.with_id(&random_id()),
                Ids::None => Ok(command),
            }),
        };
        let number = match kind {
            Kind::HotStream => 0,
            _ => rand::rng().random_range(0..streams),
        };
        async move {
            let (host, stream) = (&hosts[number as usize % hosts.len()], stream(number));
            let executed = host.execute(&stream, command?).await?;
            if executed.events.len() != 1 || executed.replayed != (kind == Kind::Replays) {
                bail!("unexpected answer: {executed:?}");
            }
            Ok(())
        }
    })
    .await?;
    measured.batches = batches_of(hosts) - batches;
    Ok(measured)
}

/// Measures the append of the same rows through the same committer, without a decision.
pub async fn bare(
    options: &Options,
    component: &[u8],
    ids: Ids,
    in_flight: usize,
    duration: Duration,
) -> Result<Measured> {
    let place = Place::new(options)?;
    let digest = Digest::of(component);
    // The same streams exist as after the warm-up of the hosts.
    let guests = Guests::only(component);
    shut_down(warm_hosts(options, &place, &guests).await?).await?;
    let (mut committers, mut closings) = (Vec::new(), Vec::new());
    for _ in 0..options.hosts {
        let store = quipu::store::open(&place.url()?).await?;
        let (committer, closing) = commit::start(
            store.writer,
            commit::Options::default(),
            commit::no_inline(),
            &store.supervisor,
        )?;
        committers.push(committer);
        closings.push(closing);
    }
    let committers = Arc::new(committers);
    let (streams, staging) = (options.streams as u64, Arc::clone(&committers));
    let body = Body::json(work())?;
    let (event, command) = (Name::new("work-scheduled")?, Name::new("schedule-work")?);
    let mut measured = drive(in_flight, duration, move |number| {
        let target = rand::rng().random_range(0..streams);
        let id = match ids {
            Ids::Callers => CommandId::new(&random_id()),
            Ids::None => Ok(CommandId::made_by_host()),
        };
        let (body, event, command) = (body.clone(), event.clone(), command.clone());
        let committers = Arc::clone(&staging);
        async move {
            let record = CommandRecord {
                id: id?,
                name: command,
                schema_version: 1,
                body: body.clone(),
                metadata: None,
                context: Context::default(),
                accepted_at: Timestamp(number),
                seed: rand::random(),
            };
            let event = NewEvent {
                id: fresh_id(),
                id_is_callers: false,
                name: event,
                schema_version: 1,
                body,
                metadata: None,
                tags: Vec::new(),
            };
            let commit = Commit {
                command: Some(Arc::new(record)),
                decided: Some(Decided {
                    module: digest,
                    fuel: 20_000,
                }),
                plan: 1,
                recorded_at: Timestamp(number),
                events: vec![event],
                id_is_new: true,
            };
            let writes = vec![Write {
                stream: stream(target),
                expected: ExpectedVersion::Any,
                commit,
            }];
            let (sender, receiver) = oneshot::channel();
            let done = Box::new(move |_: Item, verdict: Verdict| _ = sender.send(verdict));
            committers[target as usize % committers.len()].stage(Staged {
                item: Item::Append { run: None, writes },
                run: None,
                done,
            });
            match receiver.await? {
                Verdict::Outcome(Outcome::Appended(_)) => Ok(()),
                other => bail!("unexpected verdict: {other:?}"),
            }
        }
    })
    .await?;
    for (committer, closing) in committers.iter().zip(closings) {
        measured.batches += committer.gauge().batches.load(Ordering::Relaxed);
        committer.close();
        closing.await??;
    }
    place.remove().await?;
    Ok(measured)
}
