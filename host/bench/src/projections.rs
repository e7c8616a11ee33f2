//! Measures projections: catching up, a rebuild, the delay until an event is in a document, and the
//! cost of a document in the transaction of an append.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loan::simulation::Simulation;
use serde::Serialize;

use super::host::{self, Guests, Ids, Kind, work};
use super::load::Measured;
use super::place::Place;
use super::{Options, Views};
use quipu::Host;
use quipu::model::{Command, Lifecycle, Position, SettingsChange, StreamId};
use quipu::projection::{Action, Freshness};
use quipu::store::{self, Direction, DocumentStore, EventReader, Filter, LOG_PAGE_MAX, Role};

/// Projections of the example guests, and the work per event.
const FOLDED: [(&str, &str); 4] = [
    ("applications", "a document per application, two indexes"),
    ("officers", "a document per officer"),
    ("pipeline", "one hot document"),
    ("spread", "five documents an event"),
];
/// Number of callers, to which commands are assigned by stream.
const CALLERS: usize = 256;
/// Number of appends whose documents are awaited.
const READS: usize = 500;
/// Commands in flight with an inline projection.
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
/// Interval between checks of a build's progress.
const CHECK_PAUSE: Duration = Duration::from_millis(2);
/// Longest time to wait for a document.
const WAIT: Duration = Duration::from_secs(30);

/// The cost of projections.
#[derive(Debug, Clone, Serialize)]
pub struct Projections {
    /// Events in the log.
    pub events: u64,
    /// Events per second, read in the same pages without folding.
    pub read_per_second: f64,
    /// Each projection separately.
    pub folded: Vec<Folded>,
    /// Time from the answer of a command to a read of its document with `after`.
    pub fresh: Fresh,
    /// Commands with an inline projection that has a document per stream, and without one.
    pub inline: Vec<InlineRow>,
}

/// Speed of folding one projection.
#[derive(Debug, Clone, Serialize)]
pub struct Folded {
    /// Name of the projection.
    pub projection: &'static str,
    /// The work per event.
    pub what: &'static str,
    /// Events per second from the first event on, with every document written.
    pub caught_up_per_second: f64,
    /// Events per second of a second build next to the first.
    pub rebuilt_per_second: f64,
}

/// Delay until an event is in a document.
#[derive(Debug, Clone, Serialize)]
pub struct Fresh {
    /// Half of the reads were answered within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 reads were answered within this time, in milliseconds.
    pub p99_ms: f64,
}

/// Commands with and without an inline projection.
#[derive(Debug, Clone, Serialize)]
pub struct InlineRow {
    /// Commands in flight.
    pub in_flight: usize,
    /// Without projections.
    pub without: Measured,
    /// With an inline document for each stream.
    pub inline: Measured,
}

/// Measures with the loan guest and its projections.
pub async fn measure(options: &Options, component: &[u8], views: &Views) -> Result<Projections> {
    let place = Place::new(options)?;
    let store = store::open(&place.url()?).await?;
    let reader = Arc::clone(&store.reader);
    let documents = Arc::clone(&store.documents);
    let host = Host::builder().opened_store(store).build().await?;
    for component in [component, &views.loan, &views.spread] {
        let module = host.upload(component.to_vec()).await?.module;
        host.activate(module.digest(), None).await?;
    }
    for (name, _) in FOLDED {
        begun(&*documents, name).await?;
        host.control_projection(name, Action::Pause).await?;
    }
    fill(&host, options.events as u64).await?;
    let events = host.log_head().await?;
    // The first read fills the caches of the operating system.
    read(&*reader, events).await?;
    let read_per_second = rate(events, read(&*reader, events).await?);
    let mut folded = Vec::with_capacity(FOLDED.len());
    for (projection, what) in FOLDED {
        let caught_up = time(&host, &*documents, projection, Role::Active, events).await?;
        let rebuilt = time(&host, &*documents, projection, Role::Next, events).await?;
        host.control_projection(projection, Action::Cancel).await?;
        host.control_projection(projection, Action::Pause).await?;
        folded.push(Folded {
            projection,
            what,
            caught_up_per_second: rate(events, caught_up),
            rebuilt_per_second: rate(events, rebuilt),
        });
    }
    let fresh = fresh(&host).await?;
    host.shutdown().await?;
    place.remove().await?;
    Ok(Projections {
        events: events.0,
        read_per_second,
        folded,
        fresh,
        inline: inline(options, component, views).await?,
    })
}

fn rate(events: Position, time: Duration) -> f64 {
    events.0 as f64 / time.as_secs_f64()
}

