//! Semantics 10.4: objections to a module are found before it is activated, with the right kind.

use quipu::model::{Command, Digest};
use quipu::proof::{Kind, Objection, Policy, Preflight, Scope};
use quipu::{Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

on_every_store! {
    an_equal_candidate_has_no_objections,
    a_candidate_for_a_new_category_has_nothing_to_compare,
    a_candidate_that_no_longer_declares_a_type_is_reported,
    a_candidate_that_reads_an_older_version_is_reported,
    a_candidate_that_traps_on_a_rare_event_is_reported,
    a_candidate_that_decides_differently_is_reported,
    a_candidate_that_rejects_accepted_commands_is_reported,
    a_candidate_that_cannot_read_a_command_is_reported,
    a_candidate_that_traps_on_a_command_is_reported,
    an_impure_candidate_is_reported,
    a_slow_candidate_is_reported_and_passes,
    a_candidate_with_another_state_form_is_reported_and_passes,
    a_candidate_whose_events_a_projection_cannot_read_is_reported,
    a_policy_defines_which_objections_block,
    a_budget_bounds_a_preflight,
    a_preflight_changes_nothing,
    the_history_records_the_summary_of_a_preflight,
    a_preflight_of_another_plan_activates_nothing,
}

/// The decider that is active.
pub(super) fn active() -> Probe {
    probe("note").event("noted", 1).event("rare", 1)
}

fn note(events: &serde_json::Value) -> Command {
    build::command("note", &events.to_string())
}

/// A host with 40 streams, of whose 120 commands 40 are odd, and one stream of which the
/// first event is rare.
pub(super) async fn filled(place: &Place) -> Host {
    let host = place.host().await;
    examples::deploy(&host, active().component()).await;
    for n in 0..40 {
        let stream = build::stream(&format!("note-{n}"));
        for word in ["plain", "odd", "plain"] {
            let events = json!([["noted", {"n": n, "word": word}]]);
            host.execute(&stream, note(&events)).await.unwrap();
        }
    }
    let rare = build::stream("note-rare");
    for name in ["rare", "noted"] {
        let events = json!([[name, {"word": name}]]);
        host.execute(&rare, note(&events)).await.unwrap();
    }
    host
}

pub(super) async fn upload(host: &Host, component: Vec<u8>) -> Digest {
    host.upload(component).await.unwrap().module.digest()
}

async fn preflight(host: &Host, candidate: &Probe) -> Preflight {
    let digest = upload(host, candidate.component()).await;
    let (policy, scope) = (Policy::default(), Scope::default());
    let found = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
    found.unwrap()
}

/// The objections to a candidate: their kinds and texts.
async fn against(place: &Place, candidate: Probe) -> (Preflight, Vec<(Kind, String)>) {
    let host = filled(place).await;
    let found = preflight(&host, &candidate).await;
    let objections = found.objections.iter();
    let pair = |it: &Objection| (it.kind, it.text.clone());
    let pairs = objections.map(pair).collect();
    (found, pairs)
}

async fn an_equal_candidate_has_no_objections(place: Place) {
    let (found, against) = against(&place, active().version("1.0.1")).await;
    assert_eq!(against, []);
    assert!(found.passes() && found.is_whole());
    assert_eq!((found.name.as_str(), found.plan), ("note", 1));
    assert_eq!(found.categories, ["note"]);
    let tally = found.decided.commands.values().next().unwrap();
    assert_eq!((tally.same, tally.not_the_same()), (122, 0));
    assert!(tally.fuel > 0 && tally.fuel_recorded > 0);
}

async fn a_candidate_for_a_new_category_has_nothing_to_compare(place: Place) {
    let host = filled(&place).await;
    let other = upload(&host, examples::account()).await;
    let (policy, scope) = (Policy::default(), Scope::default());
    let found = host.preflight(other, &policy, &scope, &mut |_| {}).await;
    let found = found.unwrap();
    assert!(found.passes());
    assert_eq!((found.decided.events, found.decided.commands.len()), (0, 0));
}

async fn a_candidate_that_no_longer_declares_a_type_is_reported(place: Place) {
    let candidate = probe("note").event("noted", 1).version("2.0.0");
    let (found, against) = against(&place, candidate).await;
    let unknown = "note events rare of schema version 1, it does not know: 1, the first at";
    assert_eq!(against[0].0, Kind::EventType);
    assert!(against[0].1.starts_with(unknown), "{}", against[0].1);
    // Therefore the stream with this type cannot be folded.
    assert_eq!(against[1].0, Kind::Fold);
    assert!(against[1].1.contains("note-rare"), "{}", against[1].1);
    assert!(!found.passes());
}

async fn a_candidate_that_reads_an_older_version_is_reported(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, probe("note").event("noted", 2).component()).await;
    let stream = build::stream("note-1");
    let events = json!([["noted", {"n": 1}]]);
    host.execute(&stream, note(&events)).await.unwrap();
    let found = preflight(&host, &probe("note").event("noted", 1)).await;
    let objection = &found.objections[0];
    assert_eq!(objection.kind, Kind::EventType);
    let text = "note events noted of schema version 2, of which it reads version 1: 1";
    assert!(objection.text.starts_with(text), "{}", objection.text);
}

