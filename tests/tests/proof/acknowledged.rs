//! Acknowledged findings are counted, and do not fail a run.

use quipu::Host;
use quipu::engine::Append;
use quipu::model::Version;
use quipu::proof::{self, Kind, Policy, Preflight, Scope, Weight};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, digests, examples, on_every_store};
use serde_json::json;

use super::{only, verified};

on_every_store! {
    a_finding_can_be_acknowledged_before_it_occurs,
    names_and_reasons_are_checked,
    a_candidate_is_not_blocked_by_streams_that_the_active_decider_cannot_fold,
    a_candidate_is_not_blocked_by_types_that_the_active_decider_cannot_read,
    an_acknowledged_stream_does_not_block_a_candidate,
    an_acknowledged_finding_does_not_fail_a_run,
    acknowledging_a_finding_does_not_cover_another_at_the_same_position,
    findings_beyond_the_listed_ones_are_matched_too,
    a_stream_that_cannot_be_folded_is_named_by_its_first_version,
    an_acknowledged_snapshot_does_not_fail_a_run,
}

const CHANGE_3: (&str, &str) = (
    r#"UPDATE events SET data = CAST('{"amount":7}' AS BLOB) WHERE version = 3"#,
    r#"UPDATE events SET data = convert_to('{"amount":7}', 'UTF8') WHERE version = 3"#,
);
const BREAK_1: (&str, &str) = (
    "UPDATE events SET data = CAST('[]' AS BLOB) WHERE version = 1",
    "UPDATE events SET data = convert_to('[]', 'UTF8') WHERE version = 1",
);
const CHANGE_ALL: (&str, &str) = (
    r#"UPDATE events SET data = CAST('{"amount":70}' AS BLOB) WHERE version > 1"#,
    r#"UPDATE events SET data = convert_to('{"amount":70}', 'UTF8') WHERE version > 1"#,
);

/// A host with an account at a version.
async fn filled(place: &Place, version: u64) -> Host {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for amount in 2..=version {
        host.execute(&account, build::deposit(amount))
            .await
            .unwrap();
    }
    host
}

/// The same host, after statements for SQLite and for PostgreSQL.
async fn tampered(place: &Place, host: Host, sql: (&'static str, &'static str)) -> Host {
    host.shutdown().await.unwrap();
    // Without digests, only the decisions show what was changed.
    digests::forget(place).await;
    let is_sqlite = place.url().starts_with("sqlite");
    place.tamper(if is_sqlite { sql.0 } else { sql.1 }).await;
    place.host().await
}

async fn an_acknowledged_finding_does_not_fail_a_run(place: Place) {
    let host = filled(&place, 6).await;
    let host = tampered(&place, host, CHANGE_3).await;
    let found = verified(&host).await;
    let finding = only(&found);
    assert_eq!(finding.name.as_str(), "decision:account-1@3");
    assert_eq!((finding.weight, found.is_sound()), (Weight::Open, false));
    let name = finding.name.as_str();
    let by = Some("ann");
    let acknowledged = host.acknowledge(name, "mended by hand", by).await.unwrap();
    assert_eq!(
        (&*acknowledged.finding, &*acknowledged.reason),
        (name, "mended by hand")
    );
    assert_eq!(acknowledged.by.as_deref(), by);
    host.shutdown().await.unwrap();
    let host = place.host().await;
    assert_eq!(host.acknowledged(None, 10).await.unwrap(), [acknowledged]);
    let found = verified(&host).await;
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(only(&found).weight, Weight::Acknowledged);
    assert_eq!((found.acknowledged(), found.open()), (1, 0));
    host.withdraw(name).await.unwrap();
    assert!(!verified(&host).await.is_sound());
    let error = host.withdraw(name).await.unwrap_err();
    assert!(matches!(error, proof::Error::NotAcknowledged(_)), "{error}");
}

async fn acknowledging_a_finding_does_not_cover_another_at_the_same_position(place: Place) {
    let host = filled(&place, 4).await;
    let host = tampered(&place, host, CHANGE_3).await;
    host.acknowledge("decision:account-1@3", "known", None)
        .await
        .unwrap();
    assert!(verified(&host).await.is_sound());
    let other = "UPDATE events SET plan = 9 WHERE version = 3";
    let host = tampered(&place, host, (other, other)).await;
    let found = verified(&host).await;
    assert!(!found.is_sound());
    assert_eq!(only(&found).name.as_str(), "module:account-1@3");
}

