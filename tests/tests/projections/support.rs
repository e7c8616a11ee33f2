use std::collections::BTreeMap;
use std::time::Duration;

use quipu::app::Builder;
use quipu::deploy::ProjectionChanges;
use quipu::engine::Append;
use quipu::model::{Lifecycle, OnError, Position, SettingsChange};
use quipu::projection::{self, Action, BuildStatus, Freshness, Options, State, Status};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::Probe;
use quipu_tests::{PATIENCE, Place, build};
use serde_json::Value;

pub use quipu_tests::loan_documents::{build_of, documents};

/// The projection of most tests.
pub const NOTES: &str = "notes";

/// A host that waits only shortly for everything.
pub fn builder(place: &Place) -> Builder {
    place.builder().projections(quick())
}

pub async fn host(place: &Place) -> Host {
    builder(place).build().await.unwrap()
}

/// A host that gives inline folds more time, however busy the machine is.
pub async fn patient(place: &Place) -> Host {
    let options = Options {
        inline_time: Duration::from_secs(2),
        ..quick()
    };
    place.builder().projections(options).build().await.unwrap()
}

/// The options of a host that waits only shortly for everything.
pub fn quick() -> Options {
    Options {
        attempts: 2,
        retry: (Duration::from_millis(1), Duration::from_millis(5)),
        poll: Duration::from_millis(50),
        lease: Duration::from_secs(2),
        ..Options::default()
    }
}

/// The settings of a projection.
pub fn settings(lifecycle: Lifecycle, on_error: OnError) -> SettingsChange {
    SettingsChange {
        lifecycle: Some(lifecycle),
        on_error: Some(on_error),
    }
}

/// Deploys a probe, with settings for its projection [`NOTES`].
pub async fn deploy(host: &Host, probe: &Probe, change: SettingsChange) {
    let digest = host.upload(probe.component()).await.unwrap();
    let digest = digest.module.digest();
    let changes = BTreeMap::from([(NOTES.to_owned(), change)]);
    host.deploy(
        Deploy::new(digest)
            .preflight(Demand::Skip)
            .projections(ProjectionChanges {
                changes: changes.clone(),
                ..ProjectionChanges::default()
            }),
    )
    .await
    .unwrap();
}

/// The same, but a build that starts with it is held.
pub async fn deploy_held(host: &Host, probe: &Probe, change: SettingsChange) {
    let digest = host.upload(probe.component()).await.unwrap();
    let keeping = ProjectionChanges {
        changes: BTreeMap::from([(NOTES.to_owned(), change)]),
        hold: true,
        ..ProjectionChanges::default()
    };
    let digest = digest.module.digest();
    host.deploy(
        Deploy::new(digest)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
}

/// Appends an event of type `noted` with this body.
pub async fn note(host: &Host, stream: &str, body: &Value) -> Position {
    try_note(host, stream, body).await.unwrap()
}

pub async fn try_note(
    host: &Host,
    stream: &str,
    body: &Value,
) -> Result<Position, quipu::engine::Error> {
    let append = Append {
        events: vec![build::event("noted", &body.to_string())],
        into_owned_category: true,
        ..Append::default()
    };
    let appended = host.append(&build::stream(stream), append).await?;
    Ok(appended.events[0].position)
}

/// Reads that are fresh as of a position, however long that takes.
pub fn after(position: Position) -> Freshness {
    Freshness {
        after: position,
        wait: projection::WAIT_MAX,
    }
}

/// Reads that are fresh as of the log's end.
pub async fn now(host: &Host) -> Freshness {
    after(host.log_head().await.unwrap())
}

/// The whole log of a host, exported to a file.
pub async fn export(host: &Host) -> Vec<u8> {
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(part) = export.next().await.unwrap() {
        file.extend_from_slice(&part);
    }
    file
}

/// A document of [`NOTES`], as fresh as the log, or as fresh as possible where events are parked.
pub async fn document(host: &Host, key: &str) -> Value {
    let fresh = quipu_tests::loan_documents::fresh(host, NOTES).await;
    let view = host.view(NOTES, key, fresh).await.unwrap();
    serde_json::from_str(&view.document).unwrap()
}

/// The status of the active build of [`NOTES`].
pub async fn active(host: &Host) -> BuildStatus {
    build_of(&host.projection(NOTES).await.unwrap(), Role::Active).unwrap()
}

/// Whether the active build has the deployed version and matches the current plan, and no rebuild
/// is running.
pub fn is_settled(host: &Host, status: &Status) -> bool {
    let version = status.deployed.as_ref().map(|deployed| deployed.version);
    let wants_inline = status.settings.lifecycle == Lifecycle::Inline;
    let is_right = build_of(status, Role::Active).is_some_and(|build| {
        let is_there = match build.state {
            State::Inline => true,
            State::CaughtUp => !wants_inline || build.counts.parked > 0,
            _ => false,
        };
        is_there
            && build.stale.is_none()
            && Some(build.version) == version
            && build.plan == Some(host.plan().number)
    });
    is_right && build_of(status, Role::Next).is_none()
}

/// Waits until the status of [`NOTES`] satisfies this condition.
pub async fn until(host: &Host, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    let mut last = None;
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        match host.projection(NOTES).await {
            Ok(status) if is_so(&status) => return status,
            Ok(status) => last = Some(status),
            Err(projection::Error::NotFound(_)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}: {last:?}");
}

/// How many events those who append all the time may be ahead of a build that catches up.
const AHEAD_MAX: u64 = 500;

/// Waits while a build that catches up is too far from the end of the log. Who appends all the time
/// calls this, because on a slow machine a build would never reach the end otherwise.
pub async fn until_builds_are_near(host: &Host) {
    until(host, "near the end of the log", |status| {
        let mut builds = status.builds.iter();
        builds.all(|build| {
            build.state != State::CatchingUp || build.position.0 + AHEAD_MAX >= status.log_head.0
        })
    })
    .await;
}

/// Waits until the active build is in a state.
pub async fn until_state(host: &Host, state: State) -> BuildStatus {
    let status = until(host, state.as_str(), |status| {
        build_of(status, Role::Active).is_some_and(|build| build.state == state)
    });
    build_of(&status.await, Role::Active).unwrap()
}

/// Switches to a version whose keys differ on purpose. This looks like lost documents, so an
/// operator confirms it, unless it became active before any could be lost.
pub async fn switch_to(host: &Host, version: u32) {
    let is_active = |status: &Status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == version)
    };
    let begun = until(host, "begun", |status| {
        is_active(status) || build_of(status, Role::Next).is_some()
    });
    if !is_active(&begun.await) {
        match host.control_projection(NOTES, Action::Switch).await {
            Ok(_) | Err(projection::Error::Refused { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    until(host, "taken over", is_active).await;
}
