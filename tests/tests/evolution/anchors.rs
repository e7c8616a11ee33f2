//! Semantics 11.2: truncated streams and their anchors.

use quipu::Host;
use quipu::deploy::Error;
use quipu::engine::{At, Policy};
use quipu::model::{Context, Position, Version};
use quipu::store::{Direction, Filter};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, engine, note, read, seen, thing, until};

on_every_store!(
    truncated_events_are_hidden_from_stream_reads_and_stay_in_the_log,
    a_truncated_stream_takes_appends_and_known_ids,
    removing_the_mark_shows_all_events,
    invalid_truncations_are_refused,
    a_module_that_cannot_read_an_anchor_is_refused,
    past_states_before_the_mark_are_not_shown,
    a_truncation_is_recorded_like_an_archiving,
    no_snapshot_of_new_rules_is_based_on_an_anchor_of_older_rules,
    automatic_snapshots_never_replace_an_anchor,
    a_truncated_stream_without_its_anchor_is_not_folded,
);

fn decider() -> Probe {
    probe("thing").event("went", 1)
}

async fn begun(place: &Place, policy: Policy) -> Host {
    let host = engine(place, policy).build().await.unwrap();
    deploy(&host, &decider()).await;
    fill(&host, 0..20).await;
    host
}

async fn fill(host: &Host, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let command = note(&json!([["went", number]]));
        let command = command.with_id(&format!("c{number}")).unwrap();
        host.execute(&thing(), command).await.unwrap();
    }
}

async fn truncate(host: &Host, before: u64) -> Result<Option<Position>, quipu::engine::Error> {
    let context = Context::default();
    host.truncate(&thing(), Version(before), context).await
}

