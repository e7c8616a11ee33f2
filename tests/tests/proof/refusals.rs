//! Stored rejections are re-decided, by the modules that decided them and by candidates.

use quipu::Host;
use quipu::model::Version;
use quipu::proof::{Kind, Policy, Preflight, Refusals, Scope, Tally};
use quipu::store::RejectionFilter;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

on_every_store! {
    an_equal_candidate_rejects_the_same_commands,
    a_candidate_that_accepts_a_rejected_command_is_reported,
    a_candidate_that_rejects_with_another_code_is_reported,
    a_candidate_that_cannot_read_a_rejected_command_is_reported,
    a_sample_includes_the_rejections_of_its_streams,
    rejections_are_verified_with_their_recorded_plan,
    decisions_are_timed,
    rejections_with_text_that_no_database_can_store_are_kept,
    a_rejection_that_was_changed_is_found,
    a_rejection_of_an_unknown_plan_is_left_out,
}

/// A decider that rejects odd commands.
fn active() -> Probe {
    probe("note").event("noted", 1).decides("reject")
}

async fn note(host: &Host, stream: &str, word: &str) {
    let events = json!([["noted", {"word": word}]]);
    let command = build::command("note", &events.to_string());
    let answer = host.execute(&build::stream(stream), command).await;
    assert_eq!(answer.is_ok(), word != "odd", "{answer:?}");
}

/// Ten streams with two accepted commands each, with rejected ones before, between and after them;
/// and one stream that does not exist.
async fn filled(place: &Place) -> Host {
    let host = place.host().await;
    examples::deploy(&host, active().component()).await;
    for n in 0..10 {
        let stream = format!("note-{n}");
        for word in ["odd", "one", "odd", "odd", "two", "odd"] {
            note(&host, &stream, word).await;
        }
    }
    note(&host, "note-never", "odd").await;
    host
}

async fn preflight(host: &Host, candidate: &Probe, scope: &Scope) -> Preflight {
    let uploaded = host.upload(candidate.component()).await.unwrap();
    let digest = uploaded.module.digest();
    let policy = Policy::default();
    let found = host.preflight(digest, &policy, scope, &mut |_| {}).await;
    found.unwrap()
}

fn tally(found: &Preflight) -> &Tally {
    let mut tallies = found.decided.commands.values();
    tallies.next().unwrap()
}

async fn an_equal_candidate_rejects_the_same_commands(place: Place) {
    let host = filled(&place).await;
    let again = active().version("2.0.0");
    let found = preflight(&host, &again, &Scope::default()).await;
    assert!(found.objections.is_empty(), "{found:?}");
    let expected = Refusals {
        same: 41,
        ..Refusals::default()
    };
    assert_eq!((tally(&found).same, tally(&found).refusals), (20, expected));
}

async fn a_candidate_that_accepts_a_rejected_command_is_reported(place: Place) {
    let host = filled(&place).await;
    let candidate = probe("note").event("noted", 1);
    let found = preflight(&host, &candidate, &Scope::default()).await;
    let [objection] = &found.objections[..] else {
        panic!("{found:?}");
    };
    assert_eq!((objection.kind, objection.count), (Kind::Accepted, 41));
    assert!(objection.blocks);
    assert_eq!(
        objection.text,
        "note note: 41 of 41 that were rejected are accepted"
    );
    assert_eq!(tally(&found).refusals.accepted, 41);
    let example = &found.decided.findings[0];
    assert_eq!(
        example.text,
        "it is accepted now\n- rejected as too-odd: it is too odd\n+ noted 1 {\"word\":\"odd\"}"
    );
    // Each was re-decided at its version.
    let examples = &found.decided.findings;
    assert!(examples.iter().any(|it| it.version == Version(1)));
}

async fn a_candidate_that_rejects_with_another_code_is_reported(place: Place) {
    let host = filled(&place).await;
    let candidate = active().decides("reject-otherwise");
    let found = preflight(&host, &candidate, &Scope::default()).await;
    let kinds: Vec<(Kind, u64)> = found
        .objections
        .iter()
        .map(|it| (it.kind, it.count))
        .collect();
    assert_eq!(kinds, [(Kind::Rejection, 41)]);
    let text = &found.decided.findings[0].text;
    assert!(
        text.ends_with("+ rejected as very-odd: it is very odd"),
        "{text}"
    );
}

async fn a_candidate_that_cannot_read_a_rejected_command_is_reported(place: Place) {
    let host = filled(&place).await;
    for does in ["bad-command", "trap"] {
        let found = preflight(&host, &active().decides(does), &Scope::default()).await;
        assert_eq!(tally(&found).refusals.failed, 41, "{does}: {found:?}");
        assert!(!found.passes());
    }
}

async fn a_sample_includes_the_rejections_of_its_streams(place: Place) {
    let host = filled(&place).await;
    let scope = Scope {
        sample: Some(3),
        ..Scope::default()
    };
    let found = preflight(&host, &probe("note").event("noted", 1), &scope).await;
    assert_eq!(tally(&found).refusals.accepted, 12);
    assert_eq!(tally(&found).same, 6);
    // Without a budget of events, no rejection is judged.
    let scope = Scope {
        events: Some(0),
        ..Scope::default()
    };
    let found = preflight(&host, &probe("note").event("noted", 1), &scope).await;
    let refusals: u64 = found
        .decided
        .commands
        .values()
        .map(|it| it.refusals.accepted)
        .sum();
    assert_eq!(refusals, 11);
}

async fn rejections_are_verified_with_their_recorded_plan(place: Place) {
    let host = filled(&place).await;
    examples::deploy(&host, active().decides("reject-otherwise").component()).await;
    note(&host, "note-1", "odd").await;
    let verified = super::verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    let refusals: u64 = verified.commands.values().map(|it| it.refusals.same).sum();
    assert_eq!(refusals, 42);
}

async fn decisions_are_timed(place: Place) {
    let host = filled(&place).await;
    let found = preflight(&host, &active().version("2.0.0"), &Scope::default()).await;
    let times = tally(&found).times;
    assert_eq!(times.decisions, 20);
    assert!(
        !times.active.is_zero() && !times.candidate.is_zero(),
        "{times:?}"
    );
}

async fn a_rejection_that_was_changed_is_found(place: Place) {
    let host = filled(&place).await;
    host.shutdown().await.unwrap();
    place
        .tamper(
            "UPDATE rejections SET message = 'it is odd' WHERE stream = 'note-3' AND version = 2",
        )
        .await;
    let host = place.host().await;
    let verified = super::verified(&host).await;
    let found = super::only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Rejection, Version(2)));
    assert_eq!(found.stream, build::stream("note-3"));
}

async fn rejections_with_text_that_no_database_can_store_are_kept(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, active().decides("reject-nul").component()).await;
    note(&host, "note-1", "odd").await;
    let rejections = host
        .rejections(RejectionFilter::All, None, 10)
        .await
        .unwrap();
    assert_eq!(rejections[0].message, "it is \u{fffd} odd");
    assert!(super::verified(&host).await.is_sound());
}

async fn a_rejection_of_an_unknown_plan_is_left_out(place: Place) {
    let host = filled(&place).await;
    host.shutdown().await.unwrap();
    // Like a rejection that is made after the history of the plan was read.
    let later = "UPDATE rejections SET plan = 2 WHERE stream = 'note-3' AND version = 2";
    place.tamper(later).await;
    let host = place.host().await;
    let verified = super::verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    let refusals: u64 = verified.commands.values().map(|it| it.refusals.same).sum();
    assert_eq!(refusals, 40);
}
