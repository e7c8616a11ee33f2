//! Checking a module before it is activated, and rolling back to the previous one.

use quipu_tests::probe::{Probe, probe};
use serde_json::Value;

use crate::program::{Served, text};

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

fn file(host: &Served, name: &str, component: &Probe) -> String {
    let file = host.path(name).with_extension("wasm");
    std::fs::write(&file, component.component()).unwrap();
    text(&file)
}

/// A host on which the decider has decided two commands, one of them odd.
fn notes() -> Served {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run(&["deploy", &file(&host, "first", &decider())])
        .ok();
    for word in ["plain", "odd"] {
        let events = format!("[[\"noted\", {{\"word\": \"{word}\"}}]]");
        host.run(&["execute", "note-1", "note", &events]).ok();
    }
    host
}

#[test]
fn a_preflight_shows_the_decisions_that_would_differ() {
    let host = notes();
    let other = file(&host, "other", &decider().decides("other"));
    let output = host.run(&["preflight", &other]);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("the preflight fails"), "{}", output.err);
    for line in [
        "2 events, up to position 2 of 2",
        "blocks: decision: note note: 1 of 2 come to other events",
        "decision: position 2, note-1 version 2",
        "  - noted 1 {\"word\": \"odd\"}",
        "  + noted 1 {\"word\": \"even\"}",
    ] {
        assert!(
            output.out.lines().any(|it| it == line),
            "{line}\n{}",
            output.out
        );
    }
    let out = host.run(&["preflight", &other, "--allow", "decision"]).ok();
    assert!(
        out.contains("allowed: decision: note note: 1 of 2"),
        "{out}"
    );
    let same = file(&host, "same", &decider().version("1.0.1"));
    let out = host
        .run(&["preflight", &same, "--sample", "5", "--events", "9"])
        .ok();
    assert!(out.contains("nothing speaks against it"), "{out}");
    let json = host.run(&["preflight", &same, "--json"]).ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["passes"], &json["name"]),
        (&true.into(), &"note".into())
    );
    let new = file(&host, "new", &decider().version("1.0.2").event("added", 1));
    let line = "note    note: readers: event added is new";
    let out = host.run(&["preflight", &new]).ok();
    assert!(out.lines().any(|it| it == line), "{out}");
    let output = host.run(&["deploy", &new]);
    assert!(output.err.lines().any(|it| it == line), "{}", output.err);
    let old = file(&host, "old", &decider().version("1.0.3"));
    let line =
        "breaks  note: readers: event added is removed, and no alias or step reads stored ones";
    let output = host.run(&["deploy", &old]);
    assert!(output.err.lines().any(|it| it == line), "{}", output.err);
    output.ok();
    host.run(&["preflight", &same, "--allow", "all"])
        .fails(2, "there is no kind of finding");
}

#[test]
fn a_blocked_deployment_changes_nothing() {
    let host = notes();
    let other = file(&host, "other", &decider().decides("reject"));
    let refused = host.run(&["deploy", &other]);
    for said in [
        "blocks: rejected: note note: 1 of 2 are rejected",
        "nothing was activated",
    ] {
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    refused.fails(1, "--no-preflight");
    assert!(!host.run(&["deployments"]).ok().contains("plan 2"));
    let deployed = host.run(&["deploy", &other, "--allow", "rejected"]);
    assert!(
        deployed.err.contains("allowed: rejected: note note"),
        "{}",
        deployed.err
    );
    assert!(deployed.ok().starts_with("plan 2: note"));
    let back = host.run(&["rollback", "note"]).ok();
    assert!(back.starts_with("plan 3: note is active again, "), "{back}");
    let again = host
        .run(&["rollback", "note", "--no-preflight", "--json"])
        .ok();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["plan"], 4);
    host.run(&["rollback", "nobody"])
        .fails(1, "no other module was active before");
}