/// Executes the commands of a simulation, in order within each stream.
async fn fill(host: &Host, commands: u64) -> Result<()> {
    let mut shares: Vec<Vec<(StreamId, Command)>> = vec![Vec::new(); CALLERS];
    let mut callers = BTreeMap::new();
    for line in Simulation::new(1, commands) {
        let next = callers.len() % CALLERS;
        let caller = *callers.entry(line.id.clone()).or_insert(next);
        let stream = StreamId::new(&format!("loan-{}", line.id))?;
        let mut command = Command::new(line.r#type, serde_json::to_string(&line.data)?)?;
        let metadata = serde_json::json!({"at": line.at, "actor": line.actor});
        command.metadata = Some(metadata.to_string().into());
        shares[caller].push((stream, command));
    }
    let callers = shares.into_iter().map(|share| {
        let host = host.clone();
        tokio::spawn(async move {
            for (stream, command) in share {
                match host.execute(&stream, command).await {
                    Ok(_) | Err(quipu::engine::Error::Rejected { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// Reads the log like a projection, without folding.
async fn read(reader: &dyn EventReader, head: Position) -> Result<Duration> {
    let filter = Filter {
        categories: Some(vec!["loan".into()]),
        ..Filter::default()
    };
    let begin = Instant::now();
    let mut after = Some(Position(0));
    let mut last = Position(0);
    while let Some(from) = after {
        let page = reader
            .read_log(from, Direction::Forward, LOG_PAGE_MAX, &filter)
            .await?;
        last = page.events.last().map_or(last, |event| event.position);
        after = page.next;
    }
    anyhow::ensure!(last <= head, "{last:?} is after {head:?}");
    Ok(begin.elapsed())
}

/// Waits until a projection's first build exists.
async fn begun(documents: &dyn DocumentStore, name: &str) -> Result<()> {
    let begin = Instant::now();
    while position(documents, name, Role::Active).await?.is_none() {
        if begin.elapsed() > WAIT {
            bail!("{name} was not begun");
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    Ok(())
}

async fn position(
    documents: &dyn DocumentStore,
    name: &str,
    role: Role,
) -> Result<Option<Position>> {
    let stored = documents.projection(name).await?;
    let mut builds = stored.into_iter().flat_map(|stored| stored.builds);
    let build = builds.find(|build| build.role == role);
    if let Some(trouble) = build.as_ref().and_then(|build| build.trouble.as_ref()) {
        bail!("{name}: {trouble}");
    }
    Ok(build.map(|build| build.position))
}

/// Starts or continues a build, and waits until it contains everything up to `head`.
async fn time(
    host: &Host,
    documents: &dyn DocumentStore,
    name: &str,
    role: Role,
    head: Position,
) -> Result<Duration> {
    let order = match role {
        Role::Active => Action::Resume,
        _ => Action::Rebuild { hold: true },
    };
    let begin = Instant::now();
    host.control_projection(name, order).await?;
    while position(documents, name, role).await? < Some(head) {
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    Ok(begin.elapsed())
}

/// Measures the delay until a command's event is in a document, one command after another.
async fn fresh(host: &Host) -> Result<Fresh> {
    host.control_projection("applications", Action::Resume)
        .await?;
    let mut times = Vec::with_capacity(READS);
    for number in 0..READS {
        let key = format!("fresh-{}", number / 10);
        let stream = StreamId::new(&format!("loan-{key}"))?;
        let command = match number % 10 {
            0 => Command::new("submit", r#"{"amount":20000}"#)?,
            _ => Command::new("schedule-work", work())?,
        };
        let executed = host.execute(&stream, command).await?;
        let begin = Instant::now();
        let freshness = Freshness {
            after: executed.position.context("no event")?,
            wait: WAIT,
        };
        host.view("applications", &key, freshness).await?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let at = |index: usize| {
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Ok(Fresh {
        p50_ms: at(READS / 2),
        p99_ms: at(READS * 99 / 100),
    })
}

/// Measures commands with a document for each stream in their transactions, and without.
async fn inline(options: &Options, component: &[u8], views: &Views) -> Result<Vec<InlineRow>> {
    let duration = Duration::from_secs(options.seconds);
    let mut rows = Vec::with_capacity(IN_FLIGHT.len());
    for in_flight in IN_FLIGHT {
        let measured = async |lifecycle: Lifecycle| {
            let with_lifecycle = |lifecycle| SettingsChange {
                lifecycle: Some(lifecycle),
                on_error: None,
            };
            let settings = [
                ("applications".to_owned(), with_lifecycle(lifecycle)),
                ("officers".to_owned(), with_lifecycle(Lifecycle::Live)),
                ("pipeline".to_owned(), with_lifecycle(Lifecycle::Live)),
            ];
            let guests = Guests {
                decider: component,
                views: Some((&views.loan, settings.into())),
            };
            host::whole(
                options,
                &guests,
                Kind::ManyStreams,
                Ids::Callers,
                in_flight,
                duration,
            )
            .await
        };
        rows.push(InlineRow {
            in_flight,
            without: measured(Lifecycle::Live).await?,
            inline: measured(Lifecycle::Inline).await?,
        });
    }
    Ok(rows)
}

impl fmt::Display for Projections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.read_per_second;
        writeln!(
            f,
            "\nprojections of {} events, which are only read at {bare:.0}/s",
            self.events
        )?;
        let heads = ("caught up/s", "ratio", "rebuilt/s", "ratio");
        writeln!(
            f,
            "{:>11} {:>6} {:>11} {:>6}",
            heads.0, heads.1, heads.2, heads.3
        )?;
        for row in &self.folded {
            let (first, rebuild) = (row.caught_up_per_second, row.rebuilt_per_second);
            writeln!(
                f,
                "{first:>11.0} {:>6.2} {rebuild:>11.0} {:>6.2}  {}: {}",
                first / bare,
                rebuild / bare,
                row.projection,
                row.what
            )?;
        }
        writeln!(
            f,
            "from a command's answer to a read of its document: p50 {:.2} ms, p99 {:.2} ms",
            self.fresh.p50_ms, self.fresh.p99_ms
        )?;
        writeln!(
            f,
            "\nmany streams, callers' ids, a document for each stream inline"
        )?;
        let heads = (
            "in flight",
            "without/s",
            "inline/s",
            "ratio",
            "p50 ms",
            "p99 ms",
        );
        writeln!(
            f,
            "{:>9} {:>11} {:>11} {:>6} {:>8} {:>8}",
            heads.0, heads.1, heads.2, heads.3, heads.4, heads.5
        )?;
        for row in &self.inline {
            let (without, inline) = (&row.without, &row.inline);
            writeln!(
                f,
                "{:>9} {:>11.0} {:>11.0} {:>6.2} {:>8.2} {:>8.2}",
                row.in_flight,
                without.rate,
                inline.rate,
                inline.rate / without.rate,
                inline.p50_ms,
                inline.p99_ms
            )?;
        }
        Ok(())
    }
}