async fn findings_beyond_the_listed_ones_are_matched_too(place: Place) {
    let host = filled(&place, 31).await;
    let host = tampered(&place, host, CHANGE_ALL).await;
    assert_eq!(verified(&host).await.found(), 30);
    let acknowledge = async |versions: std::ops::RangeInclusive<u64>| {
        for version in versions {
            let name = format!("decision:account-1@{version}");
            host.acknowledge(&name, "known", None).await.unwrap();
        }
    };
    acknowledge(2..=21).await;
    let found = verified(&host).await;
    assert_eq!(
        (found.found(), found.acknowledged(), found.open()),
        (30, 20, 10)
    );
    // Acknowledged findings do not push the others out of the list.
    let open = found.findings.iter();
    let open = open.filter(|finding| finding.weight == Weight::Open);
    let versions: Vec<u64> = open.map(|finding| finding.version.0).collect();
    assert_eq!(versions, (22..=31).collect::<Vec<u64>>());
    acknowledge(22..=31).await;
    let found = verified(&host).await;
    assert!(found.is_sound());
    assert_eq!((found.found(), found.acknowledged()), (30, 30));
}

async fn a_stream_that_cannot_be_folded_is_named_by_its_first_version(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let opened = build::event("opened", r#"{"owner":"ann"}"#);
    let paid = || build::event("deposited", r#"{"amount":50}"#);
    for event in [opened, paid(), paid()] {
        let append = build::foreign(vec![event]);
        host.append(&account, append).await.unwrap();
    }
    // Its state is not opened before this command.
    host.execute(&account, build::withdraw(40)).await.unwrap();
    host.execute(&account, build::withdraw(40)).await.unwrap();
    let host = tampered(&place, host, BREAK_1).await;
    let found = verified(&host).await;
    let finding = only(&found);
    assert_eq!(
        (finding.kind, finding.version, finding.position.0),
        (Kind::Fold, Version(1), 1)
    );
    assert_eq!(finding.name.as_str(), "fold:account-1@1");
    host.acknowledge("fold:account-1@1", "known", None)
        .await
        .unwrap();
    assert!(verified(&host).await.is_sound());
}

async fn an_acknowledged_snapshot_does_not_fail_a_run(place: Place) {
    use quipu::model::{Body, Timestamp};
    use quipu::store::StoredSnapshot;
    let host = filled(&place, 3).await;
    let account = build::stream("account-1");
    let taken = host.snapshot(&account).await.unwrap().snapshot;
    host.shutdown().await.unwrap();
    let store = place.open().await;
    let text = String::from_utf8(taken.data.to_vec()).unwrap();
    let other = Body::json(text.replace('5', "6")).unwrap();
    assert_ne!(other.bytes(), &taken.data, "{text}");
    let (version, form) = (taken.version, taken.state_schema_version);
    let wrong = StoredSnapshot::new(&account, version, form, &other, taken.fold, Timestamp(9));
    assert!(store.snapshots.keep(&account, &wrong).await.unwrap());
    store.writer.close().await.unwrap();
    let host = place.host().await;
    let found = verified(&host).await;
    let name = only(&found).name.to_string();
    assert!(name.starts_with("snapshot:account-1@3#"), "{name}");
    assert!(!found.is_sound());
    host.acknowledge(&name, "known", None).await.unwrap();
    assert!(verified(&host).await.is_sound());
}

async fn a_finding_can_be_acknowledged_before_it_occurs(place: Place) {
    let host = place.host().await;
    for name in [
        "decision:loan-17@42",
        "accepted:loan-17@0#0123456789ab",
        "document:notes/only-folded/a/b",
    ] {
        host.acknowledge(name, "announced", None).await.unwrap();
    }
    let names = host.acknowledged(None, 10).await.unwrap();
    let names: Vec<&str> = names.iter().map(|it| &*it.finding).collect();
    assert_eq!(
        names,
        [
            "accepted:loan-17@0#0123456789ab",
            "decision:loan-17@42",
            "document:notes/only-folded/a/b"
        ]
    );
    let verified = verified(&host).await;
    assert_eq!((verified.found(), verified.acknowledged()), (0, 0));
}

async fn names_and_reasons_are_checked(place: Place) {
    let host = place.host().await;
    let name = "decision:loan-17@42";
    let longest = "r".repeat(1_024);
    host.acknowledge(name, &longest, None).await.unwrap();
    for (finding, reason, by, why) in [
        ("loan-17@42", "known", None, "no kind before a colon"),
        ("decision:loan-17", "known", None, "no @ and version"),
        (name, "", None, "1 to 1024 bytes, this one has 0"),
        (name, " ", None, "one line of text"),
        (name, "a\nb", None, "one line of text"),
        (name, &"r".repeat(1_025), None, "this one has 1025"),
        (name, "known", Some(""), "principal"),
    ] {
        let error = host.acknowledge(finding, reason, by).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = host.withdraw("nonsense").await.unwrap_err();
    assert!(matches!(error, proof::Error::Invalid(_)), "{error}");
    let acknowledgements = host.acknowledged(None, 10).await.unwrap();
    assert_eq!(
        (acknowledgements.len(), &*acknowledgements[0].reason),
        (1, &*longest)
    );
}

fn active() -> Probe {
    probe("note").event("noted", 1).event("rare", 1)
}

/// A host with a stream whose second event is rare.
async fn rare(place: &Place) -> Host {
    let host = place.host().await;
    examples::deploy(&host, active().component()).await;
    let stream = build::stream("note-1");
    for name in ["noted", "rare", "noted"] {
        let events = json!([[name, {"word": name}]]).to_string();
        let command = build::command("note", &events);
        host.execute(&stream, command).await.unwrap();
    }
    host
}

async fn preflight(host: &Host, candidate: Probe) -> Preflight {
    let uploaded = host.upload(candidate.component()).await.unwrap();
    let digest = uploaded.module.digest();
    let (policy, scope) = (Policy::default(), Scope::default());
    let found = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
    found.unwrap()
}

async fn a_candidate_is_not_blocked_by_streams_that_the_active_decider_cannot_fold(place: Place) {
    let host = rare(&place).await;
    let broken = || active().traps_on_rare();
    let found = preflight(&host, broken()).await;
    assert!(!found.passes());
    // The module is activated in spite of that.
    examples::deploy(&host, broken().version("2.0.0").component()).await;
    let found = preflight(&host, broken().version("2.0.1")).await;
    assert!(found.passes(), "{:?}", found.objections);
    let [objection] = &found.objections[..] else {
        panic!("{:?}", found.objections);
    };
    assert_eq!((objection.kind, objection.count), (Kind::Fold, 1));
    let text = "streams that the active decider can't fold either: 1, note-1 at version 2 first";
    assert!(objection.text.starts_with(text), "{}", objection.text);
    let finding = &found.decided.findings[0];
    assert_eq!(finding.name.as_str(), "fold:note-1@2");
    assert_eq!(finding.weight, Weight::Shared);
    // A candidate that fixes it has no objections.
    let found = preflight(&host, active().version("3.0.0")).await;
    assert_eq!(found.objections, []);
}

async fn a_candidate_is_not_blocked_by_types_that_the_active_decider_cannot_read(place: Place) {
    let host = place.host().await;
    let append = Append {
        events: vec![build::event("strange", "{}")],
        ..Append::default()
    };
    host.append(&build::stream("note-9"), append).await.unwrap();
    examples::deploy(&host, active().component()).await;
    let found = preflight(&host, active().version("2.0.0")).await;
    assert!(found.passes(), "{:?}", found.objections);
    let kinds: Vec<Kind> = found.objections.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::EventType, Kind::Fold]);
    let text = &found.objections[0].text;
    assert!(
        text.ends_with("the active decider can't read it either"),
        "{text}"
    );
}

async fn an_acknowledged_stream_does_not_block_a_candidate(place: Place) {
    let host = rare(&place).await;
    let candidate = active().traps_on_rare();
    // Another version is a different finding, and so are the decisions of a candidate.
    for name in ["fold:note-1@1", "fold:note-1@3", "decision:note-1@1"] {
        host.acknowledge(name, "known", None).await.unwrap();
    }
    assert!(!preflight(&host, candidate.clone()).await.passes());
    host.acknowledge("fold:note-1@2", "nobody needs it", None)
        .await
        .unwrap();
    let found = preflight(&host, candidate).await;
    assert!(found.passes(), "{:?}", found.objections);
    let text = &found.objections[0].text;
    let expected = "streams that it can't fold, which are acknowledged: 1, note-1 at version 2";
    assert!(text.starts_with(expected), "{text}");
    let different = preflight(&host, active().decides("reject").version("4.0.0")).await;
    assert_eq!(different.objections, []);
    let odd = json!([["noted", {"word": "odd"}]]).to_string();
    let odd = build::command("note", &odd);
    let executed = host.execute(&build::stream("note-2"), odd).await;
    executed.unwrap();
    host.acknowledge("rejected:note-2@1", "known", None)
        .await
        .unwrap();
    let rejecting = active().decides("reject").version("5.0.0");
    assert!(!preflight(&host, rejecting).await.passes());
}
