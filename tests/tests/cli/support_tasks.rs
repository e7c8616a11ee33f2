//! Questions of supporters, answered in at most four steps. A step knows only what the question or an
//! earlier step said.

use std::cell::Cell;
use std::time::Instant;

use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::{Value, json};

use crate::program::{Said, Served, text};

on_every_store!(
    why_was_my_command_rejected_and_what_was_the_state,
    what_happened_to_this_stream,
    does_the_host_show_what_was_written,
);

/// Most steps of a task.
const STEPS_MAX: usize = 4;

/// One task at a host.
struct Task<'a> {
    host: &'a Served,
    steps: Cell<usize>,
}

impl<'a> Task<'a> {
    fn at(host: &'a Served) -> Self {
        let steps = Cell::new(0);
        Self { host, steps }
    }

    fn step(&self, args: &[&str]) -> Said {
        self.steps.set(self.steps.get() + 1);
        assert!(self.steps.get() <= STEPS_MAX, "too many steps: {args:?}");
        self.host.run(args)
    }

    /// The lines that a step printed for programs.
    fn ask(&self, args: &[&str]) -> Vec<Value> {
        let said = self.step(&[args, &["--json"]].concat()).ok();
        let lines = said.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}

fn member(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer).unwrap_or(&Value::Null) {
        Value::String(text) => text.clone(),
        Value::Null => panic!("no {pointer}: {value}"),
        other => other.to_string(),
    }
}

/// An account that was opened, and a withdrawal from it that was rejected.
fn bank() -> Served {
    filled(Served::start())
}

fn filled(host: Served) -> Served {
    let open = [
        "execute",
        "account-1",
        "open",
        r#"{"owner":"ann"}"#,
        "--id",
        "o-1",
    ];
    host.run(&open).ok();
    let deposit = [
        "execute",
        "account-1",
        "deposit",
        r#"{"amount":5}"#,
        "--id",
        "d-1",
    ];
    host.run(&deposit).ok();
    let withdraw = [
        "execute",
        "account-1",
        "withdraw",
        r#"{"amount":9}"#,
        "--id",
        "w-1",
    ];
    assert_eq!(host.run(&withdraw).code, 3);
    let deposit = [
        "execute",
        "account-1",
        "deposit",
        r#"{"amount":7}"#,
        "--id",
        "d-2",
    ];
    host.run(&deposit).ok();
    // A rejection is stored a little later than it is answered.
    let begun = Instant::now();
    while host.run(&["rejections", "--json"]).ok().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the rejection was never stored");
    }
    host
}

async fn why_was_my_command_rejected_and_what_was_the_state(place: Place) {
    let host = filled(Served::start_on(&place, ""));
    let task = Task::at(&host);
    let traced = &task.ask(&["trace", "w-1"])[0];
    let (stream, version) = (
        member(traced, "/entries/0/stream"),
        member(traced, "/entries/0/version"),
    );
    assert_eq!(member(traced, "/entries/0/rejection"), "insufficient-funds");
    let category = stream.split('-').next().unwrap();
    let rejected = &task.ask(&["rejections", category])[0];
    assert_eq!(member(rejected, "/command_id"), "w-1");
    assert_eq!(member(rejected, "/details/balance"), "5");
    let met = &task.ask(&["stream", &stream, "--state", "--at-version", &version])[0];
    assert_eq!(member(met, "/state/balance"), "5");
    let module = member(rejected, "/module");
    let deployed = task.ask(&["deployments"]);
    let rule = deployed.iter().find(|it| it["digest"] == module.as_str());
    assert_eq!(member(rule.unwrap(), "/name"), "account");
}

