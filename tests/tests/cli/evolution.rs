//! Events of an older generation, past states, truncation, snapshots, types, status.

use quipu_tests::{PATIENCE, examples, guest};
use serde_json::{Value, json};

use crate::program::{Served, run, text};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A host with a loan written by the first generation, whose decider is the second generation.
fn loan() -> Served {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    for (name, data) in [
        ("application-submitted", "{\"amount\": 5000}"),
        ("application-partly-submitted", "{}"),
        ("application-preaccepted", "{}"),
        ("application-approved", "{\"amount\":4000}"),
    ] {
        host.run(&["append", "loan-1", name, data]).ok();
    }
    deploy(&host, "loan-v2", &examples::loan_v2());
    host
}

fn deploy(host: &Served, name: &str, component: &[u8]) {
    let file = host.path(name).with_extension("wasm");
    std::fs::write(&file, component).unwrap();
    host.run(&["deploy", &text(&file), "--no-preflight"]).ok();
}

/// A host with an account at version 4 and a balance of 3.
fn account() -> Served {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    for _ in 0..3 {
        host.run(&["execute", "account-1", "deposit", "{\"amount\":1}"])
            .ok();
    }
    host
}

/// The lines of a table, with one space between cells.
fn rows(table: &str) -> Vec<String> {
    let row = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().map(row).collect()
}

#[test]
fn events_are_lifted_unless_requested_as_stored() {
    let host = loan();
    for args in [&["stream", "loan-1", "--json"][..], &["events", "--json"]] {
        let lifted = json_lines(&host.run(args).ok());
        let names: Vec<_> = lifted.iter().map(|event| event["type"].clone()).collect();
        assert_eq!(names.len(), 5);
        assert_eq!(
            (&names[1], &names[4]),
            (&json!("application-checked"), &json!("credit-granted"))
        );
        assert_eq!(
            (&lifted[4]["part"], &lifted[4]["version"]),
            (&json!(1), &json!(4))
        );
        let stored = json_lines(&host.run(&[args, &["--stored"]].concat()).ok());
        assert_eq!(stored.len(), 4);
        assert_eq!(stored[1]["type"], "application-partly-submitted");
        assert_eq!(stored[1].get("stored_as"), None);
    }
    let table = host.run(&["events", "--stored"]).ok();
    assert!(
        table.contains("application-submitted         {\"amount\": 5000}"),
        "{table}"
    );
    let limited = host.run(&["events", "--backward", "--limit", "2"]).ok();
    assert_eq!(limited.lines().count(), 3, "{limited}");
    run(&["stream", "loan-1", "--stored", "--state"]).fails(2, "cannot be used");
}

#[test]
fn following_counts_the_parts_of_a_split_event_as_one_event() {
    let host = loan();
    let follow = [
        "events", "--follow", "--json", "--after", "2", "--limit", "2",
    ];
    let lifted = json_lines(&host.run(&follow).ok());
    let positions: Vec<_> = lifted
        .iter()
        .map(|event| event["position"].clone())
        .collect();
    assert_eq!(positions, [3, 4, 4]);
    let stored = host.run(&[&follow[..], &["--stored"]].concat()).ok();
    let stored = json_lines(&stored);
    assert_eq!(
        (stored.len(), &stored[1]["data"]),
        (2, &json!({"amount": 4000}))
    );
}

#[test]
fn one_event_is_shown_as_stored_and_as_lifted() {
    let host = loan();
    let approved = host.run(&["event", "4"]).ok();
    let (stored, lifted) = approved.split_once("\nlifted to\n").unwrap();
    assert!(stored.ends_with("\n{\"amount\":4000}\n"), "{stored}");
    assert_eq!(
        rows(lifted),
        [
            "application-approved 2 {}",
            "credit-granted 1 {\"credit\":{\"units\":4000,\"currency\":\"EUR\"}}"
        ]
    );
    let upcaster = guest::component_of("note-lifter", "upcaster-guest");
    deploy(&host, "notes", &upcaster);
    for name in ["kept", "noted", "broken"] {
        host.run(&["append", "note-1", name]).ok();
    }
    let event = host.run(&["event", "5"]).ok();
    assert!(
        event.ends_with("\n{}\n") && !event.contains("lifted"),
        "{event}"
    );
    let dropped = host.run(&["event", "6"]).ok();
    assert!(
        dropped.ends_with("it is dropped by an upcaster\n"),
        "{dropped}"
    );
    let broken = host.run(&["event", "7"]).ok();
    assert!(broken.contains("it can't be lifted: "), "{broken}");
    host.run(&["stream", "note-1"]).fails(1, "--stored");
    assert_eq!(
        host.run(&["stream", "note-1", "--stored"])
            .ok()
            .lines()
            .count(),
        3
    );
}

