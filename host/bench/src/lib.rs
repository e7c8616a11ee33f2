//! Measures load against a host in this process, and the limit of the same store without a host.
//!
//! Everything is measured in one run, so that the ratios are valid on any machine. The bare append
//! stages the same rows (event, command record, caller's id) through the same committer, without a
//! decision. The native decider is the guest's own Rust code, including JSON, without the sandbox.

mod connection;
mod evolution;
mod guest;
mod host;
mod http;
mod load;
mod machine;
mod observed;
mod overload;
mod place;
mod projections;
mod reading;
mod report;
mod swaps;
mod tenants;
mod turns;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

pub use report::Report;

use self::host::{Guests, Ids, Kind};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Seconds for each figure; below 5 the indexes have not grown to their usual cost
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Commands in flight
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    pub in_flight: Vec<usize>,
    /// Loads to measure; without one all of them, reading, and what change costs
    #[arg(long, value_enum, value_delimiter = ',')]
    pub load: Vec<Load>,
    /// Streams, all warm, of which each command takes one at random
    #[arg(long, default_value_t = 10_000)]
    pub streams: usize,
    /// A compiled loan guest; without one it is built
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
    /// Another component with the rules of the loan guest, for example in another language, whose
    /// cost is shown next to it; may be repeated
    #[arg(long, value_name = "FILE")]
    pub compare: Vec<PathBuf>,
    /// Folder for the SQLite stores; without one, that for temporary files
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// A PostgreSQL database, `postgres://USER:PASSWORD@HOST/DATABASE`, in place of
    /// SQLite; each figure has a schema of its own there, removed afterwards
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    pub store: Option<String>,
    /// Hosts on one store, among which the commands are divided
    #[arg(long, default_value_t = 1, requires = "store",
          value_parser = clap::value_parser!(u8).range(1..=16))]
    pub hosts: u8,
    /// Events to append and to read back, and commands whose events are projected; 0 leaves
    /// that out, and what change costs
    #[arg(long, default_value_t = 250_000)]
    pub events: usize,
    /// The program `quipu`, with which the load `observed` starts hosts; without one, that in
    /// the folder of this program
    #[arg(long, value_name = "FILE")]
    pub quipu: Option<PathBuf>,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Many streams, callers' ids
    Many,
    /// Many streams, no ids
    ManyWithoutIds,
    /// One hot stream, callers' ids
    Hot,
    /// Ids that were executed before
    Replays,
    /// Documents: catching up, and inline
    Projections,
    /// Swaps of the decider under load
    Swaps,
    /// Commands over HTTP: open, with a token, with a policy
    Http,
    /// Commands over HTTP with metrics and traces, and without
    Observed,
    /// A tenant next to one that is far above its limit
    Tenants,
    /// Ten times as many commands as the host executes
    Overload,
}

/// Components with projections of the loan guest's events.
struct Views {
    loan: Vec<u8>,
    spread: Vec<u8>,
}

impl Load {
    const ALL: [Self; 10] = [
        Self::Many,
        Self::ManyWithoutIds,
        Self::Hot,
        Self::Replays,
        Self::Projections,
        Self::Swaps,
        Self::Http,
        Self::Observed,
        Self::Tenants,
        Self::Overload,
    ];

    fn parts(self) -> Option<(Kind, Ids)> {
        match self {
            Self::Many => Some((Kind::ManyStreams, Ids::Callers)),
            Self::ManyWithoutIds => Some((Kind::ManyStreams, Ids::None)),
            Self::Hot => Some((Kind::HotStream, Ids::Callers)),
            Self::Replays => Some((Kind::Replays, Ids::Callers)),
            Self::Projections
            | Self::Swaps
            | Self::Http
            | Self::Observed
            | Self::Tenants
            | Self::Overload => None,
        }
    }
}

