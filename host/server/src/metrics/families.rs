//! All series, by what they are about. Their names, types and labels are a promise: see
//! `tests/golden/metrics.txt`.

use std::collections::BTreeMap;

use super::host;
use super::page::Kind::{Counter, Gauge, Histogram};
use super::page::Page;
use super::process::Process;
use super::sample::Sample;
use crate::App;
use crate::tenants::Tenancy;
use quipu::app::{STORE_READER, STORE_WRITER, SubscriptionLag};
use quipu::meters::{Outcome, Phase};
use quipu::projection::Lag;
use quipu::runtime::{FaultKind, Module};
use quipu::store::Job;

/// Most series of one family with a label whose values are chosen by users.
const NAMES_MAX: usize = 100;
const MICROS_PER_SECOND: f64 = 1e6;

/// The page with all series.
pub fn text(app: &App, sample: &Sample, process: &Process) -> String {
    let mut page = Page::default();
    build(&mut page);
    // A tenant must not see how busy others are.
    if !matches!(app.tenancy, Tenancy::Tenant) {
        host::process(&mut page, process);
        host::requests(&mut page, &app.meters.requests);
    }
    commands(&mut page, app);
    mismatches(&mut page, app);
    commits(&mut page, app);
    guests(&mut page, app);
    streams(&mut page, app);
    changes(&mut page, app);
    jobs(&mut page, sample);
    callers(&mut page, app);
    store(&mut page, sample);
    projections(&mut page, sample);
    subscriptions(&mut page, app, sample);
    page.into_text()
}

