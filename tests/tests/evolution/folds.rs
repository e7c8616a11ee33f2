//! Semantics 7.2 and 7.3: which snapshots are used, and that no snapshot can make a state wrong.

use quipu::Host;
use quipu::engine::Policy;
use quipu::model::{Body, Digest, StreamId, Timestamp, Version};
use quipu::store::{SnapshotStore, StoredSnapshot};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, engine, note, seen, thing};

on_every_store!(
    a_state_is_loaded_from_a_snapshot,
    every_kind_of_invalid_snapshot_is_ignored,
    a_snapshot_of_a_wrong_state_is_found_by_the_sample_check,
    a_snapshot_of_older_rules_is_used_only_when_a_sample_agrees,
    a_snapshot_does_not_hide_an_event_that_the_decider_cannot_read,
    a_snapshot_does_not_hide_an_event_that_is_lifted_differently,
    a_snapshot_is_migrated_through_the_chain,
    a_guest_that_refuses_its_snapshots_is_folded_from_its_events,
    a_retried_command_is_recognized_after_the_state_form_changed,
    an_anchor_without_a_mark_is_a_snapshot_like_any_other,
);

const EVENTS: usize = 30;

/// A stream of some events with a snapshot at its end, on a store that is closed afterwards.
async fn written(place: &Place, probe: &Probe) {
    let host = engine(place, Policy::Off).build().await.unwrap();
    deploy(&host, probe).await;
    fill(&host, 0..EVENTS).await;
    host.snapshot(&thing()).await.unwrap();
    host.shutdown().await.unwrap();
}

async fn fill(host: &Host, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let command = note(&json!([["went", number]]));
        let command = command.with_id(&format!("c{number}")).unwrap();
        host.execute(&thing(), command).await.unwrap();
    }
}

fn all(events: usize) -> Vec<String> {
    (0..events)
        .map(|number| format!("went@1 {number}"))
        .collect()
}

fn decider() -> Probe {
    probe("thing").event("went", 1)
}

/// Changes the stored snapshot of the stream.
async fn plant(place: &Place, change: impl FnOnce(&StreamId, StoredSnapshot) -> StoredSnapshot) {
    let store = place.open().await;
    let snapshot = store.snapshots.find(&thing()).await.unwrap().remove(0);
    let changed = change(&thing(), snapshot);
    overwrite(&*store.snapshots, &changed).await;
    store.writer.close().await.unwrap();
}

/// Stores it in any case, as a snapshot of another fold, which is never too old.
async fn overwrite(store: &dyn SnapshotStore, snapshot: &StoredSnapshot) {
    let other = StoredSnapshot {
        fold: Digest([0; 32]),
        ..snapshot.clone()
    };
    let passing = StoredSnapshot {
        version: Version(1),
        ..other
    };
    assert!(store.keep(&thing(), &passing).await.unwrap());
    assert!(store.keep(&thing(), snapshot).await.unwrap());
}

async fn a_state_is_loaded_from_a_snapshot(place: Place) {
    written(&place, &decider()).await;
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    fill(&host, EVENTS..EVENTS + 3).await;
    let counts = host.snapshot_counts();
    assert_eq!((counts.used, counts.ignored.len()), (1, 0), "{counts:?}");
    assert_eq!(seen(&host, &thing()).await, all(EVENTS + 3));
    // A repeated command is known although its event is older than the snapshot.
    let command = note(&json!([["went", 4]])).with_id("c4").unwrap();
    let answer = host.execute(&thing(), command).await.unwrap();
    assert_eq!((answer.replayed, answer.version), (true, Version(5)));
}

async fn every_kind_of_invalid_snapshot_is_ignored(place: Place) {
    type Change = fn(&StreamId, StoredSnapshot) -> StoredSnapshot;
    let wrong: [(&str, Change); 6] = [
        ("no-migration", |of, it| {
            StoredSnapshot::new(
                of,
                it.version,
                7,
                &it.body().unwrap(),
                it.fold,
                Timestamp(1),
            )
        }),
        ("no-migration", |of, it| {
            StoredSnapshot::new(
                of,
                it.version,
                1,
                &it.body().unwrap(),
                it.fold,
                Timestamp(1),
            )
        }),
        ("damaged", |_, it| {
            let mut data = it.data.to_vec();
            data[5] ^= 1;
            StoredSnapshot {
                data: data.into(),
                ..it
            }
        }),
        ("damaged", |_, it| {
            let other = build::stream("thing-2");
            StoredSnapshot::new(
                &other,
                it.version,
                2,
                &it.body().unwrap(),
                it.fold,
                it.taken_at,
            )
        }),
        ("other-fold", |of, it| {
            let fold = Digest([9; 32]);
            StoredSnapshot::new(of, it.version, 2, &it.body().unwrap(), fold, it.taken_at)
        }),
        ("refused-by-the-guest", |of, it| {
            let body = Body::json("[]".to_owned()).unwrap();
            StoredSnapshot::new(of, it.version, 2, &body, it.fold, it.taken_at)
        }),
    ];
    written(&place, &decider().state(2, &[])).await;
    let mut events = EVENTS;
    for (number, (reason, change)) in wrong.into_iter().enumerate() {
        plant(&place, change).await;
        let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
        fill(&host, events..events + 1).await;
        events += 1;
        let counts = host.snapshot_counts();
        assert_eq!(
            counts.ignored.get(reason),
            Some(&1),
            "{number} {reason}: {counts:?}"
        );
        assert_eq!(counts.used, 0, "{number} {reason}");
        assert_eq!(
            seen(&host, &thing()).await,
            all(events),
            "{number} {reason}"
        );
        host.snapshot(&thing()).await.unwrap();
        host.shutdown().await.unwrap();
    }
    beyond_the_stream(&place, events).await;
}