async fn what_happened_to_this_stream(place: Place) {
    let host = filled(Served::start_on(&place, ""));
    // What was rejected on another stream of the category is not part of the answer.
    let other = ["execute", "account-2", "withdraw", r#"{"amount":1}"#];
    assert_eq!(host.run(&other).code, 3);
    let task = Task::at(&host);
    let events = task.ask(&["stream", "account-1"]);
    let rejected = task.ask(&["rejections", "--stream", "account-1"]);
    let of_event = |it: &Value| (member(it, "/version"), member(it, "/type"));
    let of_rejected = |it: &Value| (member(it, "/version"), member(it, "/code"));
    let mut happened: Vec<_> = events.iter().map(of_event).collect();
    happened.extend(rejected.iter().map(of_rejected));
    // A rejection is after the event of the version at which it was decided.
    happened.sort_by(|(one, _), (other, _)| one.cmp(other));
    let expected = [
        ("1", "opened"),
        ("2", "deposited"),
        ("2", "insufficient-funds"),
        ("3", "deposited"),
    ];
    let expected = expected.map(|(version, what)| (version.to_owned(), what.to_owned()));
    assert_eq!(happened, expected);
    let now = &task.ask(&["stream", "account-1", "--state"])[0];
    assert_eq!(member(now, "/state/balance"), "12");
    let last = member(&events[2], "/position");
    let cause = &task.ask(&["trace", &last])[0];
    assert_eq!(member(cause, "/entries/0/command_id"), "d-2");
}

#[test]
fn was_my_command_executed_and_only_once() {
    let host = bank();
    let task = Task::at(&host);
    let traced = &task.ask(&["trace", "d-1"])[0];
    let entries = traced["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{traced}");
    let position = member(&entries[0], "/position");
    let event = &task.ask(&["event", &position])[0];
    assert_eq!(member(event, "/command/data/amount"), "5");
}

#[test]
fn which_deployment_decided_this_event() {
    let host = bank();
    let task = Task::at(&host);
    let event = &task.ask(&["event", "2"])[0];
    let (module, plan) = (
        member(event, "/commit/module"),
        member(event, "/commit/plan"),
    );
    let deployed = task.ask(&["deployments"]);
    let by = deployed.iter().find(|it| it["digest"] == module.as_str());
    assert!(
        by.is_some_and(|it| it["active"] == true),
        "{plan}: {deployed:?}"
    );
}

#[test]
fn what_was_the_state_at_that_time_and_what_changed_since() {
    let host = bank();
    let task = Task::at(&host);
    let events = task.ask(&["stream", "account-1"]);
    let then = member(&events[1], "/recorded_at");
    let past = &task.ask(&["stream", "account-1", "--state", "--at-time", &then])[0];
    assert_eq!(member(past, "/state/balance"), "5");
    let now = &task.ask(&["stream", "account-1", "--state"])[0];
    assert_eq!(member(now, "/state/balance"), "12");
}

#[test]
fn would_this_command_be_accepted_now() {
    let host = bank();
    let task = Task::at(&host);
    let withdraw = [
        "execute",
        "account-1",
        "withdraw",
        r#"{"amount":12}"#,
        "--dry-run",
    ];
    let preview = &task.ask(&withdraw)[0];
    assert_eq!(member(preview, "/state_after/balance"), "0");
    let events = task.ask(&["stream", "account-1"]);
    assert_eq!(events.len(), 3);
}

fn guest(version: &str, other: Value) -> Probe {
    probe("note")
        .event("noted", 1)
        .version(version)
        .projection("notes", 1, other)
}

fn deploy(host: &Served, guest: &Probe) {
    let file = host.path("note.wasm");
    std::fs::write(&file, guest.component()).unwrap();
    let park = ["--no-preflight", "--on-error", "notes=park"];
    host.run(&[&["deploy", &text(&file)][..], &park].concat())
        .ok();
}

/// Waits until so many events are parked.
fn until_parked(host: &Served, count: usize) {
    let begun = Instant::now();
    loop {
        let parked = host.run(&["projection", "notes", "parked", "--json"]).ok();
        if parked.lines().count() == count {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{parked}");
    }
}

#[test]
fn a_projection_lacks_an_event_find_it_and_have_it_folded() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    deploy(&host, &guest("1.0.0", json!({"keys": "body"})));
    let bad = json!([["noted", {"keys": ["a"], "bad": {"apply": "bad-event", "key": "a"}}]]);
    host.run(&["execute", "note-1", "note", &bad.to_string()])
        .ok();
    until_parked(&host, 1);
    let task = Task::at(&host);
    let status = task.ask(&["projections"]);
    let name = member(&status[0], "/name");
    let parked = task.ask(&["projection", &name, "parked"]);
    let event = &task.ask(&["event", &member(&parked[0], "/position")])[0];
    assert_eq!(member(event, "/stream"), "note-1");
    // A developer mends the component.
    deploy(
        &host,
        &guest("1.0.1", json!({"keys": "body", "does": "heal"})),
    );
    task.step(&["projection", &name, "retry-parked"]).ok();
    until_parked(&host, 0);
}

#[test]
fn who_archived_this_stream_and_why_can_it_not_be_changed() {
    let host = bank();
    host.run(&["archive", "account-1"]).ok();
    let task = Task::at(&host);
    let deposit = ["execute", "account-1", "deposit", r#"{"amount":1}"#];
    task.step(&deposit).fails(1, "archived");
    let archived = task.ask(&["streams", "--archived", "only"]);
    assert_eq!(member(&archived[0], "/stream"), "account-1");
    let records = task.ask(&["audit"]);
    let archiving = records.iter().find(|it| it["operation"] == "archive");
    assert!(archiving.is_some(), "{records:?}");
}

async fn does_the_host_show_what_was_written(place: Place) {
    let host = filled(Served::start_on(&place, ""));
    let task = Task::at(&host);
    let stored = &task.ask(&["verify", "--digests"])[0];
    let decided = &task.ask(&["verify"])[0];
    for verified in [stored, decided] {
        assert_eq!(member(verified, "/findings"), "[]", "{verified}");
    }
    task.step(&["audit", "--verify"]).ok();
}
