//! Semantics 7.1 and 7.5: when snapshots are taken, and that they never disturb commands.

use std::time::Duration;

use quipu::Host;
use quipu::engine::Policy;
use quipu::model::Version;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, engine, note, seen, thing, until};

on_every_store!(
    a_snapshot_is_taken_after_the_configured_number_of_events,
    no_snapshot_is_taken_while_the_policy_is_off,
    a_slow_load_leads_to_a_snapshot,
    a_snapshot_that_cannot_be_taken_fails_no_command,
    a_replayed_answer_takes_no_snapshot,
    a_snapshot_on_demand_reports_the_snapshots_before_it,
    a_category_without_a_policy_uses_the_default,
);

async fn fill(host: &Host, events: usize) {
    for number in 0..events {
        let command = note(&json!([["went", number]]));
        host.execute(&thing(), command).await.unwrap();
    }
}

async fn a_snapshot_is_taken_after_the_configured_number_of_events(place: Place) {
    let host = engine(&place, Policy::Every(5)).build().await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    fill(&host, 4).await;
    assert_eq!(host.snapshot_counts().taken, 0);
    fill(&host, 1).await;
    until("the first", || host.snapshot_counts().taken == 1).await;
    let found = host.check_snapshots("thing", 10).await.unwrap();
    assert_eq!(found[0].found.snapshot.version, Version(5));
    fill(&host, 4).await;
    assert_eq!(host.snapshot_counts().taken, 1);
    fill(&host, 1).await;
    until("the second", || host.snapshot_counts().taken == 2).await;
    let found = host.check_snapshots("thing", 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].found.snapshot.version, Version(10));
    assert_eq!(found[0].found.agreement, quipu::fold::Agreement::Agrees);
}

async fn no_snapshot_is_taken_while_the_policy_is_off(place: Place) {
    let host = engine(&place, Policy::Off).build().await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    fill(&host, 30).await;
    assert!(host.check_snapshots("thing", 10).await.unwrap().is_empty());
}

async fn a_slow_load_leads_to_a_snapshot(place: Place) {
    let host = engine(&place, Policy::SlowerThan(Duration::ZERO))
        .build()
        .await
        .unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    let events = (0..20).map(|_| build::event("went", "1")).collect();
    host.append(&thing(), build::foreign(events)).await.unwrap();
    fill(&host, 1).await;
    until("a snapshot", || host.snapshot_counts().taken == 1).await;
    let found = host.check_snapshots("thing", 10).await.unwrap();
    assert!(found[0].found.snapshot.version >= Version(20));
}

async fn a_snapshot_that_cannot_be_taken_fails_no_command(place: Place) {
    let host = engine(&place, Policy::Every(1)).build().await.unwrap();
    for does in ["none", "trap", "refuse", "as-it-is"] {
        let probe = probe("thing")
            .version(&format!("1.0.0-{does}"))
            .event("went", 1);
        deploy(&host, &probe.snapshots(does)).await;
        fill(&host, 6).await;
    }
    assert_eq!(seen(&host, &thing()).await.len(), 24);
    until("one that can be taken", || host.snapshot_counts().taken > 0).await;
}

async fn a_replayed_answer_takes_no_snapshot(place: Place) {
    let host = engine(&place, Policy::Off).build().await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    let command = || note(&json!([["went", 1]])).with_id("once").unwrap();
    host.execute(&thing(), command()).await.unwrap();
    host.shutdown().await.unwrap();
    // One event is too few for a snapshot. Only a second event would cause one.
    let host = engine(&place, Policy::Every(2)).build().await.unwrap();
    for _ in 0..5 {
        assert!(host.execute(&thing(), command()).await.unwrap().replayed);
    }
    assert!(host.check_snapshots("thing", 10).await.unwrap().is_empty());
}

async fn a_snapshot_on_demand_reports_the_snapshots_before_it(place: Place) {
    let host = engine(&place, Policy::Off).build().await.unwrap();
    assert_eq!(
        host.snapshot(&thing()).await.unwrap_err().code(),
        "unknown-category"
    );
    deploy(&host, &probe("thing").event("went", 1)).await;
    assert_eq!(
        host.snapshot(&thing()).await.unwrap_err().code(),
        "stream-not-found"
    );
    fill(&host, 9).await;
    let first = host.snapshot(&thing()).await.unwrap();
    assert_eq!((first.snapshot.version, first.found.len()), (Version(9), 0));
    fill(&host, 1).await;
    let second = host.snapshot(&thing()).await.unwrap();
    assert_eq!(second.snapshot.version, Version(10));
    assert_eq!(second.found[0].snapshot, first.snapshot);
    assert_eq!(second.found[0].agreement, quipu::fold::Agreement::Agrees);
    // A guest whose snapshots do not contain its state is detected before one is stored.
    deploy(
        &host,
        &probe("thing")
            .version("2.0.0")
            .event("went", 1)
            .snapshots("lie"),
    )
    .await;
    assert_eq!(
        host.snapshot(&thing()).await.unwrap_err().code(),
        "snapshot-refused"
    );
}

async fn a_category_without_a_policy_uses_the_default(place: Place) {
    let mut options = quipu::engine::Options::default();
    options.snapshots.others = Policy::Every(3);
    let named = &mut options.snapshots.by_category;
    named.insert("thing".to_owned(), Policy::Off);
    let host = place.builder().engine(options).build().await.unwrap();
    for category in ["thing", "other"] {
        deploy(&host, &probe(category).event("went", 1)).await;
        for number in 0..3 {
            let stream = build::stream(&format!("{category}-1"));
            host.execute(&stream, note(&json!([["went", number]])))
                .await
                .unwrap();
        }
    }
    until("one of the others", || host.snapshot_counts().taken == 1).await;
    assert!(host.check_snapshots("thing", 10).await.unwrap().is_empty());
}
