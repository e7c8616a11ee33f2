use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::exit::WrongUse;
use super::policies::Policies;
use quipu::model::{Invalid, PublicKey, check_metadata};
use quipu::{engine, projection, runtime, subscribe};
use quipu_server as http;

/// The file of `quipu serve --config`: TOML. Unknown keys are rejected; a command-line flag takes
/// precedence over the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// As `--store`.
    pub store: Option<String>,
    /// As `--listen`.
    pub listen: Option<String>,
    /// As `--modules`.
    pub modules: Option<PathBuf>,
    /// Where compiled components are stored.
    pub cache_dir: Option<PathBuf>,
    /// Public keys: the host accepts only modules that one of them has signed. `quipu key` makes
    /// one.
    pub keys: Vec<String>,
    /// Added to the metadata of every command and raw append, after the caller's members and never
    /// replacing them.
    metadata: BTreeMap<String, String>,
    engine: Engine,
    limits: Limits,
    guests: Guests,
    http: Http,
    subscriptions: Subscriptions,
    projections: Projections,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Engine {
    workers: Option<usize>,
    in_flight_max: Option<usize>,
    deadline_ms: Option<u64>,
    warm_aggregates_max: Option<usize>,
    warm_bytes_max: Option<usize>,
    /// Number of rejections stored for each category; 0 stores none.
    rejections_max: Option<usize>,
    /// Decide everything twice, in instances that share nothing.
    check_purity: Option<bool>,
    /// Policies by category.
    stream_events_max: Option<HashMap<String, u64>>,
    snapshots: Policies,
}

