//! Projections: how to show and control them, and how to read their documents.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use quipu_tests::PATIENCE;
use quipu_tests::probe::{Probe, probe};
use serde_json::{Value, json};

use crate::program::{Said, Served, quipu, text};

/// A decider of notes with the projection `notes`, which has a document for each stream.
fn notes(version: u32) -> Probe {
    let indexes = json!([
        {"name": "status", "pointer": "/status", "kind": "text"},
        {"name": "sum", "pointer": "/sum", "kind": "integer"},
    ]);
    let guest = probe("note").event("noted", 1);
    guest.projection("notes", version, json!({"indexes": indexes}))
}

fn served(args: &[&str]) -> Served {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    deploy(&host, &notes(1), args).ok();
    host
}

fn deploy(host: &Served, guest: &Probe, args: &[&str]) -> Said {
    let file = host.path("note.wasm");
    std::fs::write(&file, guest.component()).unwrap();
    let file = text(&file);
    let all = [&["deploy", &file, "--no-preflight"][..], args].concat();
    host.run(&all)
}

/// Appends a note; returns the position of the event.
fn note(host: &Served, stream: &str, body: &Value) -> String {
    let data = json!([["noted", body]]).to_string();
    let noted = host.run(&["execute", stream, "note", &data, "--json"]).ok();
    let noted: Value = serde_json::from_str(&noted).unwrap();
    noted["position"].to_string()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of a table, with one space between cells.
fn rows(table: &str) -> Vec<String> {
    let row = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().map(row).collect()
}

#[test]
fn a_deployment_sets_the_lifecycle_of_projections() {
    let host = served(&["--projection", "notes=inline", "--on-error", "notes=skip"]);
    let said = deploy(&host, &notes(1), &["--on-error", "notes=park"]).ok();
    assert!(
        said.ends_with("\nprojection notes version 1: inline, on error park\n"),
        "{said}"
    );
    let table = rows(&host.run(&["projections"]).ok());
    assert_eq!(table[1], "notes inline park inline 1 0 0 0 0 0");
    deploy(&host, &notes(1), &["--projection", "note=live"]).fails(2, "it has: notes");
    let twice = ["--projection", "notes=live", "--projection", "notes=async"];
    deploy(&host, &notes(1), &twice).fails(2, "given twice");
}

#[test]
fn a_projection_is_shown_in_a_table_and_in_full() {
    let host = served(&[]);
    let position = note(&host, "note-1", &json!({"n": 5}));
    host.run(&["view", "notes", "note-1", "--after", &position])
        .ok();
    let table = rows(&host.run(&["projections"]).ok());
    assert_eq!(
        table[1],
        format!("notes async stop caught-up 1 {position} 0 1 0 0")
    );
    let nothing = host.run(&["projection", "notes", "parked"]).ok();
    assert_eq!(nothing, "no event of notes is parked\n");
    let json = lines(&host.run(&["projections", "--json"]).ok());
    assert_eq!((json.len(), &json[0]["name"]), (1, &json!("notes")));
    let full = rows(&host.run(&["projection", "notes"]).ok());
    assert_eq!(full[0], "notes is caught-up");
    assert!(full.contains(&"build active".to_owned()), "{full:?}");
    let one = lines(&host.run(&["projection", "notes", "--json"]).ok());
    assert_eq!(one[0]["builds"][0]["documents"], 1);
    let status = rows(&host.run(&["status"]).ok());
    assert_eq!(status.last().unwrap(), "notes caught-up 0");
    host.run(&["projection", "books"])
        .fails(1, "`quipu projections` lists");
}

#[test]
fn documents_are_read_by_key_and_found_by_index() {
    let host = served(&[]);
    for (stream, status, n) in [("note-1", "open", 5), ("note-2", "shut", 7)] {
        note(&host, stream, &json!({"status": status, "n": n}));
    }
    let position = note(&host, "note-3", &json!({"status": "open", "n": 9}));
    let one = host
        .run(&["view", "notes", "note-2", "--after", &position])
        .ok();
    assert_eq!(lines(&one)[0]["sum"], 7);
    let keys = |args: &[&str]| {
        let args = [&["view", "notes", "--json"][..], args].concat();
        let found = lines(&host.run(&args).ok());
        let keys: Vec<_> = found
            .iter()
            .map(|it| it["key"].as_str().unwrap().to_owned())
            .collect();
        keys.join(" ")
    };
    assert_eq!(keys(&[]), "note-1 note-2 note-3");
    assert_eq!(
        keys(&["--where", "status=open", "--order", "-sum"]),
        "note-3 note-1"
    );
    assert_eq!(
        keys(&["--where", "status=open", "--where", "sum>5"]),
        "note-3"
    );
    assert_eq!(keys(&["--order", "-$key", "--limit", "2"]), "note-3 note-2");
    assert_eq!(keys(&["--all"]), "note-1 note-2 note-3");
    let table = host.run(&["view", "notes", "--where", "status=shut"]).ok();
    assert!(table.starts_with("note-2  {\"count\":1,"), "{table}");
    host.run(&["view", "notes", "note-9"])
        .fails(1, "no document \"note-9\"");
    host.run(&["view", "notes", "--where", "colour=red"])
        .fails(2, "it has status, sum");
    host.run(&["projection", "notes", "pause"]).ok();
    let late = note(&host, "note-1", &json!({}));
    let stale = [
        "view",
        "notes",
        "note-1",
        "--after",
        &late,
        "--timeout",
        "20",
    ];
    host.run(&stale).fails(1, "not-fresh");
}

#[test]
fn a_rebuild_can_be_waited_for_and_rolled_back() {
    let host = served(&[]);
    note(&host, "note-1", &json!({"n": 5}));
    let rebuild = ["projection", "notes", "rebuild", "--hold", "--wait"];
    let said = host.run(&rebuild).ok();
    assert!(
        said.contains("is ready; `quipu projection notes switch`"),
        "{said}"
    );
    let table = host.run(&["projections"]).ok();
    assert!(table.contains("version 1 is ready to take over"), "{table}");
    let full = host.run(&["projection", "notes"]).ok();
    assert!(
        full.contains("`quipu projection notes switch` lets it take over"),
        "{full}"
    );
    host.run(&["projection", "notes", "switch"]).ok();
    let watched = host.run(&["projection", "notes", "watch"]).ok();
    assert!(watched.contains("version 1 of notes has "), "{watched}");
    host.run(&["projection", "notes", "rollback"]).ok();
    host.run(&["projection", "notes", "drop"]).ok();
    host.run(&["projection", "notes", "drop"])
        .fails(1, "projection-refused");
    let again = ["projection", "notes", "rebuild", "--wait", "--json"];
    let view = lines(&host.run(&again).ok());
    assert_eq!(view[0]["builds"][0]["state"], "caught-up");
}

#[test]
fn parked_events_are_listed_and_dropped() {
    let host = served(&["--on-error", "notes=park"]);
    note(&host, "note-1", &json!({"bad": {"apply": "bad-event"}}));
    note(&host, "note-1", &json!({"n": 1}));
    let position = note(&host, "note-2", &json!({"n": 1}));
    host.run(&["view", "notes", "note-2", "--after", &position])
        .ok();
    let table = rows(&host.run(&["projection", "notes", "parked"]).ok());
    assert_eq!(table.len(), 3);
    assert!(table[1].starts_with("document note-1 1 "), "{table:?}");
    assert!(table[2].ends_with("waits for the one before"), "{table:?}");
    let one = ["--document", "note-1", "--position", "2"];
    let shown = host.run(&[&["projection", "notes", "parked"], &one[..]].concat());
    let shown = rows(&shown.ok());
    assert!(shown[1].starts_with("document note-1 2 "), "{shown:?}");
    assert_eq!(shown[shown.len() - 2..], ["noted version 1", "{\"n\":1}"]);
    let json = ["projection", "notes", "parked", "--json"];
    let json = lines(&host.run(&[&json, &one[..]].concat()).ok());
    assert_eq!(
        (json.len(), &json[0]["position"], &json[0]["event"]["data"]),
        (1, &json!(2), &json!({"n": 1}))
    );
    host.run(&[&["projection", "notes", "retry-parked"], &one[..]].concat())
        .fails(1, "wait those at 1;");
    host.run(&["projection", "notes", "parked", "--position", "2"])
        .fails(2, "--position goes with --document or --stream");
    host.run(&["projection", "notes", "pause", "--document", "a"])
        .fails(2, "go with parked, retry-parked and drop-parked");
    let drop = ["projection", "notes", "drop-parked", "--reason", "a typo"];
    let other = [&drop[..], &["--document", "note-2"]].concat();
    host.run(&other).fails(1, "projection-refused");
    host.run(&[&drop[..], &["--document", "note-1"]].concat())
        .ok();
    let skipped = [
        "projection",
        "notes",
        "skipped",
        "--build",
        "active",
        "--json",
    ];
    let skipped = lines(&host.run(&skipped).ok());
    assert_eq!(
        (skipped.len(), &skipped[0]["reason"]),
        (2, &json!("a typo"))
    );
    assert_eq!(
        host.run(&["projection", "notes", "parked", "--json"]).ok(),
        ""
    );
}

#[test]
fn a_stopped_projection_shows_the_event_and_a_hint() {
    let host = served(&[]);
    note(&host, "note-1", &json!({"bad": {"apply": "trap"}}));
    host.run(&["projection", "notes", "watch"])
        .fails(1, "version 1 of notes has stopped");
    let full = host.run(&["projection", "notes"]).ok();
    let full = rows(&full).join("\n");
    for said in [
        "the active build has stopped",
        "stream note-1",
        "notes resume`",
    ] {
        assert!(full.contains(said), "{said}\n{full}");
    }
}

#[test]
fn a_stream_is_folded_live() {
    let host = served(&["--projection", "notes=live"]);
    note(&host, "note-1", &json!({"n": 5}));
    let all = host.run(&["view", "notes", "--live", "note-1"]).ok();
    assert!(all.starts_with("note-1  {\"count\":1,"), "{all}");
    let live = ["view", "notes", "note-1", "--live", "note-1", "--json"];
    assert_eq!(lines(&host.run(&live).ok())[0]["sum"], 5);
    host.run(&["view", "notes", "x", "--live", "note-1"])
        .fails(1, "make no document");
    host.run(&["view", "notes", "note-1"]).fails(1, "is live");
    let shown = host.run(&["projection", "notes"]).ok();
    assert!(shown.contains("--live STREAM"), "{shown}");
}

#[test]
fn changes_are_followed() {
    let host = served(&[]);
    note(&host, "note-1", &json!({"n": 5}));
    let mut command = quipu(&["view", "notes", "--follow", "--json"]);
    command.env("QUIPU_URL", &host.url).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next()["document"]["sum"], 5);
    note(&host, "note-1", &json!({"n": 2}));
    assert_eq!(next()["document"]["sum"], 7);
    note(&host, "note-1", &json!({"delete": true}));
    assert_eq!(next()["document"], Value::Null);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_projection_that_fails_on_every_event_logs_a_line_per_cause() {
    const EVENTS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[projections]\nattempts = 1\n").unwrap();
    let host = Served::start_in(dir, &["--config", &text(&config)]);
    deploy(&host, &notes(1), &["--on-error", "notes=skip"]).ok();
    // Two causes: the one by turns with the other.
    let bad = |n: usize| match n % 2 {
        0 => json!(["noted", {"n": 1, "bad": {"apply": "trap"}}]),
        _ => json!(["noted", {"n": 1, "bad": {"apply": "bad-event"}}]),
    };
    let data = json!((0..EVENTS).map(bad).collect::<Vec<_>>()).to_string();
    host.run(&["execute", "note-1", "note", &data]).ok();
    let begun = Instant::now();
    loop {
        let skipped = host.run(&["projection", "notes", "skipped", "--json"]).ok();
        if lines(&skipped).len() == EVENTS {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{skipped}");
    }
    host.signal("TERM");
    let (said, _dir) = host.ended();
    let of_projection = said
        .err
        .lines()
        .filter(|line| line.contains("projection=\"notes\""));
    let lines: Vec<&str> = of_projection
        .filter(|line| line.contains("parked or skipped"))
        .collect();
    // One for each cause in a minute; the test may last longer than one on a busy machine.
    assert!((2..=8).contains(&lines.len()), "{}", said.err);
    assert!(said.err.lines().count() < EVENTS, "{}", said.err);
}
