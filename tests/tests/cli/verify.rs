//! Verifying the history.

use quipu_tests::digests;
use quipu_tests::probe::probe;
use serde_json::{Value, json};

use crate::program::{Served, quipu, said, text};

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
fn verifying_a_sound_history_succeeds() {
    let host = account();
    let out = host.run(&["verify"]).ok();
    let first = "3 events up to position 3: 3 commands re-decided, 3 the same";
    assert_eq!(out.lines().next().unwrap(), first);
    let json: Value = serde_json::from_str(&host.run(&["verify", "--json"]).ok()).unwrap();
    assert_eq!((&json["sound"], &json["events"]), (&true.into(), &3.into()));
    let out = host
        .run(&["verify", "--category", "loan", "--sample", "3"])
        .ok();
    assert!(
        out.starts_with("0 events up to position 3: 0 commands"),
        "{out}"
    );
    host.run(&["verify", "--category", "No"])
        .fails(2, "category");
    host.run(&["verify", "--sample", "0"]).fails(2, "--sample");
}

#[test]
fn an_event_that_was_changed_in_an_export_is_found_by_verify() {
    let file = account().run(&["export"]).ok();
    // The command precedes the event in its line.
    let (before, after) = file.rsplit_once(r#""data":{"amount":7}"#).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":8}}{after}"#);
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run_with(&["import"], &changed)
        .fails(2, "does not have its digest");
    host.run_with(&["import"], &digests::without(&changed)).ok();
    let output = host.run(&["verify"]);
    assert_eq!(output.code, 1);
    assert!(
        output.err.contains("the history is not sound: 1 finding"),
        "{}",
        output.err
    );
    for line in [
        "decision: position 3, account-1 version 3",
        "  - deposited 1 {\"amount\":8}",
        "  + deposited 1 {\"amount\":7}",
    ] {
        assert!(output.out.lines().any(|it| it == line), "{}", output.out);
    }
}

#[test]
fn a_finding_is_acknowledged_listed_and_withdrawn() {
    let file = account().run(&["export"]).ok();
    let (before, after) = file.rsplit_once(r#""data":{"amount":7}"#).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":8}}{after}"#);
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run_with(&["import"], &digests::without(&changed)).ok();
    let name = "decision:account-1@3";
    let output = host.run(&["verify"]);
    let line = format!("  name {name}");
    assert!(output.out.lines().any(|it| it == line), "{}", output.out);
    let none = host.run(&["verify", "--acknowledged"]).ok();
    assert_eq!(none, "no finding is acknowledged\n");
    let acknowledge = ["verify", "--acknowledge", name, "--reason", "it is known"];
    let output = host.run(&acknowledge).ok();
    assert_eq!(output, format!("{name} is acknowledged\n"));
    let output = host.run(&["verify"]).ok();
    for line in [
        "1 finding is acknowledged",
        "decision: position 3, account-1 version 3 (acknowledged)",
    ] {
        assert!(output.lines().any(|it| it == line), "{output}");
    }
    let json: Value = serde_json::from_str(&host.run(&["verify", "--json"]).ok()).unwrap();
    assert_eq!(json["sound"], true);
    assert_eq!(
        (&json["found"], &json["acknowledged"]),
        (&1.into(), &1.into())
    );
    assert_eq!(json["findings"][0]["weight"], "acknowledged");
    let list = host.run(&["verify", "--acknowledged"]).ok();
    let lines: Vec<Vec<&str>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert_eq!(lines[0][0], "finding");
    assert_eq!(lines[1][0], name);
    assert!(list.ends_with("Z  -   it is known\n"), "{list}");
    let list = host.run(&["verify", "--acknowledged", "--json"]).ok();
    let listed: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&listed["finding"], &listed["by"]),
        (&name.into(), &Value::Null)
    );
    host.run(&["verify", "--withdraw", name]).ok();
    host.run(&["verify", "--withdraw", name])
        .fails(1, "is not acknowledged");
    assert_eq!(host.run(&["verify"]).code, 1);
    host.run(&["verify", "--acknowledge", name])
        .fails(2, "--reason");
    host.run(&["verify", "--acknowledge", "x", "--reason", "y"])
        .fails(2, "no kind before a colon");
    host.run(&["verify", "--acknowledged", "--sample", "3"])
        .fails(2, "cannot be used");
}

#[test]
fn digests_are_checked_without_deciding() {
    let host = account();
    let out = host.run(&["verify", "--digests"]).ok();
    let expected = "3 events up to position 3\n\
        digests: 3 commits agree, 0 have none; 2 modules and 0 snapshots agree\n\
        audit: 4 records agree\n";
    assert_eq!(out, expected);
    let json = host.run(&["verify", "--digests", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["sound"], &json["commands"]),
        (&true.into(), &json!([]))
    );
    assert_eq!(
        json["digests"],
        json!({
            "proved": 3,
            "unproved": 0,
            "modules": 2,
            "snapshots": 0,
            "documents": 0,
            "unproved_documents": 0,
            // Two components that were uploaded and activated, and the first verification.
            "audit": 5,
        })
    );
    host.run(&["verify", "--digests", "--projections"])
        .fails(2, "--projections");
}

#[test]
fn documents_are_compared_in_a_table() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let long = "p".repeat(48);
    let guest = probe("note")
        .event("noted", 1)
        .projection("notes", 1, json!({}))
        .projection(&long, 1, json!({}));
    let file = host.path("note.wasm");
    std::fs::write(&file, guest.component()).unwrap();
    host.run(&["deploy", &text(&file)]).ok();
    for stream in ["note-1", "note-2", "note-1"] {
        let data = json!([["noted", {"n": 1}]]).to_string();
        host.run(&["execute", stream, "note", &data]).ok();
    }
    host.run(&[
        "view",
        "notes",
        "note-1",
        "--after",
        "3",
        "--timeout",
        "20000",
    ])
    .ok();
    let output = host.run_in(80, &["verify", "--projections"]).ok();
    let narrow = output.lines().find(|line| line.starts_with("ppp")).unwrap();
    assert!(narrow.starts_with(&long) && narrow.len() <= 80, "{output}");
    let output = host.run(&["verify", "--projections"]).ok();
    let table: Vec<&str> = output
        .lines()
        .skip_while(|line| !line.starts_with("projection "))
        .take_while(|line| !line.is_empty())
        .collect();
    let headings: Vec<&str> = table[0].split_whitespace().collect();
    assert_eq!(
        headings,
        ["projection", "same", "different", "parked", "position"]
    );
    assert_eq!(table.len(), 3);
    assert!(table[2].starts_with(&long), "{output}");
    let notes: Vec<&str> = table[1].split_whitespace().collect();
    assert_eq!(notes, ["notes", "2", "0", "0", "3"]);
    let out = host.run(&["verify", "--projections", "--json"]).ok();
    let json: Value = serde_json::from_str(&out).unwrap();
    let projections = json["projections"].as_array().unwrap();
    assert_eq!(projections.len(), table.len() - 1);
    assert!(
        projections
            .iter()
            .all(|it| it["complete"] == true && it["different"] == 0)
    );
}

#[test]
fn an_unreachable_host_is_named() {
    let command = quipu(&["verify", "--url", "http://127.0.0.1:1"]).output();
    said(&command.unwrap()).fails(1, "http://127.0.0.1:1");
}