async fn a_candidate_that_traps_on_a_rare_event_is_reported(place: Place) {
    let (found, against) = against(&place, active().traps_on_rare()).await;
    assert_eq!(against.len(), 1, "{against:?}");
    assert_eq!(against[0].0, Kind::Fold);
    assert!(
        against[0].1.contains("note-rare at version 1"),
        "{}",
        against[0].1
    );
    assert!(!found.passes());
    // The rest of the log was checked.
    let tally = found.decided.commands.values().next().unwrap();
    assert_eq!((tally.same, tally.undecided), (121, 1));
}

async fn a_candidate_that_decides_differently_is_reported(place: Place) {
    let (found, against) = against(&place, active().decides("other")).await;
    let text = "note note: 40 of 122 come to other events".to_owned();
    assert_eq!(against, [(Kind::Decision, text)]);
    let examples = &found.decided.findings;
    assert_eq!(examples.len(), 10);
    assert_eq!(
        examples[0].text,
        "- noted 1 {\"n\":0,\"word\":\"odd\"}\n+ noted 1 {\"n\":0,\"word\":\"even\"}"
    );
    assert!(!found.passes());
}

async fn a_candidate_that_rejects_accepted_commands_is_reported(place: Place) {
    let (found, against) = against(&place, active().decides("reject")).await;
    let text = "note note: 40 of 122 are rejected".to_owned();
    assert_eq!(against, [(Kind::Rejected, text)]);
    let example = &found.decided.findings[0].text;
    assert!(example.starts_with("it is rejected now: too-odd: it is too odd\n- noted"));
}

async fn a_candidate_that_cannot_read_a_command_is_reported(place: Place) {
    let (_, against) = against(&place, active().decides("bad-command")).await;
    let text = "note note: 40 of 122 can't be read".to_owned();
    assert_eq!(against, [(Kind::Command, text)]);
}

async fn a_candidate_that_traps_on_a_command_is_reported(place: Place) {
    let (found, against) = against(&place, active().decides("trap")).await;
    let text = "note note: 40 of 122 make it fail".to_owned();
    assert_eq!(against, [(Kind::Fault, text)]);
    let tally = found.decided.commands.values().next().unwrap();
    assert_eq!((tally.same, tally.failed), (82, 40));
}

async fn an_impure_candidate_is_reported(place: Place) {
    let (_, against) = against(&place, active().decides("moody")).await;
    let kinds: Vec<_> = against.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&Kind::Impure), "{against:?}");
}

async fn a_slow_candidate_is_reported_and_passes(place: Place) {
    let (found, against) = against(&place, active().decides("slow")).await;
    assert_eq!(against.len(), 1, "{against:?}");
    let (kind, text) = &against[0];
    assert_eq!(*kind, Kind::Fuel);
    assert!(
        text.starts_with("note note takes ") && text.ends_with("times the fuel"),
        "{text}"
    );
    assert!(found.passes());
}

async fn a_candidate_with_another_state_form_is_reported_and_passes(place: Place) {
    let host = filled(&place).await;
    let stream = build::stream("note-1");
    host.snapshot(&stream).await.unwrap();
    let found = preflight(&host, &active().state(2, &[])).await;
    let objection = &found.objections[0];
    assert_eq!(
        (objection.kind, objection.count, objection.blocks),
        (Kind::Snapshot, 1, false)
    );
    assert!(
        objection.text.contains("can't be opened by it"),
        "{}",
        objection.text
    );
    assert!(found.passes());
    let migrating = active().state(2, &[(1, 2)]);
    let found = preflight(&host, &migrating).await;
    // The probe records that its state was migrated, so the state differs.
    assert_eq!(found.objections[0].kind, Kind::Snapshot);
    assert!(found.objections[0].text.contains("say something else"));
}

async fn a_candidate_whose_events_a_projection_cannot_read_is_reported(place: Place) {
    let host = filled(&place).await;
    let sources = json!([{"category": "note", "events": [["noted", 1]]}]);
    let views = probe("views").projection("words", 1, json!({"sources": sources}));
    examples::deploy(&host, views.component()).await;
    let candidate = probe("note").event("noted", 2).event("rare", 1);
    let found = preflight(&host, &candidate).await;
    let objection = found
        .objections
        .iter()
        .find(|it| it.kind == Kind::Projection);
    assert_eq!(
        objection.unwrap().text,
        "its decider writes note events noted of schema version 2; projection words reads \
         version 1"
    );
    assert!(!found.passes());
}

