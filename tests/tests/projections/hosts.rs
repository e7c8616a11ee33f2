//! Several hosts on one store: one owner at a time, and nothing is counted twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use quipu::Host;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Change, State};
use quipu::store::Role;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, seed};
use rand::Rng;
use serde_json::{Value, json};

use super::child::{Projector, written};
use super::crash::{check, rebuild};
use super::support::{
    NOTES, after, build_of, builder, deploy, document, documents, host, note, patient, quick,
    settings, try_note, until, until_builds_are_near,
};

mod postgres {
    use quipu_tests::{Place, rule};

    rule!(
        an_owner_that_shuts_down_is_replaced_immediately,
        Place::postgres()
    );
    rule!(
        an_owner_that_is_killed_is_replaced_within_its_lease,
        Place::postgres()
    );
    rule!(
        an_owner_that_was_suspended_cannot_write_any_more,
        Place::postgres()
    );
    rule!(
        events_appended_by_one_host_are_in_the_documents_of_another,
        Place::postgres()
    );
    rule!(
        one_inline_document_of_two_hosts_counts_every_event,
        Place::postgres()
    );
    rule!(
        one_inline_document_of_four_hosts_counts_every_event,
        Place::postgres()
    );
    rule!(
        changing_the_lifecycle_fails_no_append_of_another_host,
        Place::postgres()
    );
    rule!(a_host_that_owns_no_build_reports_changes, Place::postgres());
}

const LEASE: Duration = Duration::from_secs(1);

fn notes(keys: &str) -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": keys}))
}

async fn an_owner_that_shuts_down_is_replaced_immediately(place: Place) {
    let options = quipu::projection::Options {
        lease: Duration::from_secs(600),
        ..quick()
    };
    let mut owner = builder(&place)
        .projections(options.clone())
        .build()
        .await
        .unwrap();
    deploy(
        &owner,
        &notes("stream"),
        settings(Lifecycle::Async, OnError::Stop),
    )
    .await;
    for round in 0..5 {
        let next = builder(&place).projections(options.clone()).build();
        let next = next.await.unwrap();
        for n in 0..20 {
            note(&owner, &format!("note-{n}"), &json!({"n": round})).await;
        }
        owner.shutdown().await.unwrap();
        owner = next;
    }
    check(&owner).await;
    owner.shutdown().await.unwrap();
}

/// An owner in a process of its own, and another host.
async fn with_owner(place: &Place) -> (Projector, Host) {
    let path = written(place, &notes("stream"));
    let orders = [format!("async={}", path.display()), "owned".to_owned()];
    let mut owner = Projector::start(place, LEASE, &orders);
    owner.until("owned");
    (owner, host(place).await)
}

async fn an_owner_that_is_killed_is_replaced_within_its_lease(place: Place) {
    let mut random = seed::random(seed::seeds(1)[0]);
    let rounds = if seed::is_long() { 20 } else { 3 };
    for _ in 0..rounds {
        let (owner, host) = with_owner(&place).await;
        let killed_at = random.random_range(1..100);
        let mut owner = Some(owner);
        for n in 0..100 {
            note(&host, &format!("note-{}", n % 7), &json!({"n": n})).await;
            if n == killed_at {
                owner.take().unwrap().kill();
            }
        }
        let begun_at = Instant::now();
        documents(&host, NOTES).await;
        let took = begun_at.elapsed();
        assert!(took < LEASE * 5, "another took over after {took:?}");
        check(&host).await;
        host.shutdown().await.unwrap();
    }
}

async fn an_owner_that_was_suspended_cannot_write_any_more(place: Place) {
    let mut random = seed::random(seed::seeds(1)[0]);
    let rounds = if seed::is_long() { 20 } else { 3 };
    for round in 0..rounds {
        let (owner, host) = with_owner(&place).await;
        let frozen_at = random.random_range(1..100);
        for n in 0..100 {
            note(&host, &format!("note-{}", n % 7), &json!({"n": n})).await;
            if n == frozen_at {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..3_000))).await;
                owner.freeze();
            }
        }
        // The other host continues, although the suspended one may hold a transaction.
        documents(&host, NOTES).await;
        let before = host.projection(NOTES).await.unwrap();
        owner.thaw();
        for n in 0..100 {
            note(&host, &format!("note-{}", n % 7), &json!({"n": n})).await;
        }
        let document = document(&host, "note-3").await;
        assert!(document["count"].as_u64().unwrap() > 0);
        let now = host.projection(NOTES).await.unwrap();
        assert!(
            now.builds[0].position > before.builds[0].position,
            "round {round}"
        );
        drop(owner);
        check(&host).await;
        host.shutdown().await.unwrap();
    }
}

async fn events_appended_by_one_host_are_in_the_documents_of_another(place: Place) {
    for lifecycle in [Lifecycle::Async, Lifecycle::Inline] {
        let place = place.another();
        let (one, other) = (patient(&place).await, patient(&place).await);
        deploy(&one, &notes("one"), settings(lifecycle, OnError::Stop)).await;
        note(&one, "note-1", &json!({"n": 1})).await;
        until(&other, "known there", |status| status.deployed.is_some()).await;
        for n in 2..=200 {
            let (writer, reader) = if n % 2 == 0 {
                (&one, &other)
            } else {
                (&other, &one)
            };
            let at = note(writer, &format!("note-{}", n % 5), &json!({"n": 1})).await;
            let view = reader.view(NOTES, "all", after(at)).await.unwrap();
            let document: Value = serde_json::from_str(&view.document).unwrap();
            assert_eq!(
                (&document["count"], &document["last"]),
                (&json!(n), &json!(at.0))
            );
        }
        one.shutdown().await.unwrap();
        other.shutdown().await.unwrap();
    }
}

