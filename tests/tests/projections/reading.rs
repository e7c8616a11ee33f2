//! Semantics 9.7: reading documents by key, by index, with a required freshness, and as they
//! change.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use quipu::Host;
use quipu::model::{Lifecycle, OnError, Position};
use quipu::projection::{Action, Change, ChangePlace, Error, Freshness, OrderBy, Query};
use quipu::store::{BuildId, Role};
use quipu_tests::probe::probe;
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use super::support::{NOTES, build_of, deploy, host, note, now, settings, until};

on_every_store!(
    documents_are_found_by_ranges_and_equality,
    pages_never_skip_or_repeat_in_either_direction,
    several_conditions_hold_together,
    a_document_with_many_matching_values_is_returned_once,
    invalid_queries_are_refused_with_a_hint,
    a_read_that_is_not_fresh_in_time_reports_its_position,
    changes_are_reported_in_order_and_can_be_resumed,
    changes_of_large_documents_are_all_reported,
    many_readers_of_changes_that_stop_hold_up_no_other,
    a_reader_ahead_of_a_build_is_refused,
    followers_of_changes_are_notified_of_a_switch,
);

async fn filled(place: &Place) -> Host {
    let host = host(place).await;
    let other = json!({"keys": "body", "indexes": [
        {"name": "sum", "pointer": "/sum", "kind": "integer"},
        {"name": "status", "pointer": "/status", "kind": "text"},
        {"name": "list", "pointer": "/list", "kind": "number"},
    ]});
    let probe = probe("note").event("noted", 1).projection(NOTES, 1, other);
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 0..60 {
        let status = ["new", "old", "über"][n % 3];
        let sum = i64::try_from(n / 2).unwrap() - 10;
        let body = json!({"n": sum, "keys": [format!("k{n:02}")], "status": status, "list": n % 4});
        note(&host, &format!("note-{}", n % 5), &body).await;
    }
    host
}

/// The keys that a query finds, over all pages.
async fn found(host: &Host, conditions: &[&str], order: Option<&str>, limit: usize) -> Vec<String> {
    let mut query = query(conditions, order, limit);
    let (mut keys, fresh) = (Vec::new(), now(host).await);
    loop {
        let page = host.views(NOTES, &query, fresh).await.unwrap();
        assert!(page.documents.len() <= limit);
        keys.extend(page.documents.iter().map(|view| view.key.to_string()));
        match page.cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return keys,
        }
    }
}

fn query(conditions: &[&str], order: Option<&str>, limit: usize) -> Query {
    let order = order.map(|order| OrderBy {
        index: Some(order.trim_start_matches('-').to_owned()),
        is_descending: order.starts_with('-'),
    });
    Query {
        conditions: conditions.iter().map(|it| it.parse().unwrap()).collect(),
        order,
        limit,
        cursor: None,
    }
}

fn keys(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("k{n:02}")).collect()
}

async fn documents_are_found_by_ranges_and_equality(place: Place) {
    let host = filled(&place).await;
    assert_eq!(found(&host, &["sum=-10"], None, 100).await, keys([0, 1]));
    assert_eq!(found(&host, &["sum>=18"], None, 100).await, keys(56..60));
    assert_eq!(found(&host, &["sum<-8"], None, 100).await, keys(0..4));
    assert_eq!(
        found(&host, &["sum>-1", "sum<=0"], None, 100).await,
        keys([20, 21])
    );
    let old = keys((0..60).filter(|n| n % 3 == 1));
    assert_eq!(found(&host, &["status=old"], None, 100).await, old);
    let umlaut = keys((0..60).filter(|n| n % 3 == 2));
    assert_eq!(found(&host, &["status>old"], None, 100).await, umlaut);
    assert!(found(&host, &["status=none"], None, 100).await.is_empty());
    assert_eq!(found(&host, &[], None, 100).await, keys(0..60));
    host.shutdown().await.unwrap();
}