/// Runs all measurements and reports progress through `progress`.
///
/// # Errors
/// When the guest can't be built, a store can't be created, a command fails, or a load needs the
/// program `quipu` and it is missing.
pub async fn run(options: &Options, progress: impl Fn(&str)) -> Result<Report> {
    let loads = match options.load.as_slice() {
        [] => &Load::ALL[..],
        named => named,
    };
    // Found first: the loads before this one take minutes.
    let is_observed = loads.contains(&Load::Observed) && options.hosts == 1;
    let quipu = is_observed
        .then(|| observed::program(options))
        .transpose()?;
    let component = match &options.component {
        Some(file) => read(file)?,
        None => built("loan", &progress).await?,
    };
    progress("a warm command in the guest, and natively");
    let guest = guest::measure(&component, &options.compare)?;
    progress("memory with 10,000 warm applications");
    let memory = host::memory(options, &component).await?;
    let rows = rows(options, loads, &component, &progress).await?;
    let mut swaps = None;
    if loads.contains(&Load::Swaps) {
        progress("swaps of the decider");
        swaps = Some(swaps::measure(options, &component).await?);
    }
    let mut http = None;
    if loads.contains(&Load::Http) && options.hosts == 1 {
        progress("commands over HTTP");
        http = Some(http::measure(options, &component).await?);
    }
    let mut observed = None;
    if let Some(quipu) = &quipu {
        progress("commands over HTTP, with metrics and traces");
        observed = Some(observed::measure(options, quipu, &component).await?);
    }
    let mut tenants = None;
    if loads.contains(&Load::Tenants) && options.hosts == 1 {
        progress("a tenant next to one that is far above its limit");
        tenants = Some(tenants::measure(options).await?);
    }
    let mut overload = None;
    if loads.contains(&Load::Overload) && options.hosts == 1 {
        progress("ten times as many commands as the host executes");
        overload = Some(overload::measure(options, &component).await?);
    }
    let (mut projections, mut reading, mut evolution) = (None, None, None);
    if options.events > 0 && loads.contains(&Load::Projections) {
        let views = Views {
            loan: built("loan-views", &progress).await?,
            spread: built("loan-spread", &progress).await?,
        };
        progress("projections");
        projections = Some(projections::measure(options, &component, &views).await?);
    }
    if options.events > 0 && options.load.is_empty() {
        progress(&format!("reading {} events", options.events));
        reading = Some(reading::measure(options, options.events).await?);
        let next = built("loan-v2", &progress).await?;
        progress("what change costs");
        evolution = Some(evolution::measure(options, &component, &next).await?);
    }
    Ok(Report {
        guest,
        memory,
        evolution,
        reading,
        rows,
        swaps,
        http,
        observed,
        tenants,
        overload,
        projections,
    })
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| file.display().to_string())
}

/// Builds the component of an example guest.
async fn built(name: &str, progress: &impl Fn(&str)) -> Result<Vec<u8>> {
    progress(&format!("building the guest {name}"));
    let dir = quipu_guest_build::example(name)?;
    Ok(tokio::task::spawn_blocking(move || quipu_guest_build::component(&dir)).await??)
}

/// Measures commands, and bare appends for comparison.
async fn rows(
    options: &Options,
    loads: &[Load],
    component: &[u8],
    progress: &impl Fn(&str),
) -> Result<Vec<report::Row>> {
    let mut rows = Vec::new();
    let guests = Guests::only(component);
    for (kind, ids) in loads.iter().filter_map(|load| load.parts()) {
        for &in_flight in &options.in_flight {
            progress(&format!("{kind}, {ids}, {in_flight} in flight"));
            let duration = Duration::from_secs(options.seconds);
            let bare = host::bare(options, component, ids, in_flight, duration).await?;
            let whole = host::whole(options, &guests, kind, ids, in_flight, duration).await?;
            rows.push(report::Row {
                kind,
                ids,
                in_flight,
                bare,
                whole,
            });
        }
    }
    Ok(rows)
}
