//! Deciding the history again.

use serde_json::Value;

use crate::program::{Served, quipu, said};

/// A host with an account at version 3.
fn account() -> Served {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    for amount in ["{\"amount\":5}", "{\"amount\":7}"] {
        host.run(&["execute", "account-1", "deposit", amount]).ok();
    }
    host
}

#[test]
fn a_sound_history_ends_with_success() {
    let host = account();
    let out = host.run(&["verify"]).ok();
    let first = "3 events up to position 3: 3 decisions made again, 3 the same";
    assert_eq!(out.lines().next().unwrap(), first);
    let json: Value = serde_json::from_str(&host.run(&["verify", "--json"]).ok()).unwrap();
    assert_eq!((&json["sound"], &json["events"]), (&true.into(), &3.into()));
    let out = host
        .run(&["verify", "--category", "loan", "--sample", "3"])
        .ok();
    assert!(
        out.starts_with("0 events up to position 3: 0 decisions"),
        "{out}"
    );
    host.run(&["verify", "--category", "No"])
        .fails(2, "category");
    host.run(&["verify", "--sample", "0"]).fails(2, "--sample");
}

#[test]
fn an_event_that_was_changed_in_an_export_is_found() {
    let file = account().run(&["export"]).ok();
    // The command stands before it in its line.
    let (before, behind) = file.rsplit_once(r#""data":{"amount":7}"#).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":8}}{behind}"#);
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run_with(&["import"], &changed).ok();
    let told = host.run(&["verify"]);
    assert_eq!(told.code, 1);
    assert!(
        told.err.contains("the history is not sound: 1 finding"),
        "{}",
        told.err
    );
    for line in [
        "decision: position 3, account-1 version 3",
        "  - deposited 1 {\"amount\":8}",
        "  + deposited 1 {\"amount\":7}",
    ] {
        assert!(told.out.lines().any(|told| told == line), "{}", told.out);
    }
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let command = quipu(&["verify", "--url", "http://127.0.0.1:1"]).output();
    said(&command.unwrap()).fails(1, "http://127.0.0.1:1");
}