async fn truncated_events_are_hidden_from_stream_reads_and_stay_in_the_log(place: Place) {
    let host = begun(&place, Policy::Off).await;
    let position = truncate(&host, 15).await.unwrap();
    let versions: Vec<u64> = read(&host, &thing())
        .await
        .iter()
        .map(|it| it.version.0)
        .collect();
    assert_eq!(versions, (15..=20).collect::<Vec<_>>());
    let page = host
        .read_stream(&thing(), Version(20), Direction::Backward, 100)
        .await
        .unwrap();
    assert_eq!(
        (page.events.len(), page.next, page.truncated_before),
        (6, None, Version(15))
    );
    let all = crate::support::log(&host, &Filter::default()).await;
    let record = all
        .iter()
        .find(|event| Some(event.position) == position)
        .unwrap();
    assert_eq!(
        (record.stream.as_str(), record.name.as_str()),
        ("$streams", "truncated")
    );
    assert_eq!(
        record.body.as_json(),
        Some(r#"{"before":15,"stream":"thing-1"}"#)
    );
    assert_eq!(all.len(), 21);
    // The state is the same, and is not folded from the hidden events.
    assert_eq!(seen(&host, &thing()).await.len(), 20);
}

async fn a_truncated_stream_takes_appends_and_known_ids(place: Place) {
    let host = begun(&place, Policy::Off).await;
    truncate(&host, 20).await.unwrap();
    fill(&host, 20..25).await;
    assert_eq!(seen(&host, &thing()).await.len(), 25);
    // Ids from before the mark are known.
    let again = note(&json!([["went", 3]])).with_id("c3").unwrap();
    let answer = host.execute(&thing(), again).await.unwrap();
    assert_eq!((answer.replayed, answer.version), (true, Version(4)));
    let other = note(&json!([["went", 4]])).with_id("c3").unwrap();
    let error = host.execute(&thing(), other).await.unwrap_err();
    assert_eq!(error.code(), "idempotency-key-reused");
    // Moving the mark forward and back: each time a new anchor is made from all events.
    for before in [25, 2, 10] {
        truncate(&host, before).await.unwrap();
        assert_eq!(read(&host, &thing()).await[0].version, Version(before));
        assert_eq!(seen(&host, &thing()).await.len(), 25);
    }
    host.shutdown().await.unwrap();
    let host = engine(&place, Policy::Off).build().await.unwrap();
    fill(&host, 25..26).await;
    assert_eq!(seen(&host, &thing()).await.len(), 26);
    assert_eq!(read(&host, &thing()).await[0].version, Version(10));
}

async fn removing_the_mark_shows_all_events(place: Place) {
    let host = begun(&place, Policy::Off).await;
    assert_eq!(truncate(&host, 0).await.unwrap(), None);
    truncate(&host, 15).await.unwrap();
    assert!(truncate(&host, 0).await.unwrap().is_some());
    assert_eq!(truncate(&host, 0).await.unwrap(), None);
    assert_eq!(read(&host, &thing()).await.len(), 20);
    assert_eq!(seen(&host, &thing()).await.len(), 20);
    assert!(host.check_snapshots("thing", 10).await.unwrap().is_empty());
}

async fn invalid_truncations_are_refused(place: Place) {
    let host = begun(&place, Policy::Off).await;
    let error = truncate(&host, 21).await.unwrap_err();
    assert_eq!(error.code(), "truncate-refused", "{error}");
    let context = Context::default;
    let gone = host
        .truncate(&build::stream("thing-9"), Version(1), context())
        .await;
    assert_eq!(gone.unwrap_err().code(), "stream-not-found");
    let own = host
        .truncate(&build::stream("$streams"), Version(1), context())
        .await;
    assert_eq!(own.unwrap_err().code(), "bad-request");
    host.append(&build::stream("free-1"), build::append(build::events(3)))
        .await
        .unwrap();
    let free = host
        .truncate(&build::stream("free-1"), Version(2), context())
        .await;
    assert_eq!(free.unwrap_err().code(), "unknown-category");
    for does in ["none", "lie", "trap"] {
        deploy(
            &host,
            &decider().version(&format!("1.0.0-{does}")).snapshots(does),
        )
        .await;
        let error = truncate(&host, 15).await.unwrap_err();
        assert_eq!(error.code(), "truncate-refused", "{does}: {error}");
        assert_eq!(read(&host, &thing()).await.len(), 20);
    }
}

async fn a_module_that_cannot_read_an_anchor_is_refused(place: Place) {
    let host = begun(&place, Policy::Off).await;
    truncate(&host, 15).await.unwrap();
    let number = host.plan().number;
    for probe in [
        decider().version("2.0.0").state(2, &[]),
        decider().version("2.0.1").snapshots("refuse"),
        decider().version("2.0.2").snapshots("trap"),
    ] {
        let digest = host
            .upload(probe.component())
            .await
            .unwrap()
            .module
            .digest();
        let error = host.activate(digest, None).await.unwrap_err();
        assert!(
            matches!(&error, Error::Anchors { streams, more: 0, .. } if *streams == [thing()]),
            "{error}"
        );
        assert!(error.to_string().contains("thing-1"), "{error}");
    }
    assert_eq!(host.plan().number, number);
    // A module that migrates the anchor is accepted, and continues from it.
    deploy(&host, &decider().version("2.1.0").state(2, &[(1, 2)])).await;
    fill(&host, 20..21).await;
    assert_eq!(seen(&host, &thing()).await.len(), 21);
    // Without the mark, the module is accepted.
    truncate(&host, 0).await.unwrap();
    deploy(&host, &decider().version("3.0.0").state(3, &[])).await;
    assert_eq!(seen(&host, &thing()).await.len(), 21);
}

async fn past_states_before_the_mark_are_not_shown(place: Place) {
    let host = begun(&place, Policy::Off).await;
    truncate(&host, 15).await.unwrap();
    for version in 15..=20u64 {
        let view = host
            .state_at(&thing(), At::Version(Version(version)), None)
            .await
            .unwrap();
        assert_eq!(crate::support::seen_in(&view.state).len() as u64, version);
    }
    for version in [0, 1, 14] {
        let error = host
            .state_at(&thing(), At::Version(Version(version)), None)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "bad-request");
        assert!(
            error.to_string().contains("truncated before version 15"),
            "{error}"
        );
    }
}