async fn a_policy_defines_which_objections_block(place: Place) {
    let host = filled(&place).await;
    let digest = upload(&host, active().decides("reject").component()).await;
    let passes = async |allowed: &[Kind]| {
        let policy = Policy {
            allowed: allowed.iter().copied().collect(),
        };
        let scope = Scope::default();
        let found = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
        found.unwrap().passes()
    };
    assert!(!passes(&[]).await);
    assert!(!passes(&[Kind::Decision]).await);
    assert!(passes(&[Kind::Rejected]).await);
}

async fn a_budget_bounds_a_preflight(place: Place) {
    let host = filled(&place).await;
    let note = build::stream("other-1");
    for _ in 0..2 {
        let append = build::append(build::events(900));
        host.append(&note, append).await.unwrap();
    }
    let digest = upload(&host, active().version("2.0.0").component()).await;
    let run = async |scope: Scope| {
        let policy = Policy::default();
        let found = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
        found.unwrap()
    };
    let few = run(Scope {
        events: Some(1),
        ..Scope::default()
    });
    let few = few.await;
    assert!(few.passes() && !few.is_whole());
    assert!(few.decided.until < few.decided.head);
    let some = run(Scope {
        sample: Some(5),
        ..Scope::default()
    });
    let some = some.await;
    assert!(some.is_whole() && some.decided.events < 122);
    let none = run(Scope {
        time: Some(std::time::Duration::ZERO),
        ..Scope::default()
    });
    assert_eq!(none.await.decided.events, 0);
    // The budget also applies when everything was read long ago.
    let slow = upload(&host, active().decides("slow").component()).await;
    let (policy, scope) = (
        Policy::default(),
        Scope {
            time: Some(std::time::Duration::from_millis(30)),
            ..Scope::default()
        },
    );
    let found = host.preflight(slow, &policy, &scope, &mut |_| {}).await;
    let found = found.unwrap();
    assert!(found.decided.events < 122 && !found.is_whole());
    assert!(found.decided.until < found.decided.head);
}

async fn a_preflight_changes_nothing(place: Place) {
    let host = filled(&place).await;
    let (head, plan) = (host.log_head().await.unwrap(), host.plan().number);
    preflight(&host, &active().decides("other")).await;
    assert_eq!(
        (host.log_head().await.unwrap(), host.plan().number),
        (head, plan)
    );
    let stream = build::stream("note-7");
    let events = json!([["noted", {"word": "odd"}]]);
    let executed = host.execute(&stream, note(&events)).await.unwrap();
    assert_eq!(
        executed.events[0].body.as_json().unwrap(),
        "{\"word\":\"odd\"}"
    );
    assert!(super::verified(&host).await.is_sound());
}

/// Semantics 10.6.
async fn the_history_records_the_summary_of_a_preflight(place: Place) {
    let host = filled(&place).await;
    let candidate = upload(&host, active().decides("other").component()).await;
    let policy = Policy::allowing(&["decision".to_owned()]).unwrap();
    let scope = Scope::default();
    let mut report = |_| {};
    let found = host.preflight(candidate, &policy, &scope, &mut report);
    let found = found.await.unwrap();
    let keeping = quipu::deploy::ProjectionChanges::default();
    let deployed = host.deploy(
        Deploy::checked(found.clone())
            .projections(keeping.clone())
            .by("ann"),
    );
    let deployed = deployed.await.unwrap();
    assert_eq!((deployed.digest, deployed.plan), (candidate, 2));
    let history = host.deployments().await.unwrap();
    assert_eq!(history[1], deployed);
    assert_eq!(history[0].preflight, None);
    let said = deployed.preflight.unwrap();
    assert_eq!(said, found.summary());
    assert!(said.passes);
    assert_eq!((said.plan, said.until, said.head), (1, 122, 122));
    assert_eq!((said.decided, said.same), (122, 82));
    let [objection] = &said.objections[..] else {
        panic!("{said:?}");
    };
    assert_eq!((objection.kind.as_str(), objection.count), ("decision", 40));
    assert!(!objection.blocks);
}

async fn a_preflight_of_another_plan_activates_nothing(place: Place) {
    let host = filled(&place).await;
    let candidate = upload(&host, active().version("2.0.0").component()).await;
    let (policy, scope) = (Policy::default(), Scope::default());
    let mut report = |_| {};
    let found = host.preflight(candidate, &policy, &scope, &mut report);
    let found = found.await.unwrap();
    examples::deploy(&host, active().version("3.0.0").component()).await;
    let keeping = quipu::deploy::ProjectionChanges::default();
    let refused = host
        .deploy(Deploy::checked(found.clone()).projections(keeping.clone()))
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("made on plan 1, and plan 2"), "{refused}");
    assert_eq!(host.plan().number, 2);
}
