//! Measures the cost of change: steps that no event needs, events that are lifted, and a long
//! stream with a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Options;
use super::host::work;
use super::place::Place;
use quipu::Host;
use quipu::engine::{self, Append, Policies, Policy};
use quipu::fold::{Folder, From, Rules, Until};
use quipu::model::{Body, Command, Name, NewEvent, StreamId, fresh_id};
use quipu::runtime::Module;
use quipu::store;
use quipu::upcast::{Chain, Names};

/// Events of each long stream.
const LONG: usize = 100_000;
/// Events of each short stream.
const SHORT: usize = 10;
/// Events in one append.
const APPEND: usize = 1_000;
/// Number of folds of each kind. The fastest one counts, because disturbances only add time.
const FOLDS: usize = 5;
/// Number of commands on cold streams. The result is the median.
const COMMANDS: usize = 60;

/// The cost of change.
#[derive(Debug, Clone, Serialize)]
pub struct Evolution {
    /// Events of the folded stream.
    pub events: usize,
    /// Events per second, read from the store and folded, without any step.
    pub folded_per_second: f64,
    /// Events per second with the steps of the next generation, which none of the events needs.
    pub with_steps_per_second: f64,
    /// Events per second with the next generation, where each event is lifted.
    pub lifted_per_second: f64,
    /// Time of a command on a cold stream of 10 events: median in milliseconds.
    pub short_ms: f64,
    /// Time of a command on a cold stream of 100,000 events with a snapshot: median in
    /// milliseconds.
    pub long_ms: f64,
}

/// Measures with two generations of the loan guest.
pub async fn measure(options: &Options, first: &[u8], second: &[u8]) -> Result<Evolution> {
    let place = Place::new(options)?;
    let store = store::open(&place.url()?).await?;
    let folder = Folder::new(
        Arc::clone(&store.reader),
        Arc::clone(&store.snapshots),
        1_000,
    );
    let engine = engine::Options {
        workers: 1,
        warm_aggregates_max: 1,
        snapshots: Policies {
            others: Policy::Every(1_000),
            by_category: HashMap::new(),
        },
        ..engine::Options::default()
    };
    let building = Host::builder().opened_store(store).engine(engine);
    let host = building.build().await?;
    let old = host.upload(first.to_vec()).await?.module;
    let new = host.upload(second.to_vec()).await?.module;
    host.activate(old.digest(), None).await?;
    for (name, events) in [
        ("short-1", SHORT),
        ("short-2", SHORT),
        ("long-1", LONG),
        ("long-2", LONG),
    ] {
        fill(&host, name, events).await?;
    }
    let folder = Arc::new(folder);
    // The kinds alternate, so that disturbances affect them equally.
    let (mut folded, mut with_steps, mut lifted) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..FOLDS {
        folded = folded.min(fold(&folder, &old, None).await?);
        with_steps = with_steps.min(fold(&folder, &old, Some(&new)).await?);
        lifted = lifted.min(fold(&folder, &new, Some(&new)).await?);
    }
    for name in ["long-1", "long-2"] {
        host.snapshot(&stream(name)?).await?;
    }
    let short_ms = cold(&host, ["short-1", "short-2"]).await?;
    let long_ms = cold(&host, ["long-1", "long-2"]).await?;
    host.shutdown().await?;
    place.remove().await?;
    let rate = |time: Duration| LONG as f64 / time.as_secs_f64();
    Ok(Evolution {
        events: LONG,
        folded_per_second: rate(folded),
        with_steps_per_second: rate(with_steps),
        lifted_per_second: rate(lifted),
        short_ms,
        long_ms,
    })
}

fn stream(name: &str) -> Result<StreamId> {
    Ok(StreamId::new(&format!("loan-{name}"))?)
}

/// Appends events to a stream.
async fn fill(host: &Host, name: &str, events: usize) -> Result<()> {
    let (stream, body) = (stream(name)?, Body::json(work())?);
    let submit = Command::new("submit", r#"{"amount":20000}"#)?;
    host.execute(&stream, submit).await?;
    let name = Name::new("work-scheduled")?;
    let events = events - 1;
    for first in (0..events).step_by(APPEND) {
        let event = |_| NewEvent {
            id: fresh_id(),
            id_is_callers: false,
            name: name.clone(),
            schema_version: 1,
            body: body.clone(),
            metadata: None,
            tags: Vec::new(),
        };
        let append = Append {
            events: (first..events.min(first + APPEND)).map(event).collect(),
            into_owned_category: true,
            ..Append::default()
        };
        host.append(&stream, append).await?;
    }
    Ok(())
}

/// Folds the long stream with the steps of a component.
async fn fold(
    folder: &Arc<Folder>,
    decider: &Arc<Module>,
    steps: Option<&Arc<Module>>,
) -> Result<Duration> {
    let chain = Chain::new("loan", steps);
    let names = Names::of_decider(&decider.manifest().events);
    let rules = Arc::new(Rules::new(Arc::clone(decider), chain, names, Vec::new()));
    let begin = Instant::now();
    let (stream, until) = (stream("long-1")?, Until::End);
    let open = folder.fold(&rules, &stream, From::First, until).await?;
    folder.ask(open, |_| Ok(())).await?;
    Ok(begin.elapsed())
}

/// Returns the median time of a command on a cold stream. The stream is always cold, because the
/// worker keeps only one state, that of the other stream.
async fn cold(host: &Host, names: [&str; 2]) -> Result<f64> {
    let mut times = Vec::with_capacity(COMMANDS);
    for number in 0..COMMANDS {
        let stream = stream(names[number % 2])?;
        let command = Command::new("schedule-work", work())?;
        let begin = Instant::now();
        host.execute(&stream, command).await?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let median = times.get(COMMANDS / 2).context("no command")?;
    Ok(median.as_secs_f64() * 1e3)
}

impl fmt::Display for Evolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a stream of {} events, read and folded: {:.0}/s; with steps that none needs {:.0}/s \
             (x{:.2}); each lifted {:.0}/s (x{:.2})",
            self.events,
            self.folded_per_second,
            self.with_steps_per_second,
            self.with_steps_per_second / self.folded_per_second,
            self.lifted_per_second,
            self.lifted_per_second / self.folded_per_second
        )?;
        writeln!(
            f,
            "a command on a cold stream of {SHORT} events: {:.2} ms; of {LONG} with a snapshot: \
             {:.2} ms (x{:.2})",
            self.short_ms,
            self.long_ms,
            self.long_ms / self.short_ms
        )
    }
}
