//! The whole path, and the bare append beside it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rand::Rng;
use serde::Serialize;
use tokio::sync::oneshot;

use super::load::{Measured, drive};
use super::{Options, machine};
use crate::Host;
use crate::commit::{self, Staged, Verdict};
use crate::model::{
    Body, Command, CommandId, CommandRecord, Context, Digest, ExpectedVersion, Name, NewEvent,
    StreamId, Timestamp, fresh_id,
};
use crate::store::{Commit, Decided, Item, Outcome, StoreUrl, Write};

/// Which streams the commands go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One of many, at random.
    ManyStreams,
    /// Always the same.
    HotStream,
    /// One of many, with an id that was executed before.
    Replays,
}

/// Where the ids of commands come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ids {
    /// Random, by the caller: each is recorded and indexed.
    Callers,
    /// By the host.
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

/// Memory of a host with warm aggregates.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Aggregates that are warm.
    pub aggregates: usize,
    /// What the process had before the host was started, in bytes.
    pub before_bytes: u64,
    /// What it has with all of them warm.
    pub warm_bytes: u64,
}

/// The body of the command and of its event: 75 bytes of JSON.
pub fn work() -> String {
    format!(r#"{{"item":"{}"}}"#, "w".repeat(64))
}

fn stream(number: u64) -> StreamId {
    StreamId::new(&format!("loan-{number}")).unwrap_or_else(|_| unreachable!("a short id"))
}

fn random_id() -> String {
    uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string()
}

/// A host on a new SQLite file, with the guest active and every stream warm.
async fn warm_host(dir: &Path, component: &[u8], streams: usize) -> Result<Host> {
    let url = format!("sqlite:{}", dir.join("bench.db").display());
    let host = Host::builder().store(url).build().await?;
    let module = host.upload(component.to_vec()).await?.module;
    host.activate(module.digest(), None).await?;
    let next = Arc::new(AtomicU64::new(0));
    let callers = (0..256).map(|_| {
        let (host, next) = (host.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= streams as u64 {
                    return Ok::<_, anyhow::Error>(());
                }
                let command = Command::new("submit", r#"{"amount":20000}"#)?;
                host.execute(&stream(number), command.with_id("submit")?)
                    .await?;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(host)
}

fn temporary(options: &Options) -> Result<tempfile::TempDir> {
    let dir = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    dir.context("no folder for the store")
}

/// Memory with warm applications.
pub async fn memory(options: &Options, component: &[u8]) -> Result<Memory> {
    let dir = temporary(options)?;
    let before_bytes = machine::resident_bytes();
    let host = warm_host(dir.path(), component, options.streams).await?;
    let warm_bytes = machine::resident_bytes();
    host.shutdown().await?;
    Ok(Memory {
        aggregates: options.streams,
        before_bytes,
        warm_bytes,
    })
}

/// Commands through the whole path.
pub async fn whole(
    options: &Options,
    component: &[u8],
    kind: Kind,
    ids: Ids,
    in_flight: usize,
    duration: Duration,
) -> Result<Measured> {
    let dir = temporary(options)?;
    let host = warm_host(dir.path(), component, options.streams).await?;
    let (streams, executing, work) = (options.streams as u64, host.clone(), work());
    let batches = host.batches();
    let mut measured = drive(in_flight, duration, move |_| {
        let host = executing.clone();
        let command = match kind {
            Kind::Replays => Command::new("submit", r#"{"amount":20000}"#)
                .and_then(|command| command.with_id("submit")),
            _ => Command::new("schedule-work", work.clone()).and_then(|command| match ids {
                Ids::Callers => command.with_id(&random_id()),
                Ids::None => Ok(command),
            }),
        };
        let stream = match kind {
            Kind::HotStream => stream(0),
            _ => stream(rand::rng().random_range(0..streams)),
        };
        async move {
            let executed = host.execute(&stream, command?).await?;
            if executed.events.len() != 1 || executed.replayed != (kind == Kind::Replays) {
                bail!("unexpected answer: {executed:?}");
            }
            Ok(())
        }
    })
    .await?;
    measured.batches = host.batches() - batches;
    host.shutdown().await?;
    Ok(measured)
}

/// The same rows through the same committer, without a decision.
pub async fn bare(
    options: &Options,
    component: &[u8],
    ids: Ids,
    in_flight: usize,
    duration: Duration,
) -> Result<Measured> {
    let dir = temporary(options)?;
    let digest = Digest::of(component);
    // The same streams exist, as the host leaves them.
    warm_host(dir.path(), component, options.streams)
        .await?
        .shutdown()
        .await?;
    let url: StoreUrl = format!("sqlite:{}", dir.path().join("bench.db").display()).parse()?;
    let store = crate::store::open(&url).await?;
    let (committer, closing) = commit::start(store.writer, commit::Options::default())?;
    let (streams, staging) = (options.streams as u64, committer.clone());
    let batches = committer.gauge().batches.load(Ordering::Relaxed);
    let body = Body::json(work())?;
    let (event, command) = (Name::new("work-scheduled")?, Name::new("schedule-work")?);
    let mut measured = drive(in_flight, duration, move |number| {
        let stream = stream(rand::rng().random_range(0..streams));
        let id = match ids {
            Ids::Callers => CommandId::new(&random_id()),
            Ids::None => Ok(CommandId::made_by_host()),
        };
        let (body, event, command, committer) = (
            body.clone(),
            event.clone(),
            command.clone(),
            staging.clone(),
        );
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
                stream,
                expected: ExpectedVersion::Any,
                commit,
            }];
            let (tell, told) = oneshot::channel();
            let done = Box::new(move |_: Item, verdict: Verdict| _ = tell.send(verdict));
            committer.stage(Staged {
                item: Item::Append { run: None, writes },
                run: None,
                done,
            });
            match told.await? {
                Verdict::Outcome(Outcome::Appended(_)) => Ok(()),
                other => bail!("unexpected verdict: {other:?}"),
            }
        }
    })
    .await?;
    measured.batches = committer.gauge().batches.load(Ordering::Relaxed) - batches;
    committer.close();
    closing.await??;
    Ok(measured)
}