async fn pages_never_skip_or_repeat_in_either_direction(place: Place) {
    let host = filled(&place).await;
    for limit in [1, 2, 7, 59, 60, 61] {
        assert_eq!(found(&host, &[], Some("sum"), limit).await, keys(0..60));
        let mut backward = keys(0..60);
        backward.reverse();
        assert_eq!(found(&host, &[], Some("-sum"), limit).await, backward);
    }
    host.shutdown().await.unwrap();
}

async fn several_conditions_hold_together(place: Place) {
    let host = filled(&place).await;
    let wanted = keys((0..60).filter(|n| n % 3 == 0 && n / 2 >= 10));
    for limit in [1, 3, 100] {
        let conditions = ["status=new", "sum>=0"];
        assert_eq!(found(&host, &conditions, Some("sum"), limit).await, wanted);
        let mut backward = wanted.clone();
        backward.reverse();
        assert_eq!(
            found(&host, &conditions, Some("-sum"), limit).await,
            backward
        );
        let mut by_status = found(&host, &conditions, None, limit).await;
        by_status.sort();
        assert_eq!(by_status, wanted);
    }
    host.shutdown().await.unwrap();
}

async fn a_document_with_many_matching_values_is_returned_once(place: Place) {
    let host = filled(&place).await;
    for (conditions, wanted) in [
        (&["list>=1"][..], keys((0..60).filter(|n| n % 4 >= 2))),
        (&["list>=0"], keys((0..60).filter(|n| n % 4 >= 1))),
        (&["list=2"], keys((0..60).filter(|n| n % 4 == 3))),
    ] {
        for limit in [1, 5, 100] {
            for order in ["list", "-list"] {
                let mut keys = found(&host, conditions, Some(order), limit).await;
                keys.sort();
                assert_eq!(keys, wanted, "{conditions:?} {order} {limit}");
            }
        }
    }
    host.shutdown().await.unwrap();
}

async fn invalid_queries_are_refused_with_a_hint(place: Place) {
    let host = filled(&place).await;
    let fresh = Freshness::default();
    for (query, said) in [
        (query(&["amount=1"], None, 10), "it has sum, status, list"),
        (query(&["sum=many"], None, 10), "integer"),
        (query(&[], Some("amount"), 10), "no index"),
        (query(&[], None, 0), "from 1 to"),
        (query(&[], None, 1_001), "from 1 to"),
        (
            Query {
                cursor: Some("what?".to_owned()),
                ..query(&[], None, 10)
            },
            "cursor",
        ),
    ] {
        let refused = host.views(NOTES, &query, fresh).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    let missing = host.views("none", &query(&[], None, 10), fresh).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    host.shutdown().await.unwrap();
}

async fn a_read_that_is_not_fresh_in_time_reports_its_position(place: Place) {
    let host = filled(&place).await;
    let head = host.log_head().await.unwrap();
    host.view(NOTES, "k00", now(&host).await).await.unwrap();
    let wanted = Freshness {
        after: Position(head.0 + 100),
        wait: Duration::from_millis(50),
    };
    let stale = host.view(NOTES, "k00", wanted).await.unwrap_err();
    let Error::NotFresh {
        position, after, ..
    } = stale
    else {
        panic!("{stale:?}");
    };
    assert!(position >= head && after == wanted.after);
    host.shutdown().await.unwrap();
}

/// Follows until a document is reported, and returns all documents reported by then.
async fn follow(
    host: &Host,
    after: Option<ChangePlace>,
    until: &str,
) -> (BTreeMap<String, Value>, ChangePlace) {
    let mut changes = host.changes(NOTES, after).await.unwrap();
    let mut documents = BTreeMap::new();
    while let Some(change) = changes.next().await {
        if let Change::Document {
            key, document, at, ..
        } = change.unwrap()
        {
            let document = document.map_or(Value::Null, |it| serde_json::from_str(&it).unwrap());
            documents.insert(key.to_string(), document);
            if *key == *until {
                return (documents, at);
            }
        }
    }
    panic!("the changes ended");
}

async fn changes_are_reported_in_order_and_can_be_resumed(place: Place) {
    let host = filled(&place).await;
    let (documents, at) = follow(&host, None, "k59").await;
    assert_eq!(documents.len(), 60);
    note(&host, "note-1", &json!({"n": 1, "keys": ["k07"]})).await;
    note(&host, "note-1", &json!({"delete": true, "keys": ["k08"]})).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["k99"]})).await;
    let (documents, _) = follow(&host, Some(at), "k99").await;
    let keys: Vec<&String> = documents.keys().collect();
    assert_eq!(keys, ["k07", "k08", "k99"]);
    assert_eq!(documents["k08"], Value::Null);
    host.shutdown().await.unwrap();
}