#[test]
fn a_past_state_is_shown() {
    let host = account();
    let state = |args: &[&str]| {
        let args = [&["stream", "account-1", "--state"][..], args].concat();
        host.run(&args)
    };
    let balance = |args: &[&str]| {
        let state = json_lines(&state(&[args, &["--json"]].concat()).ok());
        (
            state[0]["version"].clone(),
            state[0]["state"]["balance"].clone(),
        )
    };
    assert_eq!(balance(&["--at-version", "3"]), (json!(3), json!(2)));
    assert_eq!(balance(&["--at-version", "0"]), (json!(0), json!(0)));
    assert_eq!(
        balance(&["--at-time", "2001-01-01T00:00:00+01:00"]),
        (json!(0), json!(0))
    );
    assert_eq!(
        balance(&["--at-time", "2999-01-01T00:00:00Z"]),
        (json!(4), json!(3))
    );
    let text = state(&["--at-version", "2"]).ok();
    assert!(text.starts_with("account-1 at version 2\n{\n"), "{text}");
    let modules = json_lines(&host.run(&["deployments", "account", "--json"]).ok());
    let digest = modules[0]["digest"].as_str().unwrap();
    let text = state(&["--module", digest]).ok();
    assert!(
        text.starts_with(&format!("account-1 at version 4 by {digest}\n")),
        "{text}"
    );

    state(&["--at-version", "5"]).fails(2, "version 5");
    state(&["--at-time", "yesterday"]).fails(2, "2026-01-31T12:00:00Z");
    state(&["--module", "abc"]).fails(2, "64 hexadecimal digits");
    state(&["--module", &"0".repeat(64)]).fails(1, "module-not-found");
    for args in [
        ["--at-version", "1"],
        ["--at-time", "2026-01-31T12:00:00Z"],
        ["--module", "a"],
    ] {
        run(&[&["stream", "account-1"][..], &args].concat()).fails(2, "--state");
    }
    run(&[
        "stream",
        "a-1",
        "--state",
        "--at-version",
        "1",
        "--at-time",
        "x",
    ])
    .fails(2, "cannot be used");
    run(&["stream", "a-1", "--state", "--at-version=-1"]).fails(2, "--at-version");
}

#[test]
fn a_stream_is_truncated_and_restored() {
    let host = account();
    let done = host.run(&["truncate", "account-1", "--before", "3"]).ok();
    assert_eq!(
        done,
        "account-1 is truncated before version 3 at position 5\n"
    );
    let read = host.run(&["stream", "account-1"]);
    assert!(
        read.err
            .contains("truncated: events before version 3 are in the log only"),
        "{}",
        read.err
    );
    assert_eq!(read.ok().lines().count(), 2);
    let rest = host.run(&["stream", "account-1", "--from", "3"]);
    assert_eq!(rest.err, "");
    let streams = host.run(&["streams", "--category", "account"]).ok();
    let listed = rows(&streams);
    assert!(
        listed[0].ends_with("archived truncated before"),
        "{streams}"
    );
    assert!(listed[1].ends_with("Z 3"), "{streams}");
    host.run(&["execute", "account-1", "withdraw", "{\"amount\":3}"])
        .ok();

    let undo = ["truncate", "account-1", "--undo"];
    let undone = host.run(&undo).ok();
    assert_eq!(undone, "account-1 is whole again at position 7\n");
    assert_eq!(host.run(&undo).ok(), "account-1 was not truncated\n");
    let json = host
        .run(&["truncate", "account-1", "--before", "5", "--json"])
        .ok();
    let expected = json!({"stream": "account-1", "truncated_before": 5, "position": 8});
    assert_eq!(json_lines(&json), [expected]);

    host.run(&["truncate", "account-1", "--before", "6"])
        .fails(1, "truncate-refused");
    host.run(&["truncate", "account-9", "--undo"])
        .fails(1, "stream-not-found");
    run(&["truncate", "account-1"]).fails(2, "--before");
    run(&["truncate", "account-1", "--before", "0"]).fails(2, "--before");
    run(&["truncate", "account-1", "--before", "2", "--undo"]).fails(2, "cannot be used");
    run(&["truncate", "account\n", "--undo"]).fails(2, "control character");
}