/// This number of hosts append to the same few streams, all of which go into one document.
async fn feed_one_document(place: &Place, hosts: usize, each: u64) {
    let first = patient(place).await;
    deploy(
        &first,
        &notes("one"),
        settings(Lifecycle::Inline, OnError::Stop),
    )
    .await;
    let mut all = vec![first];
    for _ in 1..hosts {
        all.push(patient(place).await);
    }
    let lanes = all.iter().enumerate().flat_map(|(number, host)| {
        (0..4_u64).map(move |lane| {
            let host = host.clone();
            tokio::spawn(async move {
                for n in 0..each {
                    let stream = format!("note-{}", (n + lane) % 6);
                    let body = json!({"n": number as u64 * each + n});
                    note(&host, &stream, &body).await;
                }
            })
        })
    });
    for lane in join_all(lanes).await {
        lane.unwrap();
    }
    let hosts = hosts as u64;
    let sum: u64 = (0..hosts * each).sum::<u64>() * 4;
    let before = documents(&all[0], NOTES).await;
    let found = document(&all[0], "all").await;
    assert_eq!(
        (&found["count"], &found["sum"]),
        (&json!(hosts * each * 4), &json!(sum))
    );
    rebuild(&all[0]).await;
    assert_eq!(documents(&all[0], NOTES).await, before);
    for host in all {
        host.shutdown().await.unwrap();
    }
}

async fn one_inline_document_of_two_hosts_counts_every_event(place: Place) {
    feed_one_document(&place, 2, if seed::is_long() { 1_000 } else { 100 }).await;
}

async fn one_inline_document_of_four_hosts_counts_every_event(place: Place) {
    feed_one_document(&place, 4, if seed::is_long() { 500 } else { 50 }).await;
}

async fn changing_the_lifecycle_fails_no_append_of_another_host(place: Place) {
    let (one, other) = (patient(&place).await, patient(&place).await);
    let async_first = settings(Lifecycle::Async, OnError::Stop);
    deploy(&one, &notes("stream"), async_first).await;
    let stop = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> = [(&one, 'a'), (&other, 'b'), (&other, 'c')]
        .into_iter()
        .map(|(host, name)| {
            let (host, stop) = (host.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut appended = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let stream = format!("note-{name}{}", appended % 3);
                    let done = try_note(&host, &stream, &json!({"n": 1})).await;
                    done.unwrap_or_else(|error| panic!("append {appended} on {name}: {error}"));
                    appended += 1;
                    if appended.is_multiple_of(8) {
                        until_builds_are_near(&host).await;
                    }
                }
                appended
            })
        })
        .collect();
    for round in 0..4 {
        let host = [&one, &other][round % 2];
        deploy(
            host,
            &notes("stream"),
            settings(Lifecycle::Inline, OnError::Stop),
        )
        .await;
        until(host, "inline", |status| {
            status.builds[0].state == State::Inline
        })
        .await;
        if round % 2 == 0 {
            host.control_projection(NOTES, Action::Detach)
                .await
                .unwrap();
        } else {
            deploy(host, &notes("stream"), async_first).await;
        }
        rebuild(host).await;
    }
    stop.store(true, Ordering::Relaxed);
    let appended: u64 = join_all(lanes).await.into_iter().map(Result::unwrap).sum();
    assert!(appended > 50, "{appended}");
    check(&one).await;
    one.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

/// The documents that a client knows from following the changes on a host, when no more are to
/// come.
async fn followed(host: Host, until_count: u64) -> BTreeMap<String, String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut changes = host.changes(NOTES, None).await.unwrap();
    let count = |known: &BTreeMap<String, String>| -> u64 {
        let documents = known.values();
        documents
            .map(|document| {
                let document: Value = serde_json::from_str(document).unwrap();
                document["count"].as_u64().unwrap()
            })
            .sum()
    };
    while count(&known) < until_count {
        let next = tokio::time::timeout(PATIENCE, changes.next());
        let next = next
            .await
            .unwrap_or_else(|_| panic!("nothing more: {}", count(&known)));
        match next.unwrap().unwrap() {
            Change::Document {
                key,
                document: Some(document),
                ..
            } => {
                known.insert(key.to_string(), document.to_string());
            }
            Change::Document {
                key,
                document: None,
                ..
            } => _ = known.remove(&*key),
            Change::Switched { .. } => known.clear(),
            Change::Heartbeat(_) => {}
        }
    }
    known
}

async fn a_host_that_owns_no_build_reports_changes(place: Place) {
    for lifecycle in [Lifecycle::Async, Lifecycle::Inline] {
        let place = place.another();
        let (owner, other) = (patient(&place).await, patient(&place).await);
        deploy(&owner, &notes("stream"), settings(lifecycle, OnError::Stop)).await;
        note(&owner, "note-0", &json!({"n": 0})).await;
        until(&other, "known there", |status| {
            status.deployed.is_some() && build_of(status, Role::Active).is_some()
        })
        .await;
        let following = tokio::spawn(followed(other.clone(), 301));
        for n in 1..=300 {
            note(&owner, &format!("note-{}", n % 9), &json!({"n": n})).await;
            if n == 150 {
                rebuild(&owner).await;
            }
        }
        let known = following.await.unwrap();
        assert_eq!(known, documents(&owner, NOTES).await);
        owner.shutdown().await.unwrap();
        other.shutdown().await.unwrap();
    }
}
