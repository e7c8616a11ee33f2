//! Runs the projections of a store in a process of its own, in small transactions and under a short
//! lease, until it is killed or its standard input ends.
//!
//! `projector URL LEASE_MS ACTION...`: the actions on the projection `notes`, in order. Each prints
//! a line on standard output when it is done or refused.
//!
//! | action | effect |
//! | --- | --- |
//! | `async=PATH`, `inline=PATH` | activates the component with this lifecycle of the projection |
//! | `release=PATH,PATH` | activates the components in one plan |
//! | `rebuild`, `hold` | starts a rebuild, which switches by itself or waits for the operator |
//! | `switch`, `detach` | the same as the operator's actions |
//! | `owned`, `ready`, `inline` | waits until the build has an owner, the rebuild is ready, or the build is inline |
//! | `noting` | appends events from now on |

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use quipu::deploy::{ProjectionChanges, Release};
use quipu::engine::Append;
use quipu::model::{Lifecycle, SettingsChange};
use quipu::projection::{Action, Options, State};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};
use quipu_tests::{build, place};

const PROJECTION: &str = "notes";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, lease, orders @ ..] = &*arguments else {
        panic!("arguments: URL LEASE_MS ACTION...");
    };
    let host = Host::builder()
        .store(url.clone())
        .cache_dir(place::compiled())
        .projections(Options {
            lease: Duration::from_millis(lease.parse().unwrap()),
            page_events: 10,
            flush_events: 10,
            poll: Duration::from_millis(20),
            ..Options::default()
        })
        .build()
        .await
        .unwrap();
    std::thread::spawn(|| {
        _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    report("started");
    for order in orders {
        obey(&host, order).await;
        report(order);
    }
    std::future::pending().await
}

fn report(what: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{what}").unwrap();
    output.flush().unwrap();
}

async fn obey(host: &Host, order: &str) {
    let (name, path) = order.split_once('=').unwrap_or((order, ""));
    let wanted = match (name, path) {
        ("async", path) => return activate(host, path, Lifecycle::Async).await,
        ("inline", path) if !path.is_empty() => {
            return activate(host, path, Lifecycle::Inline).await;
        }
        ("release", paths) => return release(host, paths).await,
        ("noting", _) => {
            tokio::spawn(note(host.clone()));
            return;
        }
        ("owned" | "ready" | "inline", _) => return until(host, name).await,
        ("rebuild", _) => Action::Rebuild { hold: false },
        ("hold", _) => Action::Rebuild { hold: true },
        ("switch", _) => Action::Switch,
        ("detach", _) => Action::Detach,
        _ => panic!("what is {order}?"),
    };
    // An action given before a kill may be running, or done.
    if let Err(error) = host.control_projection(PROJECTION, wanted).await {
        eprintln!("{order}: {error}");
    }
}

async fn activate(host: &Host, path: &str, lifecycle: Lifecycle) {
    let component = std::fs::read(path).unwrap();
    let digest = host.upload(component).await.unwrap().module.digest();
    let change = SettingsChange {
        lifecycle: Some(lifecycle),
        on_error: None,
    };
    let changes = BTreeMap::from([(PROJECTION.to_owned(), change)]);
    // Its own turn of the plan may come between.
    if let Err(error) = host
        .deploy(
            Deploy::new(digest)
                .preflight(Demand::Skip)
                .projections(ProjectionChanges {
                    changes: changes.clone(),
                    ..ProjectionChanges::default()
                }),
        )
        .await
    {
        eprintln!("{lifecycle:?}: {error}");
    }
}

async fn release(host: &Host, paths: &str) {
    let mut release = Release::default();
    for path in paths.split(',') {
        let component = std::fs::read(path).unwrap();
        let uploaded = host.upload(component).await.unwrap();
        release.digests.push(uploaded.module.digest());
    }
    let keeping = ProjectionChanges::default();
    // Its own change of the plan may come between.
    if let Err(error) = host
        .deploy(
            Deploy::new(release)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
    {
        eprintln!("release: {error}");
    }
}

async fn until(host: &Host, what: &str) {
    loop {
        let status = host.projection(PROJECTION).await.unwrap();
        let mut builds = status.builds.iter();
        if builds.any(|build| match what {
            "owned" => build.is_owned,
            "ready" => build.state == State::Ready,
            _ => build.state == State::Inline,
        }) {
            return;
        }
        let has_next = status.builds.iter().any(|build| build.role == Role::Next);
        if what == "ready" && !has_next {
            // The rebuild switched before it received the action to hold.
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn note(host: Host) {
    for n in 0_u64.. {
        let append = Append {
            events: build::events(1),
            into_owned_category: true,
            ..Append::default()
        };
        let stream = build::stream(&format!("note-{}", n % 5));
        if let Err(error) = host.append(&stream, append).await {
            eprintln!("an append failed: {error}");
            std::process::exit(1);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