#[test]
fn a_snapshot_is_taken_and_compared() {
    let host = account();
    let first = host.run(&["snapshot", "account-1"]).ok();
    assert!(
        first.starts_with("account-1 has a snapshot at version 4, "),
        "{first}"
    );
    assert_eq!(first.lines().count(), 1, "{first}");
    let again = host.run(&["snapshot", "account-1"]).ok();
    let before = rows(&again);
    assert_eq!(before[2], "what was stored before");
    assert!(
        before[3].starts_with("4 ") && before[3].ends_with("Z agrees"),
        "{again}"
    );
    let json = json_lines(&host.run(&["snapshot", "account-1", "--json"]).ok());
    assert_eq!(json[0]["found"][0]["worth"], "agrees");

    let check = ["snapshot", "--check", "account"];
    let checked = host.run(&check).ok();
    assert_eq!(checked, "1 compared: 1 agree, 0 differ, 0 unusable\n");
    let json = host
        .run(&[&check[..], &["--sample", "5", "--json"]].concat())
        .ok();
    assert_eq!(json_lines(&json)[0]["agree"], 1);
    host.run(&["snapshot", "--check", "nobody"])
        .fails(1, "unknown-category");
    host.run(&["snapshot", "--check", ""]).fails(2, "category");
    host.run(&["snapshot", "account-9"])
        .fails(1, "stream-not-found");
    run(&["snapshot"]).fails(2, "<STREAM>");
    run(&["snapshot", "account-1", "--check", "account"]).fails(2, "cannot be used");
    run(&["snapshot", "account-1", "--sample", "5"]).fails(2, "cannot be used");
    for sample in ["0", "1001"] {
        run(&[&check[..], &["--sample", sample]].concat()).fails(2, "--sample");
    }
}

#[test]
fn types_are_listed_with_their_stored_forms_and_upcaster_steps() {
    let host = loan();
    host.run(&["append", "note-1", "noted"]).ok();
    let table = host.run(&["types"]).ok();
    let (types, steps) = table.split_once("\n\n").unwrap();
    let (types, steps) = (rows(types), rows(steps));
    assert_eq!(
        types[0],
        "category type version written by stored as events last event read"
    );
    let row = |start: &str| {
        let mut all = types.iter();
        let row = all.find(|row| row.starts_with(start));
        row.unwrap_or_else(|| panic!("{start}: {table}"))
    };
    let preaccepted = "loan application-shortlisted (application-preaccepted) 1 loan 0.2.0 \
        application-preaccepted 1 1 ";
    assert!(row(preaccepted).ends_with("Z renamed"), "{table}");
    let partly = "loan application-partly-submitted - - application-partly-submitted 1 1 ";
    assert!(row(partly).ends_with("Z lifted"), "{table}");
    assert!(
        row("loan offer-created 1 loan 0.2.0 0").ends_with('0'),
        "{table}"
    );
    assert!(
        row("note noted - - noted 1 1 ").ends_with("Z stored; no module knows it"),
        "{table}"
    );
    assert_eq!(steps[0], "category step from to of");
    let split = "loan application-approved 1 application-approved 2, credit-granted 1 loan 0.2.0";
    assert_eq!(
        steps.iter().filter(|step| *step == split).count(),
        1,
        "{table}"
    );

    let notes = json_lines(&host.run(&["types", "--category", "note", "--json"]).ok());
    assert_eq!((notes.len(), &notes[0]["known"]), (1, &json!(false)));
    let none = host.run(&["types", "--category", "nobody"]).ok();
    assert_eq!(none.lines().count(), 1, "{none}");
    host.run(&["types", "--category", ""]).fails(2, "category");
}

#[test]
fn the_status_is_text_for_people_and_json_for_programs() {
    let host = account();
    host.run(&["snapshot", "account-1"]).ok();
    let table = host.run(&["status"]).ok();
    let lines = rows(&table);
    assert_eq!(lines[0], format!("quipu {}", env!("CARGO_PKG_VERSION")));
    for line in [
        "plan 2",
        "commands in flight 0",
        "transactions 6",
        "snapshots taken 1",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line}: {table}");
    }
    let json = json_lines(&host.run(&["status", "--json"]).ok());
    assert_eq!(json[0]["snapshots"]["taken"], 1);
}

#[test]
fn snapshots_are_taken_according_to_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    let policies = "[engine.snapshots]\naccount = { every = 2 }\n";
    std::fs::write(&config, policies).unwrap();
    std::fs::write(dir.path().join("account.wasm"), examples::account()).unwrap();
    let (path, modules) = (text(&config), text(dir.path()));
    let host = Served::start_in(dir, &["--config", &path, "--modules", &modules]);
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    for _ in 0..3 {
        host.run(&["execute", "account-1", "deposit", "{\"amount\":1}"])
            .ok();
    }
    // Snapshots are taken in the background, independently of the commands.
    let taken = || {
        let status = json_lines(&host.run(&["status", "--json"]).ok());
        status[0]["snapshots"]["taken"].as_u64().unwrap()
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    while taken() == 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "no snapshot was taken"
        );
    }
    for (wrong, said) in [
        ("others = \"on\"", "{ every = EVENTS }"),
        ("others = { each = 2 }", "`every` or `load_ms`"),
        (
            "Account = \"off\"",
            "neither `others` nor a category \"Account\"",
        ),
    ] {
        std::fs::write(&config, format!("[engine.snapshots]\n{wrong}\n")).unwrap();
        run(&["serve", "--config", &path]).fails(2, said);
    }
}
