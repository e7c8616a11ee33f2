use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Said, Served, quipu, run, said, text};

/// Runs a command with a file as its stdin.
fn run_on(args: &[&str], file: &std::path::Path) -> Said {
    let mut command = quipu(args);
    command.stdin(Stdio::from(File::open(file).unwrap()));
    said(&command.output().unwrap())
}

/// A host with three events.
fn bank() -> Served {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    for _ in 0..2 {
        host.run(&["execute", "account-1", "deposit", "{\"amount\":5}"])
            .ok();
    }
    host
}

#[test]
fn a_log_is_exported_and_imported_from_a_host_to_a_store_and_to_a_host() {
    let host = bank();
    let exported = host.run(&["export"]);
    assert_eq!(exported.err, "exported 3 events, up to position 3\n");
    let file = exported.ok();
    let path = host.path("log.ndjson");
    std::fs::write(&path, &file).unwrap();
    // Exports from the store itself, while its host runs.
    let own = format!("sqlite:{}", text(&host.path("q.db")));
    assert_eq!(run(&["export", "--store", &own]).ok(), file);

    let other = format!("sqlite:{}", text(&host.path("other.db")));
    let table = run_on(&["import", "--store", &other], &path).ok();
    let events = table.lines().find(|line| line.starts_with("events "));
    assert!(events.unwrap().ends_with(" 3"), "{table}");
    assert_eq!(run(&["export", "--store", &other]).ok(), file);
    let again = run_on(&["import", "--store", &other, "--json"], &path).ok();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["events"], &again["skipped"]),
        (&0.into(), &3.into())
    );

    let dir = tempfile::tempdir().unwrap();
    let empty = Served::start_in(dir, &[]);
    let imported = empty.run_with(&["import", "--json"], &file).ok();
    let imported: Value = serde_json::from_str(&imported).unwrap();
    assert_eq!(imported["events"], 3);
    assert_eq!(empty.run(&["export"]).ok(), file);
    let state = empty.run(&["stream", "account-1", "--state"]).ok();
    assert!(state.contains("\"balance\": 10"), "{state}");

    let tail = host.run(&["export", "--after", "2"]).ok();
    assert!(tail.contains("\"after\":2") && tail.contains("\"position\":3"));
    assert!(!tail.contains("\"position\":2"));
}

#[test]
fn a_failed_import_reports_the_last_stored_position() {
    let host = bank();
    let file = host.run(&["export"]).ok();
    let (path, other) = (host.path("cut.ndjson"), host.path("other.db"));
    let other = format!("sqlite:{}", text(&other));
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    std::fs::write(&path, lines[..lines.len() - 3].concat()).unwrap();
    let failed = run_on(&["import", "--store", &other], &path);
    assert!(
        failed.err.contains("without its quipu.end"),
        "{}",
        failed.err
    );
    assert!(failed.err.contains("is at position 2"), "{}", failed.err);
    failed.fails(1, "cut off");
    // A store that a host has open, and a host that has a log already.
    let own = format!("sqlite:{}", text(&host.path("q.db")));
    let failed = run_on(&["import", "--store", &own, "--json"], &path);
    assert_eq!(failed.err.matches("another host has").count(), 1);
    assert!(failed.out.contains("store-unavailable"), "{}", failed.out);
    failed.fails(
        1,
        "open; stop it, or name another store, or leave out --store to ask that host",
    );
    host.run_with(&["import"], &file.replacen("account", "Account", 1))
        .fails(1, "import-refused");
    host.run_with(&["import"], "{}\n").fails(2, "line 1: ");
}

#[test]
fn a_store_is_copied_and_migrated() {
    let host = bank();
    let own = format!("sqlite:{}", text(&host.path("q.db")));
    let folder = text(&host.path("backup"));
    let copied = run(&["backup", &folder, "--store", &own]).ok();
    let copy = text(&host.path("backup/q.db"));
    assert!(copied.starts_with(&format!("{copy}: ")), "{copied}");
    run(&["backup", &folder, "--store", &own]).fails(1, "is there already");
    let copy = format!("sqlite:{copy}");
    assert_eq!(
        run(&["export", "--store", &copy]).ok(),
        host.run(&["export"]).ok()
    );

    let migrated = run(&["migrate", "--store", &copy, "--json"]).ok();
    let migrated: Value = serde_json::from_str(&migrated).unwrap();
    assert_eq!(migrated["from"], migrated["to"]);
    let table = run(&["migrate", "--store", &copy]).ok();
    assert!(table.starts_with("schema version before"), "{table}");
    let proved = run(&["migrate", "--prove", "--store", &copy, "--json"]).ok();
    let proved: Value = serde_json::from_str(&proved).unwrap();
    assert_eq!((&proved["added"], &proved["wrong"]), (&0.into(), &0.into()));
    assert!(proved["present"].as_u64().unwrap() > 0, "{proved}");
    let table = run(&["migrate", "--prove", "--store", &copy]).ok();
    assert!(table.contains("digests added"), "{table}");
    let failed = run(&["migrate", "--store", &own]);
    assert!(!failed.err.contains("leave out"), "{}", failed.err);
    failed.fails(1, "another host has");
    run(&["migrate", "--store", "mysql:x"]).fails(2, "sqlite:PATH");
}
