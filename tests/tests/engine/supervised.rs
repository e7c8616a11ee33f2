//! If any part of a host panics, it is restarted and the host continues; otherwise the host reports
//! that it has to end.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use quipu::Host;
use quipu::engine::{Options, Policies, Policy};
use quipu::model::{Command, Position};
use quipu::store::Filter;
use quipu::subscribe::{Message, Subscribe};
use quipu::supervise::{Part, PartState};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, loan_documents, on_every_store};
use serde_json::{Value, json};

on_every_store!(
    every_part_that_panics_is_restarted_and_nothing_is_lost,
    a_host_whose_committer_panics_reports_that_it_has_to_end,
);

const NOTES: &str = "notes";
const STREAMS: usize = 40;

fn notes() -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}))
}

async fn noting(place: &Place) -> Host {
    let options = Options {
        snapshots: Policies {
            others: Policy::Every(2),
            ..Policies::default()
        },
        ..Options::default()
    };
    let host = place.builder().engine(options).build().await.unwrap();
    let uploaded = host.upload(notes().component()).await.unwrap();
    host.activate(uploaded.module.digest(), None).await.unwrap();
    host
}

/// Records an event in a stream. While a part panics, the caller may have to retry.
async fn note(host: &Host, stream: usize) -> Result<Position, quipu::engine::Error> {
    let command = Command::new("note", json!([["noted", {"n": 1}]]).to_string()).unwrap();
    let stream = build::stream(&format!("note-{stream}"));
    let executed = host.execute(&stream, command).await?;
    Ok(executed.position.unwrap())
}

fn part(host: &Host, name: &str) -> Option<Part> {
    host.parts().into_iter().find(|part| part.name == name)
}

/// The names of all parts, without the numbers of builds and workers.
fn names(host: &Host) -> BTreeSet<String> {
    let parts = host.parts().into_iter();
    let names = parts.map(|part| {
        let name = part.name.trim_end_matches(|c: char| c.is_ascii_digit());
        name.trim_end().to_owned()
    });
    names.collect()
}

async fn every_part_that_panics_is_restarted_and_nothing_is_lost(place: Place) {
    let host = noting(&place).await;
    let mut subscription = host
        .subscribe(Subscribe::log(Position(0), Filter::default()))
        .await
        .unwrap();
    let (mut recorded, mut streams) = (BTreeSet::new(), 0..);
    recorded.insert(note(&host, 0).await.unwrap());
    loan_documents::fresh(&host, NOTES).await;
    let mut expected = BTreeSet::from([
        "committer",
        "feed of subscriptions",
        "follower of the plan",
        "keeper of projections",
        "loading of streams",
        "notifier of workers",
        "projection notes, build",
        "recorder of the audit",
        "rejections",
        "snapshots",
        "worker",
    ]);
    if place.url().starts_with("postgres") {
        expected.extend(["listener", "notifier of the log", "notifier of the plan"]);
    }
    if place.url().starts_with("sqlite") {
        expected.insert("keeper of the WAL");
    }
    let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(names(&host), expected, "each part is tried below");
    for Part { name, .. } in host.parts() {
        if name == "committer" {
            continue;
        }
        let before = part(&host, &name).map_or(0, |part| part.restarts);
        assert!(host.trip(&name), "{name}");
        // Commands continue meanwhile, in known and in new streams.
        let begun = std::time::Instant::now();
        loop {
            for stream in [streams.next().unwrap(), streams.start % STREAMS] {
                recorded.extend(note(&host, stream).await);
            }
            let now = part(&host, &name);
            let is_back = now
                .as_ref()
                .is_none_or(|now| now.state == PartState::Running && now.restarts > before);
            if is_back {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{name}: {now:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Now commands succeed in every stream.
        for stream in 0..STREAMS {
            recorded.insert(note(&host, stream).await.unwrap());
        }
        assert!(host.readiness(PATIENCE).await.is_ready());
    }
    assert!(host.failed().is_none());
    // The subscription misses no acknowledged event.
    let last = *recorded.last().unwrap();
    let mut seen = BTreeSet::new();
    while !seen.contains(&last) {
        if let Message::Event(event) = subscription.next().await.unwrap().unwrap() {
            seen.insert(event.position);
        }
    }
    assert!(recorded.is_subset(&seen));
    // Nor does the projection.
    let fresh = loan_documents::fresh(&host, NOTES).await;
    let view = host.view(NOTES, "note-0", fresh).await.unwrap();
    let document: Value = serde_json::from_str(&view.document).unwrap();
    let state = host.state(&build::stream("note-0")).await.unwrap();
    assert_eq!(document["count"], state.version.0);
    host.shutdown().await.unwrap();
}

async fn a_host_whose_committer_panics_reports_that_it_has_to_end(place: Place) {
    let host = noting(&place).await;
    let recorded = note(&host, 1).await.unwrap();
    assert!(host.readiness(PATIENCE).await.is_ready());
    assert!(host.trip("committer"));
    let failed = tokio::time::timeout(PATIENCE, host.until_failed()).await;
    let failed = failed.unwrap();
    assert_eq!(
        (&*failed.name, failed.state),
        ("committer", PartState::Failed)
    );
    let error = note(&host, 1).await.unwrap_err();
    assert_eq!(error.code(), "store-unavailable");
    let readiness = host.readiness(Duration::from_secs(1)).await;
    assert!(!readiness.is_ready(), "{readiness:?}");
    host.shutdown().await.unwrap_err();
    let mut opened = None;
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(host) = place.builder().build().await {
            opened = Some(host);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let host = opened.expect("the store was released");
    assert!(host.log_head().await.unwrap() >= recorded);
    note(&host, 1).await.unwrap();
    host.shutdown().await.unwrap();
}