/// More than one reader has in memory: the documents are read in parts, and only the last one of an
/// event has its place.
async fn changes_of_large_documents_are_all_reported(place: Place) {
    let host = filled(&place).await;
    let (_, at) = follow(&host, None, "k59").await;
    let keys: Vec<String> = (60..66).map(|n| format!("k{n}")).collect();
    let body = json!({"n": 1, "large": 100_000, "keys": keys});
    note(&host, "note-1", &body).await;
    let mut changes = host.changes(NOTES, Some(at)).await.unwrap();
    let mut found = Vec::new();
    while found.len() < keys.len() {
        if let Change::Document {
            key,
            document,
            is_last,
            ..
        } = changes.next().await.unwrap().unwrap()
        {
            assert!(document.unwrap().len() >= 100_000);
            assert_eq!(is_last, *key == *keys[keys.len() - 1], "{key}");
            found.push(key.to_string());
        }
    }
    assert_eq!(found, keys);
    host.shutdown().await.unwrap();
}

/// More than may have several documents in memory: each further one has one document, and all of them.
async fn many_readers_of_changes_that_stop_hold_up_no_other(place: Place) {
    let host = filled(&place).await;
    follow(&host, None, "k59").await;
    let mut stopped = Vec::new();
    for _ in 0..530 {
        let mut changes = host.changes(NOTES, None).await.unwrap();
        changes.next().await.unwrap().unwrap();
        stopped.push(changes);
    }
    let (documents, _) = follow(&host, None, "k59").await;
    assert_eq!(documents.len(), 60);
    // The last one continues where it stopped.
    let mut last = stopped.pop().unwrap();
    for _ in 1..60 {
        last.next().await.unwrap().unwrap();
    }
    drop(last);
    drop(stopped);
    host.shutdown().await.unwrap();
}

/// Of a restored store, for example: it would miss the next changes.
async fn a_reader_ahead_of_a_build_is_refused(place: Place) {
    let host = filled(&place).await;
    let (_, at) = follow(&host, None, "k59").await;
    let ahead = ChangePlace {
        change: at.change + 1,
        ..at
    };
    let Err(refused) = host.changes(NOTES, Some(ahead)).await else {
        panic!("change {ahead} is accepted after change {at}");
    };
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains(&at.change.to_string()), "{text}");
    // The last change is not ahead, and neither is any change of another build.
    drop(host.changes(NOTES, Some(at)).await.unwrap());
    let other = ChangePlace {
        build: BuildId(at.build.0 + 1),
        change: 999,
    };
    let mut changes = host.changes(NOTES, Some(other)).await.unwrap();
    let first = changes.next().await.unwrap().unwrap();
    assert!(matches!(first, Change::Switched { .. }), "{first:?}");
    drop(changes);
    host.shutdown().await.unwrap();
}

async fn followers_of_changes_are_notified_of_a_switch(place: Place) {
    let host = filled(&place).await;
    let (_, at) = follow(&host, None, "k59").await;
    let mut changes = host.changes(NOTES, Some(at)).await.unwrap();
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt", |status| {
        build_of(status, Role::Previous).is_some() && build_of(status, Role::Next).is_none()
    })
    .await;
    let change = changes.next().await.unwrap().unwrap();
    assert!(
        matches!(change, Change::Switched { version: 1, .. }),
        "{change:?}"
    );
    let mut count = 0;
    while count < 60 {
        let change = changes.next().await.unwrap().unwrap();
        count += usize::from(matches!(change, Change::Document { .. }));
    }
    host.shutdown().await.unwrap();
}
