//! Semantics 5.6: streams that grow too long, and how snapshots help.

use std::collections::HashMap;

use quipu::Host;
use quipu::engine::{Error, Options, Policies, Policy};
use quipu::model::Version;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, note, seen, thing, until};

on_every_store!(
    a_snapshot_unblocks_a_stream_that_is_too_long,
    the_guard_counts_from_the_newest_usable_snapshot,
    automatic_snapshots_keep_a_long_stream_usable,
    the_events_of_a_stream_near_its_limit_are_counted_once,
    a_snapshot_by_another_host_unblocks_a_stream_too,
    a_snapshot_counts_for_a_short_stream_without_a_policy_after_a_restart,
);

async fn guarded(place: &Place, max: u64, others: Policy) -> Host {
    let options = Options {
        load_page: 7,
        stream_events_max: HashMap::from([("thing".to_owned(), max)]),
        snapshots: Policies {
            others,
            ..Policies::default()
        },
        ..Options::default()
    };
    place.builder().engine(options).build().await.unwrap()
}

async fn long(host: &Host, events: usize) {
    let events = (0..events).map(|_| build::event("went", "1")).collect();
    host.append(&thing(), build::append(events)).await.unwrap();
}

fn one() -> quipu::model::Command {
    note(&json!([["went", 1]]))
}

async fn a_snapshot_unblocks_a_stream_that_is_too_long(place: Place) {
    let host = guarded(&place, 20, Policy::Off).await;
    long(&host, 30).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    for _ in 0..2 {
        let error = host.execute(&thing(), one()).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLong {
                    events: 30,
                    max: 20,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("take a snapshot"), "{error}");
    }
    host.snapshot(&thing()).await.unwrap();
    let answer = host.execute(&thing(), one()).await.unwrap();
    assert_eq!(answer.version, Version(31));
    assert_eq!(seen(&host, &thing()).await.len(), 31);
}

async fn the_guard_counts_from_the_newest_usable_snapshot(place: Place) {
    let host = guarded(&place, 5, Policy::Off).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    for _ in 0..6 {
        host.execute(&thing(), one()).await.unwrap();
    }
    assert_eq!(
        host.execute(&thing(), one()).await.unwrap_err().code(),
        "stream-too-long"
    );
    host.snapshot(&thing()).await.unwrap();
    for _ in 0..6 {
        host.execute(&thing(), one()).await.unwrap();
    }
    let error = host.execute(&thing(), one()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLong {
                events: 6,
                max: 5,
                ..
            }
        ),
        "{error}"
    );
    // Rules that cannot use the snapshot count from the first event.
    host.snapshot(&thing()).await.unwrap();
    host.execute(&thing(), one()).await.unwrap();
    let other =
        probe("thing")
            .version("2.0.0")
            .event("went", 2)
            .step("thing", ("went", 1), &[("went", 2)]);
    deploy(&host, &other).await;
    let error = host.execute(&thing(), one()).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLong { events: 13, .. }),
        "{error}"
    );
}

async fn automatic_snapshots_keep_a_long_stream_usable(place: Place) {
    let host = guarded(&place, 40, Policy::Every(10)).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    for _ in 0..150 {
        // Snapshots are taken in the background, so commands may be faster.
        while let Err(error) = host.execute(&thing(), one()).await {
            assert_eq!(error.code(), "stream-too-long");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(seen(&host, &thing()).await.len(), 150);
}

async fn the_events_of_a_stream_near_its_limit_are_counted_once(place: Place) {
    let host = guarded(&place, 20, Policy::Off).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    for number in 1..=20 {
        host.execute(&thing(), one()).await.unwrap();
        assert_eq!(
            host.snapshot_counts().near_length,
            u64::from(number >= 18),
            "{number}"
        );
    }
}

async fn a_snapshot_by_another_host_unblocks_a_stream_too(place: Place) {
    if place.url().starts_with("sqlite:") {
        // This store has one host at a time. The next host finds the snapshot of this one.
        let host = guarded(&place, 100, Policy::Off).await;
        long(&host, 30).await;
        deploy(&host, &probe("thing").event("went", 1)).await;
        host.snapshot(&thing()).await.unwrap();
        host.shutdown().await.unwrap();
        let host = guarded(&place, 20, Policy::Off).await;
        host.execute(&thing(), one()).await.unwrap();
        return;
    }
    let host = guarded(&place, 20, Policy::Off).await;
    let other = guarded(&place, 20, Policy::Off).await;
    long(&host, 30).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    assert_eq!(
        host.execute(&thing(), one()).await.unwrap_err().code(),
        "stream-too-long"
    );
    // The other host may learn of the plan a moment later.
    until("the plan", || other.plan().number > 0).await;
    other.snapshot(&thing()).await.unwrap();
    host.execute(&thing(), one()).await.unwrap();
}

/// All of the stream's events are on the first page, so that no snapshot is needed to load it.
async fn a_snapshot_counts_for_a_short_stream_without_a_policy_after_a_restart(place: Place) {
    let host = guarded(&place, 4, Policy::Off).await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    for events in 0..6 {
        if events == 3 {
            host.snapshot(&thing()).await.unwrap();
        }
        host.execute(&thing(), one()).await.unwrap();
    }
    host.shutdown().await.unwrap();
    let host = guarded(&place, 4, Policy::Off).await;
    for _ in 0..2 {
        host.execute(&thing(), one()).await.unwrap();
    }
    let error = host.execute(&thing(), one()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLong {
                events: 5,
                max: 4,
                ..
            }
        ),
        "{error}"
    );
}