/// The log was restored, for example from a backup, and the snapshot was not.
async fn beyond_the_stream(place: &Place, events: usize) {
    place
        .tamper("UPDATE snapshots SET version = version + 1000")
        .await;
    let host = engine(place, Policy::Every(1_000)).build().await.unwrap();
    fill(&host, events..events + 1).await;
    assert_eq!(seen(&host, &thing()).await, all(events + 1));
    assert_eq!(host.snapshot_counts().used, 0);
    // The checksum shows it, too; one with a right checksum would be recognized by its version.
    let taken = host.snapshot(&thing()).await.unwrap();
    assert_eq!(taken.snapshot.version, Version(events as u64 + 1));
    host.shutdown().await.unwrap();
    let host = engine(place, Policy::Every(1_000)).build().await.unwrap();
    fill(&host, events + 1..events + 2).await;
    assert_eq!(host.snapshot_counts().used, 1);
}

async fn a_snapshot_of_a_wrong_state_is_found_by_the_sample_check(place: Place) {
    written(&place, &decider()).await;
    plant(&place, |of, it| {
        let body = Body::json(r#"{"migrated":[],"seen":["a lie"]}"#.to_owned()).unwrap();
        StoredSnapshot::new(of, it.version, 1, &body, it.fold, it.taken_at)
    })
    .await;
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    // Apart from its state, it is a valid snapshot.
    assert_eq!(seen(&host, &thing()).await, ["a lie"]);
    let checked = host.check_snapshots("thing", 10).await.unwrap();
    assert_eq!(checked.len(), 1);
    assert_eq!(checked[0].found.agreement, quipu::fold::Agreement::Differs);
    let taken = host.snapshot(&thing()).await.unwrap();
    assert_eq!(taken.found[0].agreement, quipu::fold::Agreement::Differs);
    assert_eq!(seen(&host, &thing()).await, all(EVENTS));
    let checked = host.check_snapshots("thing", 10).await.unwrap();
    assert_eq!(checked[0].found.agreement, quipu::fold::Agreement::Agrees);
}

async fn a_snapshot_of_older_rules_is_used_only_when_a_sample_agrees(place: Place) {
    written(&place, &decider()).await;
    // The same rules in a new component: the sample agrees, so the snapshot is used.
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    deploy(&host, &decider().version("1.0.1")).await;
    fill(&host, EVENTS..EVENTS + 1).await;
    assert_eq!(host.snapshot_counts().used, 1);
    assert_eq!(host.deployments().await.unwrap()[1].trusted.len(), 1);
    host.shutdown().await.unwrap();
    // A host that only reads this result from the plan uses the snapshot, too.
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    fill(&host, EVENTS + 1..EVENTS + 2).await;
    assert_eq!(host.snapshot_counts().used, 1);
    // Different rules: other lifted events result in another state.
    let other = decider().version("1.1.0").event("gone", 1);
    let lifted =
        probe("thing")
            .version("2.0.0")
            .event("gone", 1)
            .step("thing", ("went", 1), &[("gone", 1)]);
    deploy(&host, &other).await;
    deploy(&host, &lifted).await;
    assert!(host.deployments().await.unwrap()[3].trusted.is_empty());
    let used = host.snapshot_counts().used;
    host.execute(&thing(), note(&json!([["gone", 1]])))
        .await
        .unwrap();
    let counts = host.snapshot_counts();
    assert_eq!(
        (counts.used, counts.ignored.get("other-fold")),
        (used, Some(&1))
    );
    assert_eq!(seen(&host, &thing()).await[3], r#"gone@1 [3,"gone@1"]"#);
}

async fn a_snapshot_does_not_hide_an_event_that_the_decider_cannot_read(place: Place) {
    let (agreeing, hiding) = (build::stream("thing-1"), build::stream("thing-2"));
    let host = engine(&place, Policy::Off).build().await.unwrap();
    deploy(&host, &decider().event("came", 1)).await;
    for (stream, name) in [(&agreeing, "went"), (&hiding, "came")] {
        host.execute(stream, note(&json!([[name, 1]])))
            .await
            .unwrap();
        host.snapshot(stream).await.unwrap();
    }
    deploy(&host, &decider().version("2.0.0")).await;
    assert_eq!(seen(&host, &agreeing).await, ["went@1 1"]);
    let error = host.state(&hiding).await.unwrap_err();
    assert_eq!(error.code(), "unreadable-event");
    let decided = host.execute(&hiding, note(&json!([["went", 2]]))).await;
    assert_eq!(decided.unwrap_err().code(), "unreadable-event");
    host.shutdown().await.unwrap();
}

/// The newest snapshots are of streams that the new step does not affect.
async fn a_snapshot_does_not_hide_an_event_that_is_lifted_differently(place: Place) {
    let (old, others) = (build::stream("thing-old"), 0..52);
    let host = engine(&place, Policy::Off).build().await.unwrap();
    deploy(&host, &decider().event("came", 1)).await;
    host.execute(&old, note(&json!([["came", 1]])))
        .await
        .unwrap();
    host.snapshot(&old).await.unwrap();
    for number in others {
        let stream = build::stream(&format!("thing-{number}"));
        let command = note(&json!([["went", 1]]));
        host.execute(&stream, command).await.unwrap();
        host.snapshot(&stream).await.unwrap();
    }
    let stepped = decider().version("2.0.0").event("came", 2);
    let stepped = stepped.step("thing", ("came", 1), &[("came", 2)]);
    deploy(&host, &stepped).await;
    assert_eq!(seen(&host, &old).await, [r#"came@2 [1,"came@2"]"#]);
    host.shutdown().await.unwrap();
}

/// Semantics 7.4.
async fn a_snapshot_is_migrated_through_the_chain(place: Place) {
    written(&place, &decider()).await;
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    // The events lead to a state that was never migrated: it does not agree.
    let later = decider().version("2.0.0").state(3, &[(1, 2), (2, 3)]);
    deploy(&host, &later).await;
    fill(&host, EVENTS..EVENTS + 1).await;
    assert_eq!(host.snapshot_counts().used, 0);
    // A snapshot of its own rules in an older form: only a manual change can store one.
    host.snapshot(&thing()).await.unwrap();
    host.shutdown().await.unwrap();
    plant(&place, |of, it| {
        StoredSnapshot::new(of, it.version, 1, &it.body().unwrap(), it.fold, it.taken_at)
    })
    .await;
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    let view = host.state(&thing()).await.unwrap();
    assert!(view.state.contains(r#""migrated":[1,2]"#), "{}", view.state);
    assert_eq!(crate::support::seen_in(&view.state), all(EVENTS + 1));
}

async fn a_guest_that_refuses_its_snapshots_is_folded_from_its_events(place: Place) {
    written(&place, &decider()).await;
    let mut events = EVENTS;
    for does in ["refuse", "trap"] {
        let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
        let probe = decider().version(&format!("1.0.0-{does}")).snapshots(does);
        deploy(&host, &probe).await;
        fill(&host, events..events + 1).await;
        events += 1;
        assert_eq!(seen(&host, &thing()).await, all(events), "{does}");
        assert_eq!(host.snapshot_counts().used, 0);
        let error = host.snapshot(&thing()).await.unwrap_err();
        assert_eq!(error.code(), "snapshot-refused", "{error}");
        host.shutdown().await.unwrap();
    }
}

/// A host that decided a retried command before looking up the first one would count the command
/// twice, in the state of its answer and in a snapshot of it.
async fn a_retried_command_is_recognized_after_the_state_form_changed(place: Place) {
    written(&place, &decider()).await;
    let host = engine(&place, Policy::Every(1)).build().await.unwrap();
    deploy(&host, &decider().version("2.0.0").state(2, &[])).await;
    for number in [0, 7, EVENTS - 1] {
        for _ in 0..3 {
            let command = note(&json!([["went", number]]));
            let command = command.with_id(&format!("c{number}")).unwrap();
            let answer = host.execute(&thing(), command).await.unwrap();
            assert_eq!(
                (answer.replayed, answer.version.0),
                (true, number as u64 + 1)
            );
        }
        assert_eq!(seen(&host, &thing()).await, all(EVENTS));
    }
    let taken = host.snapshot(&thing()).await.unwrap();
    assert_eq!(taken.snapshot.version.0, EVENTS as u64);
    host.shutdown().await.unwrap();
    let host = engine(&place, Policy::Every(1)).build().await.unwrap();
    assert_eq!(seen(&host, &thing()).await, all(EVENTS));
    let checked = host.check_snapshots("thing", 10).await.unwrap();
    assert_eq!(checked[0].found.agreement, quipu::fold::Agreement::Agrees);
}

async fn an_anchor_without_a_mark_is_a_snapshot_like_any_other(place: Place) {
    written(&place, &decider()).await;
    place.tamper("UPDATE snapshots SET anchor = (1 = 1)").await;
    let host = engine(&place, Policy::Every(1_000)).build().await.unwrap();
    fill(&host, EVENTS..EVENTS + 1).await;
    assert_eq!(host.snapshot_counts().used, 1);
    let other =
        probe("thing")
            .version("2.0.0")
            .event("gone", 1)
            .step("thing", ("went", 1), &[("gone", 1)]);
    deploy(&host, &other).await;
    host.execute(&thing(), note(&json!([["gone", 0]])))
        .await
        .unwrap();
    assert_eq!(seen(&host, &thing()).await[0], r#"gone@1 [0,"gone@1"]"#);
    assert_eq!(host.snapshot_counts().used, 1);
}