async fn automatic_snapshots_never_replace_an_anchor(place: Place) {
    let host = begun(&place, Policy::Every(3)).await;
    truncate(&host, 10).await.unwrap();
    let anchor = async |host: &Host| {
        let found = host.check_snapshots("thing", 10).await.unwrap();
        let mut anchors = found.into_iter().filter(|it| it.found.snapshot.is_anchor);
        anchors.next().unwrap().found.snapshot
    };
    let before = anchor(&host).await;
    fill(&host, 20..40).await;
    host.snapshot(&thing()).await.unwrap();
    assert_eq!(anchor(&host).await, before);
    host.shutdown().await.unwrap();
    place
        .tamper("DELETE FROM snapshots WHERE version > 20")
        .await;
    let host = engine(&place, Policy::Every(3)).build().await.unwrap();
    assert_eq!(anchor(&host).await, before);
    fill(&host, 40..41).await;
    assert_eq!(seen(&host, &thing()).await.len(), 41);
}

async fn a_truncated_stream_without_its_anchor_is_not_folded(place: Place) {
    let host = begun(&place, Policy::Off).await;
    truncate(&host, 10).await.unwrap();
    host.shutdown().await.unwrap();
    place.tamper("DELETE FROM snapshots").await;
    let host = engine(&place, Policy::Off).build().await.unwrap();
    let command = note(&json!([["went", 1]]));
    let error = host.execute(&thing(), command).await.unwrap_err();
    assert_eq!(error.code(), "unreadable-event");
    assert!(error.to_string().contains("truncate before 0"), "{error}");
    assert_eq!(
        host.state(&thing()).await.unwrap_err().code(),
        "unreadable-event"
    );
    truncate(&host, 0).await.unwrap();
    assert_eq!(seen(&host, &thing()).await.len(), 20);
}

/// Otherwise the state would stay that of the older rules after the mark is removed.
async fn no_snapshot_of_new_rules_is_based_on_an_anchor_of_older_rules(place: Place) {
    let host = engine(&place, Policy::Every(1)).build().await.unwrap();
    deploy(&host, &decider()).await;
    fill(&host, 0..3).await;
    truncate(&host, 3).await.unwrap();
    let second =
        probe("thing")
            .version("2.0.0")
            .event("gone", 1)
            .step("thing", ("went", 1), &[("gone", 1)]);
    deploy(&host, &second).await;
    let taken = host.snapshot_counts().taken;
    host.execute(&thing(), note(&json!([["gone", 3]])))
        .await
        .unwrap();
    until("a snapshot", || host.snapshot_counts().taken > taken).await;
    truncate(&host, 0).await.unwrap();
    let expected = [
        r#"gone@1 [0,"gone@1"]"#,
        r#"gone@1 [1,"gone@1"]"#,
        r#"gone@1 [2,"gone@1"]"#,
        "gone@1 3",
    ];
    assert_eq!(seen(&host, &thing()).await, expected);
    for found in host.check_snapshots("thing", 10).await.unwrap() {
        let agreement = found.found.agreement;
        assert_eq!(agreement, quipu::fold::Agreement::Agrees);
    }
}

/// With the additions of enrichers, and with a context that can be stored.
async fn a_truncation_is_recorded_like_an_archiving(place: Place) {
    let building = engine(&place, Policy::Off).enrich(|_| quipu::engine::Additions {
        metadata: vec![("region".to_owned(), "eu-1".to_owned())],
        principal: Some("ann".into()),
    });
    let host = building.build().await.unwrap();
    deploy(&host, &decider()).await;
    fill(&host, 0..3).await;
    let long = Context {
        correlation_id: Some("x".repeat(256).into()),
        ..Context::default()
    };
    let error = host.truncate(&thing(), Version(2), long).await.unwrap_err();
    assert_eq!(error.code(), "bad-request");
    let position = truncate(&host, 2).await.unwrap().unwrap();
    let record = host.event(position).await.unwrap().unwrap();
    assert_eq!(
        record.metadata.as_deref(),
        Some(&br#"{"region":"eu-1"}"#[..])
    );
    assert_eq!(record.commit.principal.as_deref(), Some("ann"));
}