fn build(page: &mut Page) {
    page.family(Gauge, "quipu_build_info", "The version of the host.")
        .series(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

fn commands(page: &mut Page, app: &App) {
    let meters = app.host.meters();
    let mut family = page.family(
        Counter,
        "quipu_commands_total",
        "Commands by their outcome.",
    );
    meters.commands.each(|category, counts| {
        for outcome in Outcome::ALL {
            let count = counts[*outcome as usize].get();
            let labels = [("category", category), ("outcome", outcome.as_str())];
            family.series(&labels, count as f64);
        }
    });
    page.family(
        Histogram,
        "quipu_command_duration_seconds",
        "Time from a command to its answer.",
    )
    .histogram(&[], &meters.command_times);
    let mut family = page.family(
        Histogram,
        "quipu_command_phase_seconds",
        "Time of the phases of commands.",
    );
    for phase in Phase::ALL {
        family.histogram(&[("phase", phase.as_str())], meters.phase_times(*phase));
    }
    page.family(
        Counter,
        "quipu_conflicts_retried_total",
        "Commands that were re-decided because others wrote to their stream.",
    )
    .series(&[], meters.retries.get() as f64);
    page.family(
        Gauge,
        "quipu_commands_in_flight",
        "Commands and appends in flight.",
    )
    .series(&[], app.host.in_flight() as f64);
}

fn commits(page: &mut Page, app: &App) {
    let meters = app.host.meters();
    page.family(
        Histogram,
        "quipu_commit_batch_items",
        "Items in each commit.",
    )
    .histogram(&[], &meters.batch_items);
    page.family(
        Histogram,
        "quipu_commit_duration_seconds",
        "Time of commits.",
    )
    .histogram(&[], &meters.commit_times);
    page.family(
        Gauge,
        "quipu_commit_queue_items",
        "Items that wait for their commit, with those that are being committed.",
    )
    .series(&[], app.host.waiting_for_commit() as f64);
    page.family(
        Counter,
        "quipu_commit_failures_total",
        "Commits that the store refused as a whole.",
    )
    .series(&[], meters.commit_failures.get() as f64);
    let mut family = page.family(
        Counter,
        "quipu_store_errors_total",
        "Commits that the store refused as a whole, by the kind of its error.",
    );
    for (kind, count) in meters.store_errors() {
        family.series(&[("kind", kind)], count as f64);
    }
    let mut family = page.family(
        Counter,
        "quipu_events_appended_total",
        "Events that this host appended.",
    );
    meters.events.each(|category, count| {
        family.series(&[("category", category)], count.get() as f64);
    });
}

fn guests(page: &mut Page, app: &App) {
    let plan = app.host.plan();
    // By name and digest, each once.
    let mut modules: BTreeMap<(&str, String), &Module> = BTreeMap::new();
    for module in plan.modules().take(NAMES_MAX) {
        let name = module.manifest().name.as_str();
        modules.insert((name, module.digest().short()), module);
    }
    let mut each = |kind, name, help, value: fn(&Module) -> f64| {
        let mut family = page.family(kind, name, help);
        for ((name, digest), module) in &modules {
            family.series(&[("module", name), ("digest", digest)], value(module));
        }
    };
    each(
        Counter,
        "quipu_guest_fuel_total",
        "Fuel that active modules used.",
        |module| module.usage().fuel() as f64,
    );
    each(
        Gauge,
        "quipu_guest_memory_bytes",
        "Linear memory of the instances of active modules.",
        |module| module.usage().memory_bytes() as f64,
    );
    each(
        Gauge,
        "quipu_module_compile_seconds",
        "Time in which an active module was compiled or read from the cache.",
        |module| module.usage().compiled_in().as_secs_f64(),
    );
    let mut family = page.family(
        Counter,
        "quipu_guest_faults_total",
        "Faults of active modules.",
    );
    for ((name, digest), module) in &modules {
        for kind in FaultKind::ALL {
            let labels = [
                ("module", *name),
                ("digest", digest),
                ("kind", kind.as_str()),
            ];
            family.series(&labels, module.usage().faults(kind) as f64);
        }
    }
}

fn streams(page: &mut Page, app: &App) {
    let meters = app.host.meters();
    let (aggregates, bytes) = app.host.warm();
    page.family(Gauge, "quipu_aggregates_warm", "Aggregates in memory.")
        .series(&[], aggregates as f64);
    page.family(
        Gauge,
        "quipu_aggregates_warm_bytes",
        "Guest memory of the instances with aggregates.",
    )
    .series(&[], bytes as f64);
    page.family(
        Counter,
        "quipu_loads_total",
        "Streams that were loaded to decide a command.",
    )
    .series(
        &[("from", "snapshot")],
        meters.loads_from_snapshot.get() as f64,
    )
    .series(&[("from", "events")], meters.loads_from_events.get() as f64);
    page.family(
        Histogram,
        "quipu_load_events",
        "Events that were folded to load a stream.",
    )
    .histogram(&[], &meters.load_events);
    let snapshots = app.host.snapshot_counts();
    let mut family = page.family(
        Counter,
        "quipu_snapshots_total",
        "Snapshots that were taken, or could not be.",
    );
    family.series(&[("result", "taken")], snapshots.taken as f64);
    family.series(&[("result", "failed")], snapshots.failed as f64);
    let mut family = page.family(
        Counter,
        "quipu_snapshots_ignored_total",
        "Snapshots that were not used.",
    );
    for (reason, count) in snapshots.ignored {
        family.series(&[("reason", reason)], count as f64);
    }
}

/// Only types that active deciders declare have a schema, so the number of series is bounded.
fn mismatches(page: &mut Page, app: &App) {
    let mut family = page.family(
        Counter,
        "quipu_command_schema_mismatches_total",
        "Commands whose data do not match the JSON Schema of their type, where that is checked.",
    );
    for mismatches in app.host.schema_mismatches() {
        let labels = [
            ("category", mismatches.category.as_str()),
            ("command", mismatches.command.as_str()),
        ];
        family.series(&labels, mismatches.count as f64);
    }
}

fn changes(page: &mut Page, app: &App) {
    let meters = app.host.meters();
    page.family(Gauge, "quipu_plan_number", "Number of the active plan.")
        .series(&[], app.host.plan().number as f64);
    for (name, help, label, tally) in [
        (
            "quipu_activations_total",
            "Activations at this host.",
            "result",
            &meters.activations,
        ),
        (
            "quipu_preflights_total",
            "Preflights at this host.",
            "result",
            &meters.preflights,
        ),
        (
            "quipu_preflight_objections_total",
            "Objections of preflights at this host.",
            "kind",
            &meters.objections,
        ),
    ] {
        let mut family = page.family(Counter, name, help);
        for (value, count) in tally.read() {
            family.series(&[(label, value)], count as f64);
        }
    }
}

/// When the store was last backed up and verified.
fn jobs(page: &mut Page, sample: &Sample) {
    let last = sample.figures.as_ref().map(|figures| figures.last_jobs);
    let last = last.unwrap_or_default();
    let mut family = page.family(
        Gauge,
        "quipu_backup_last_success_timestamp_seconds",
        "When the last backup was begun that was reported.",
    );
    for job in [Job::Backup, Job::Ship] {
        if let Some(at) = last.of(job) {
            family.series(&[("kind", job.as_str())], at.0 as f64 / MICROS_PER_SECOND);
        }
    }
    let mut family = page.family(
        Gauge,
        "quipu_verify_last_success_timestamp_seconds",
        "When a run of verify over the whole history was last begun that had no finding.",
    );
    if let Some(at) = last.verify {
        family.series(&[], at.0 as f64 / MICROS_PER_SECOND);
    }
}

fn callers(page: &mut Page, app: &App) {
    let mut family = page.family(
        Counter,
        "quipu_auth_failures_total",
        "Requests whose caller was not known.",
    );
    for (reason, count) in app.meters.failed_logins() {
        family.series(&[("reason", reason)], count as f64);
    }
    let mut family = page.family(
        Counter,
        "quipu_denied_total",
        "Requests that their caller may not send.",
    );
    for (action, count) in app.meters.denials() {
        family.series(&[("action", action)], count as f64);
    }
    page.family(
        Counter,
        "quipu_rate_limited_total",
        "Requests that were refused because their caller reached a limit.",
    )
    .series(&[], app.meters.rate_limited.get() as f64);
    let mut family = page.family(
        Gauge,
        "quipu_certificate_expiry_timestamp_seconds",
        "When the certificate of the host expires.",
    );
    let tls = app.options.tls.as_ref();
    if let Some(at) = tls.and_then(|tls| tls.expires_s()) {
        family.series(&[], at as f64);
    }
}

fn store(page: &mut Page, sample: &Sample) {
    let mut family = page.family(
        Gauge,
        "quipu_ready",
        "Whether the store can be written and read, and all parts of the host work.",
    );
    if let Some(readiness) = &sample.readiness {
        let mut works = [(STORE_WRITER, true), (STORE_READER, true), ("parts", true)];
        for check in readiness.checks.iter().filter(|it| it.fault.is_some()) {
            let is_of = |(name, _): &&mut (&str, bool)| *name == check.name;
            match works.iter_mut().find(is_of) {
                Some(of_store) => of_store.1 = false,
                None => works[2].1 = false,
            }
        }
        for (check, works) in works {
            family.series(&[("check", check)], f64::from(u8::from(works)));
        }
    }
    page.family(
        Gauge,
        "quipu_store_figures_age_seconds",
        "Age of the figures that are read from the store.",
    )
    .series(&[], sample.since.elapsed().as_secs_f64());
    let figures = sample.figures.as_deref();
    let mut family = page.family(Gauge, "quipu_store_size_bytes", "Size of the store.");
    if let Some(bytes) = figures.and_then(|figures| figures.store_bytes) {
        family.series(&[], bytes as f64);
    }
    let mut family = page.family(
        Gauge,
        "quipu_store_lost_positions",
        "Positions with acknowledged events that the store does not have any more.",
    );
    if let Some(figures) = figures {
        let lost = figures.lost.map_or(0, |lost| lost.positions());
        family.series(&[], lost as f64);
    }
    let mut family = page.family(
        Gauge,
        "quipu_log_position",
        "Position up to which the log can be read.",
    );
    if let Some(figures) = figures {
        family.series(&[], figures.log_head.0 as f64);
    }
}

fn projections(page: &mut Page, sample: &Sample) {
    let mut lags: Vec<&Lag> = match &sample.figures {
        Some(figures) => figures.projections.iter().collect(),
        None => Vec::new(),
    };
    // Where there are too many, first builds and those with the largest lag are shown.
    lags.sort_by_key(|one| std::cmp::Reverse((one.age.is_none(), one.age)));
    lags.truncate(NAMES_MAX);
    lags.sort_by(|one, other| one.name.cmp(&other.name));
    let mut each = |name, help, value: fn(&Lag) -> Option<f64>| {
        let mut family = page.family(Gauge, name, help);
        for lag in &lags {
            if let Some(value) = value(lag) {
                family.series(&[("projection", &lag.name)], value);
            }
        }
    };
    each(
        "quipu_projection_lag_events",
        "Positions of the log after the checkpoint of the active build.",
        |lag| Some(lag.events as f64),
    );
    each(
        "quipu_projection_lag_seconds",
        "Age of the oldest event that the active build has not folded; absent during a first build.",
        |lag| Some(lag.age?.as_secs_f64()),
    );
    each(
        "quipu_projection_parked_events",
        "Parked events of the active build.",
        |lag| Some(lag.parked as f64),
    );
    each(
        "quipu_projection_owned",
        "Whether a host owns the active build.",
        |lag| Some(f64::from(u8::from(lag.is_owned))),
    );
    each(
        "quipu_projection_paused",
        "Whether an operator paused the projection.",
        |lag| Some(f64::from(u8::from(lag.is_paused))),
    );
    each(
        "quipu_projection_failing",
        "Whether an error holds the active build up.",
        |lag| Some(f64::from(u8::from(lag.is_failing))),
    );
    each(
        "quipu_projection_rebuild_ratio",
        "The part of the log that a first build or a rebuild has folded.",
        |lag| lag.rebuilt,
    );
}

fn subscriptions(page: &mut Page, app: &App, sample: &Sample) {
    page.family(
        Gauge,
        "quipu_subscriptions",
        "Open subscriptions at this host.",
    )
    .series(&[], app.host.subscriptions() as f64);
    page.family(
        Counter,
        "quipu_subscribers_cut_total",
        "Subscriptions that were ended because their client did not read.",
    )
    .series(
        &[("reason", "late")],
        app.meters.subscribers_late.get() as f64,
    )
    .series(
        &[("reason", "closed")],
        app.meters.subscribers_closed.get() as f64,
    );
    let named = sample.figures.iter().flat_map(|it| &it.subscriptions);
    let lags: Vec<&SubscriptionLag> = named.take(NAMES_MAX).collect();
    let mut each = |name, help, value: fn(&SubscriptionLag) -> Option<f64>| {
        let mut family = page.family(Gauge, name, help);
        for lag in &lags {
            if let Some(value) = value(lag) {
                family.series(&[("subscription", &lag.name)], value);
            }
        }
    };
    each(
        "quipu_subscription_lag_events",
        "Positions of the log after the checkpoint of a named subscription.",
        |lag| Some(lag.events as f64),
    );
    each(
        "quipu_subscription_lag_seconds",
        "Age of the oldest event after the checkpoint of a named subscription.",
        |lag| Some(lag.age?.as_secs_f64()),
    );
    each(
        "quipu_subscription_held",
        "Whether a named subscription has an owner.",
        |lag| Some(f64::from(u8::from(lag.is_held))),
    );
}