/// Limits of one append, decided or raw.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    events_max: Option<usize>,
    event_bytes_max: Option<usize>,
    append_bytes_max: Option<usize>,
    metadata_bytes_max: Option<usize>,
    type_bytes_max: Option<usize>,
    tags_max: Option<usize>,
    tag_bytes_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Guests {
    fuel_per_call: Option<u64>,
    deadline_ms: Option<u64>,
    memory_bytes_max: Option<usize>,
    output_bytes_max: Option<usize>,
    component_bytes_max: Option<usize>,
    /// Maximum address space for compiling one component.
    compile_memory_bytes_max: Option<u64>,
    /// Maximum time for compiling one component.
    compile_time_max_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    body_bytes_max: Option<usize>,
    line_bytes_max: Option<usize>,
    lines_in_flight_max: Option<usize>,
    request_time_max_ms: Option<u64>,
    slow_reader_max_ms: Option<u64>,
    /// Maximum number of open connections.
    connections_max: Option<usize>,
    /// Maximum number of requests in flight of one HTTP/2 connection.
    connection_requests_max: Option<u32>,
    /// Time limit for a request's line and headers.
    head_time_max_ms: Option<u64>,
    /// Time limit for a connection without a request in flight.
    idle_max_ms: Option<u64>,
    /// Time limit for 16 KiB of a body, or its rest.
    body_wait_max_ms: Option<u64>,
    /// Time limit for the next line of NDJSON.
    lines_wait_max_ms: Option<u64>,
    /// Bytes in memory of all bodies.
    bodies_bytes_max: Option<usize>,
    /// Bytes in memory of all answers with pages.
    answers_bytes_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Subscriptions {
    max: Option<usize>,
    /// Newest events in memory that all subscriptions share.
    ring_events_max: Option<usize>,
    ring_bytes_max: Option<usize>,
    /// Bytes in memory of all subscriptions while they catch up.
    catch_up_bytes_max: Option<usize>,
    heartbeat_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Projections {
    /// Lease of a build: how long a host owns it without renewing.
    lease_ms: Option<u64>,
    /// Documents in memory for each build.
    cache_bytes: Option<usize>,
    /// Attempts for an event that can't be folded before the policy applies.
    attempts: Option<u32>,
    /// The initial pause between two attempts.
    retry_first_ms: Option<u64>,
    /// The maximum pause between two attempts.
    retry_max_ms: Option<u64>,
    /// Maximum number of parked events of one build.
    parked_max: Option<usize>,
    /// Number of pages that are folded at the same time.
    folding_max: Option<usize>,
    /// Threads that fold one page of a build that lags.
    threads: Option<usize>,
    /// Time that each inline projection may use for a batch of appends.
    inline_ms: Option<u64>,
    /// Failed appends in a row after which an inline projection counts as failing.
    failing_after: Option<u32>,
    /// Time limit for the comparison before a rebuild takes over.
    comparison_ms: Option<u64>,
    verify_bytes: Option<usize>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// A time in milliseconds.
const TIME: (u64, u64) = (1, DAY_MS);
/// A number of at least one.
const SOME: (u64, u64) = (1, u64::MAX);
/// Threads, or other things that keep a thread busy.
const THREADS: (u64, u64) = (1, 1_024);
/// A number of things that each use a little memory.
const MANY: (u64, u64) = (1, 1_000_000);

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let wrong = |why: String| WrongUse(format!("{}: {why}", path.display()));
        let config: Self = toml::from_str(&text).map_err(|error| wrong(shown(&text, &error)))?;
        config.check_metadata().map_err(wrong)?;
        config.check_numbers().map_err(wrong)?;
        Ok(config)
    }

    /// Rejects numbers with which the host could not work.
    fn check_numbers(&self) -> Result<(), String> {
        let (engine, limits, guests) = (&self.engine, &self.limits, &self.guests);
        let (http, projections) = (&self.http, &self.projections);
        let subscriptions = &self.subscriptions;
        let count = |count: Option<usize>| count.map(|count| count as u64);
        let small = |count: Option<u32>| count.map(u64::from);
        // Each of them must fit, whatever else there is.
        let bodies = (self.http().bodies_bytes_least() as u64, u64::MAX);
        for (key, given, (least, most)) in [
            ("engine.workers", count(engine.workers), THREADS),
            ("engine.in_flight_max", count(engine.in_flight_max), MANY),
            ("engine.deadline_ms", engine.deadline_ms, TIME),
            (
                "engine.warm_aggregates_max",
                count(engine.warm_aggregates_max),
                SOME,
            ),
            ("engine.warm_bytes_max", count(engine.warm_bytes_max), SOME),
            ("limits.events_max", count(limits.events_max), SOME),
            (
                "limits.event_bytes_max",
                count(limits.event_bytes_max),
                SOME,
            ),
            (
                "limits.append_bytes_max",
                count(limits.append_bytes_max),
                SOME,
            ),
            ("limits.type_bytes_max", count(limits.type_bytes_max), SOME),
            ("guests.fuel_per_call", guests.fuel_per_call, SOME),
            ("guests.deadline_ms", guests.deadline_ms, TIME),
            (
                "guests.memory_bytes_max",
                count(guests.memory_bytes_max),
                (1 << 16, 4 << 30),
            ),
            (
                "guests.output_bytes_max",
                count(guests.output_bytes_max),
                SOME,
            ),
            (
                "guests.component_bytes_max",
                count(guests.component_bytes_max),
                SOME,
            ),
            (
                "guests.compile_memory_bytes_max",
                guests.compile_memory_bytes_max,
                (256 << 20, u64::MAX),
            ),
            (
                "guests.compile_time_max_ms",
                guests.compile_time_max_ms,
                (1_000, DAY_MS),
            ),
            ("http.body_bytes_max", count(http.body_bytes_max), SOME),
            ("http.line_bytes_max", count(http.line_bytes_max), SOME),
            (
                "http.lines_in_flight_max",
                count(http.lines_in_flight_max),
                SOME,
            ),
            ("http.request_time_max_ms", http.request_time_max_ms, TIME),
            ("http.slow_reader_max_ms", http.slow_reader_max_ms, TIME),
            ("http.connections_max", count(http.connections_max), MANY),
            (
                "http.connection_requests_max",
                small(http.connection_requests_max),
                (1, 10_000),
            ),
            ("http.head_time_max_ms", http.head_time_max_ms, TIME),
            ("http.idle_max_ms", http.idle_max_ms, TIME),
            ("http.body_wait_max_ms", http.body_wait_max_ms, TIME),
            ("http.lines_wait_max_ms", http.lines_wait_max_ms, TIME),
            (
                "http.bodies_bytes_max",
                count(http.bodies_bytes_max),
                bodies,
            ),
            (
                "http.answers_bytes_max",
                count(http.answers_bytes_max),
                (64 << 20, u64::MAX),
            ),
            ("subscriptions.max", count(subscriptions.max), SOME),
            (
                "subscriptions.ring_events_max",
                count(subscriptions.ring_events_max),
                SOME,
            ),
            (
                "subscriptions.ring_bytes_max",
                count(subscriptions.ring_bytes_max),
                SOME,
            ),
            (
                "subscriptions.catch_up_bytes_max",
                count(subscriptions.catch_up_bytes_max),
                SOME,
            ),
            (
                "subscriptions.heartbeat_ms",
                subscriptions.heartbeat_ms,
                TIME,
            ),
            ("projections.lease_ms", projections.lease_ms, (100, DAY_MS)),
            (
                "projections.cache_bytes",
                count(projections.cache_bytes),
                SOME,
            ),
            ("projections.attempts", small(projections.attempts), SOME),
            (
                "projections.retry_first_ms",
                projections.retry_first_ms,
                TIME,
            ),
            ("projections.retry_max_ms", projections.retry_max_ms, TIME),
            (
                "projections.parked_max",
                count(projections.parked_max),
                SOME,
            ),
            (
                "projections.folding_max",
                count(projections.folding_max),
                THREADS,
            ),
            ("projections.threads", count(projections.threads), THREADS),
            ("projections.inline_ms", projections.inline_ms, TIME),
            (
                "projections.failing_after",
                small(projections.failing_after),
                SOME,
            ),
            ("projections.comparison_ms", projections.comparison_ms, TIME),
            (
                "projections.verify_bytes",
                count(projections.verify_bytes),
                SOME,
            ),
        ] {
            let Some(given) = given.filter(|given| !(least..=most).contains(given)) else {
                continue;
            };
            let allowed = match most {
                u64::MAX => format!("{least} or more"),
                most => format!("{least} to {most}"),
            };
            return Err(format!("{key} is {given}; it must be {allowed}"));
        }
        Ok(())
    }

    /// Rejects metadata with which the host would reject every request.
    fn check_metadata(&self) -> Result<(), String> {
        let json = serde_json::to_vec(&self.metadata).map_err(|error| error.to_string())?;
        check_metadata(&json).map_err(|error| error.to_string())?;
        let max = self.engine().limits.metadata_bytes_max;
        if json.len() > max {
            let found = json.len();
            return Err(format!("[metadata] takes {found} bytes, more than {max}"));
        }
        Ok(())
    }

    /// Which modules the host accepts.
    pub fn keys(&self) -> Result<Vec<PublicKey>, WrongUse> {
        let keys = self.keys.iter().map(|key| key.parse());
        let keys: Result<_, Invalid> = keys.collect();
        keys.map_err(|error| WrongUse(format!("keys: {error}")))
    }

    /// Metadata for every command and raw append.
    pub fn additions(&self) -> engine::Additions {
        engine::Additions {
            metadata: self.metadata.clone().into_iter().collect(),
            principal: None,
        }
    }

    /// How commands are executed.
    pub fn engine(&self) -> engine::Options {
        let mut options = engine::Options::default();
        let given = &self.engine;
        set(&mut options.workers, given.workers);
        set(&mut options.in_flight_max, given.in_flight_max);
        set(
            &mut options.deadline,
            given.deadline_ms.map(Duration::from_millis),
        );
        set(&mut options.warm_aggregates_max, given.warm_aggregates_max);
        set(&mut options.warm_bytes_max, given.warm_bytes_max);
        set(&mut options.check_purity, given.check_purity);
        set(&mut options.rejections_max, given.rejections_max);
        set(
            &mut options.stream_events_max,
            given.stream_events_max.clone(),
        );
        options.snapshots = given.snapshots.options();
        self.limits.apply(&mut options.limits);
        options
    }

    /// Limits of guests.
    pub fn guests(&self) -> runtime::Limits {
        let mut limits = runtime::Limits::default();
        let given = &self.guests;
        set(&mut limits.fuel_per_call, given.fuel_per_call);
        set(
            &mut limits.deadline,
            given.deadline_ms.map(Duration::from_millis),
        );
        set(&mut limits.memory_bytes_max, given.memory_bytes_max);
        set(&mut limits.output_bytes_max, given.output_bytes_max);
        set(&mut limits.component_bytes_max, given.component_bytes_max);
        self.limits.apply(&mut limits.decision);
        limits
    }

    /// The compiler of components: this program in a separate process.
    ///
    /// # Errors
    /// When the path of this program is unknown.
    pub fn compiler(&self) -> std::io::Result<runtime::Compiler> {
        let mut compiler = runtime::Compiler::new(std::env::current_exe()?);
        let given = &self.guests;
        set(
            &mut compiler.memory_bytes_max,
            given.compile_memory_bytes_max,
        );
        let time_max = given.compile_time_max_ms.map(Duration::from_millis);
        set(&mut compiler.time_max, time_max);
        Ok(compiler)
    }

    /// Limits of subscriptions.
    pub fn subscriptions(&self) -> subscribe::Options {
        let mut options = subscribe::Options::default();
        let given = &self.subscriptions;
        set(&mut options.subscriptions_max, given.max);
        set(&mut options.ring_events_max, given.ring_events_max);
        set(&mut options.ring_bytes_max, given.ring_bytes_max);
        set(&mut options.catch_up_bytes_max, given.catch_up_bytes_max);
        let heartbeat = given.heartbeat_ms.map(Duration::from_millis);
        set(&mut options.heartbeat, heartbeat);
        options
    }

    /// How projections are run.
    pub fn projections(&self) -> projection::Options {
        let mut options = projection::Options::default();
        let given = &self.projections;
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        set(&mut options.lease, time(given.lease_ms));
        set(&mut options.cache_bytes, given.cache_bytes);
        set(&mut options.attempts, given.attempts);
        set(&mut options.retry.0, time(given.retry_first_ms));
        set(&mut options.retry.1, time(given.retry_max_ms));
        set(&mut options.parked_max, given.parked_max);
        set(&mut options.folding_max, given.folding_max);
        set(&mut options.threads, given.threads);
        set(&mut options.inline_time, time(given.inline_ms));
        set(&mut options.failing_after, given.failing_after);
        set(&mut options.comparison_time, time(given.comparison_ms));
        set(&mut options.verify_bytes, given.verify_bytes);
        options
    }

    /// Limits of requests.
    pub fn http(&self) -> http::Options {
        let mut options = http::Options::default();
        let given = &self.http;
        set(&mut options.body_bytes_max, given.body_bytes_max);
        set(&mut options.line_bytes_max, given.line_bytes_max);
        set(&mut options.lines_in_flight_max, given.lines_in_flight_max);
        let time_max = given.request_time_max_ms.map(Duration::from_millis);
        set(&mut options.request_time_max, time_max);
        let slow_max = given.slow_reader_max_ms.map(Duration::from_millis);
        set(&mut options.slow_reader_max, slow_max);
        let component_max = self.guests.component_bytes_max;
        set(&mut options.module_bytes_max, component_max);
        set(&mut options.connections_max, given.connections_max);
        let requests_max = given.connection_requests_max;
        set(&mut options.connection_requests_max, requests_max);
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        set(&mut options.head_time_max, time(given.head_time_max_ms));
        set(&mut options.idle_max, time(given.idle_max_ms));
        set(&mut options.body_wait_max, time(given.body_wait_max_ms));
        set(&mut options.lines_wait_max, time(given.lines_wait_max_ms));
        let wider = options.bodies_bytes_least().max(options.bodies_bytes_max);
        options.bodies_bytes_max = given.bodies_bytes_max.unwrap_or(wider);
        set(&mut options.answers_bytes_max, given.answers_bytes_max);
        options
    }
}

impl Limits {
    fn apply(&self, limits: &mut quipu::model::AppendLimits) {
        set(&mut limits.events_max, self.events_max);
        set(&mut limits.event_bytes_max, self.event_bytes_max);
        set(&mut limits.append_bytes_max, self.append_bytes_max);
        set(&mut limits.metadata_bytes_max, self.metadata_bytes_max);
        set(&mut limits.type_bytes_max, self.type_bytes_max);
        set(&mut limits.tags_max, self.tags_max);
        set(&mut limits.tag_bytes_max, self.tag_bytes_max);
    }
}

/// An error with the lines that it is about; only the number of the line if they may contain the
/// address of a store.
fn shown(text: &str, error: &toml::de::Error) -> String {
    let shown = error.to_string();
    if !shown.contains("store =") && !shown.contains(['@', '?']) {
        return shown;
    }
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

#[cfg(test)]
mod tests;
