//! Shipping the log, and recovering it.

use std::fs;
use std::path::{Path, PathBuf};

use quipu::model::Position;
use quipu::proof::Scope;
use quipu_tests::{Place, digests, on_every_store, seed};
use rand::Rng;
use serde_json::Value;

use crate::program::{Served, run, text};
use crate::ships::{
    Shipping, bank, change_last, commands, ended_commits, events_until, exported, lose, pay,
    recover, segments, ship, start, start_empty,
};

on_every_store!(
    a_backup_of_another_tool_is_reported,
    a_drill_passes_and_fails,
    a_log_that_was_shipped_before_a_kill_is_recovered_up_to_any_position,
    a_store_that_is_not_empty_is_left_as_it_is,
    a_time_ends_before_the_first_later_commit,
    what_is_before_a_commit_that_can_not_be_imported_is_recovered,
);

async fn a_log_that_was_shipped_before_a_kill_is_recovered_up_to_any_position(place: Place) {
    let mut host = start(&place);
    let dir = host.path("shipped");
    bank(&host);
    let mut shipping = Shipping::start(&host, &dir);
    let mut load = commands(&host, 40, 60);
    for stream in ["account-1", "account-2"] {
        host.run(&["archive", stream]).ok();
    }
    host.run(&["restore", "account-1"]).ok();
    host.run(&["truncate", "account-3", "--before", "1"]).ok();
    shipping.until(300);
    host.child.kill().unwrap();
    host.child.wait().unwrap();
    shipping.kill();
    load.kill().unwrap();
    load.wait().unwrap();
    let before = run(&["export", "--store", place.url()]).ok();

    let shipped = segments(&dir).last().unwrap()["last"].as_u64().unwrap();
    assert!(shipped >= 300);
    lose(&place).await;
    recover(&dir, place.url(), &[]).ok();
    check(&place, &before, shipped).await;
    let positions = match (seed::is_long(), place.url().starts_with("sqlite:")) {
        (true, _) => 100,
        (false, true) => 20,
        (false, false) => 3,
    };
    let mut random = seed::random(seed::seeds(1)[0]);
    for _ in 0..positions {
        // Up to 0 there is nothing to recover, and that is refused.
        let until = random.random_range(1..=shipped);
        let place = place.another();
        let said = recover(
            &dir,
            place.url(),
            &["--until", &until.to_string(), "--json"],
        )
        .ok();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            said["position"],
            ended_commits(&before, until),
            "until {until}"
        );
        check(&place, &before, until).await;
    }
}

/// Compares the commits and events up to a position, and verifies the decisions.
async fn check(place: &Place, before: &str, until: u64) {
    let host = place.host().await;
    let found = exported(&host).await;
    let (found, expected) = (events_until(&found, until), events_until(before, until));
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "until {until}");
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    assert!(verified.is_sound(), "until {until}: {verified:?}");
    host.shutdown().await.unwrap();
}

async fn a_store_that_is_not_empty_is_left_as_it_is(place: Place) {
    let host = start(&place);
    bank(&host);
    let dir = host.path("shipped");
    ship(&host, &dir, &[]).ok();
    let before = host.run(&["export"]).ok();
    host.signal("TERM");
    let (_, _folder) = host.ended();
    let refused = recover(&dir, place.url(), &[]);
    let expected = match place.url().starts_with("sqlite:") {
        true => "is there already",
        false => "is not empty",
    };
    refused.fails(1, expected);
    assert_eq!(run(&["export", "--store", place.url()]).ok(), before);
    let host = place.host().await;
    assert!(host.log_head().await.unwrap() > Position(0));
    host.shutdown().await.unwrap();
}

#[test]
fn marks_of_streams_are_those_of_the_recovered_position() {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    ship(&host, &dir, &[]).ok();
    let mut exports = Vec::new();
    for act in [
        &["archive", "account-1"][..],
        &["truncate", "account-2", "--before", "2"],
        &["restore", "account-1"],
        &["archive", "account-3"],
    ] {
        host.run(act).ok();
        exports.push(host.run(&["export"]).ok());
        ship(&host, &dir, &[]).ok();
    }
    for (number, export) in exports.into_iter().enumerate() {
        let head = Value::from(ended_commits(&export, u64::MAX)).to_string();
        let file = host.path(&format!("recovered-{number}.db"));
        let store = format!("sqlite:{}", text(&file));
        recover(&dir, &store, &["--until", &head]).ok();
        assert_eq!(run(&["export", "--store", &store]).ok(), export);
    }
}

async fn a_time_ends_before_the_first_later_commit(place: Place) {
    let host = start(&place);
    let dir = host.path("shipped");
    bank(&host);
    let first = host.run(&["export"]).ok();
    let last = first.lines().rfind(|line| line.contains("\"position\":"));
    let last: Value = serde_json::from_str(last.unwrap()).unwrap();
    pay(&host, "account-1");
    ship(&host, &dir, &[]).ok();
    let (recovered, none) = (place.another(), place.another());
    let time = last["time"].as_str().unwrap();
    recover(&dir, recovered.url(), &["--until", time]).ok();
    let export = run(&["export", "--store", recovered.url()]).ok();
    assert_eq!(export, first);
    let until = |until: &str| recover(&dir, none.url(), &["--until", until]);
    until("99999").fails(1, "position 99999 was not shipped");
    until("yesterday").fails(2, "expected a position, or a time");
    recover(&dir, "memory:", &[]).fails(2, "memory:");
    recover(&host.path("nothing"), none.url(), &[]).fails(1, "nothing");
}

/// A host whose log is in several segments.
fn several() -> (Served, PathBuf) {
    let host = Served::start();
    let dir = in_segments(&host);
    (host, dir)
}

/// Fills a host, and ships its log in several segments. Returns the folder.
fn in_segments(host: &Served) -> PathBuf {
    let dir = host.path("shipped");
    bank(host);
    let small = ["--segment-bytes", "2000"];
    ship(host, &dir, &small).ok();
    for _ in 0..3 {
        pay(host, "account-1");
        pay(host, "account-2");
        ship(host, &dir, &small).ok();
    }
    assert!(segments(&dir).len() >= 3, "{:?}", segments(&dir));
    dir
}

async fn what_is_before_a_commit_that_can_not_be_imported_is_recovered(place: Place) {
    let host = start(&place);
    let dir = in_segments(&host);
    let export = host.run(&["export"]).ok();
    let positions = export.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["position"].as_u64()
    });
    let positions: Vec<u64> = positions.collect();
    let before = positions[positions.len() - 2];
    change_last(&dir, r#""data":{"amount":5}"#, r#""data":{"amount":8}"#);

    let target = place.another();
    let command = format!("`quipu recover {} --to … --until {before}`", text(&dir));
    recover(&dir, target.url(), &[]).fails(1, &command);
    run(&["drill", &text(&dir)]).fails_with_output(1, &command);
    recover(&dir, target.url(), &["--until", &before.to_string()]).ok();
    check(&target, &export, before).await;
}

#[test]
fn a_flipped_byte_is_named() {
    let (host, dir) = several();
    let store = host.path("recovered.db");
    let url = format!("sqlite:{}", text(&store));
    let mut random = seed::random(seed::seeds(1)[0]);
    let listed = segments(&dir);
    let files = listed.iter().map(|it| it["file"].as_str().unwrap());
    for file in files.chain(["manifest.json"]) {
        let path = dir.join(file);
        let whole = fs::read(&path).unwrap();
        for _ in 0..3 {
            let mut changed = whole.clone();
            let index = random.random_range(0..changed.len());
            changed[index] ^= 1 << random.random_range(0..8);
            fs::write(&path, &changed).unwrap();
            let refused = recover(&dir, &url, &[]);
            assert!(refused.err.contains("was changed"), "{}", refused.err);
            refused.fails(1, file);
            assert!(!store.exists());
            run(&["drill", &text(&dir)]).fails_with_output(1, file);
            ship(&host, &dir, &[]).fails(1, file);
        }
        fs::write(&path, &whole).unwrap();
    }
    recover(&dir, &url, &[]).ok();
    assert_eq!(
        run(&["export", "--store", &url]).ok(),
        host.run(&["export"]).ok()
    );
    let rest = fs::read_dir(host.dir.path()).unwrap();
    let mut rest = rest.map(|it| it.unwrap().file_name().into_string().unwrap());
    assert!(rest.all(|name| !name.contains("recovering")));
}

#[test]
fn a_segment_that_is_missing_or_has_another_length_is_named() {
    let (host, dir) = several();
    let url = format!("sqlite:{}", text(&host.path("recovered.db")));
    let file = segments(&dir)[1]["file"].as_str().unwrap().to_owned();
    let path = dir.join(&file);
    let whole = fs::read(&path).unwrap();
    for (content, said) in [
        (None, "the segment is missing"),
        (Some(whole[..whole.len() - 1].to_vec()), "was cut off"),
        (Some([&whole[..], b"\n"].concat()), "bytes were added"),
    ] {
        match content {
            None => fs::remove_file(&path).unwrap(),
            Some(content) => fs::write(&path, content).unwrap(),
        }
        let refused = recover(&dir, &url, &[]);
        assert!(refused.err.contains(&file), "{}", refused.err);
        refused.fails(1, said);
    }
    fs::write(&path, &whole).unwrap();
    fs::remove_file(dir.join("manifest.json")).unwrap();
    for refused in [recover(&dir, &url, &[]), ship(&host, &dir, &[])] {
        refused.fails(1, "the manifest is missing");
    }
}

#[test]
fn what_the_manifest_does_not_list_is_shipped_again() {
    let (host, dir) = several();
    let (lost, partial) = (
        dir.join("000000000099-000000000100.ndjson"),
        dir.join("segment.partial"),
    );
    fs::write(&lost, "{").unwrap();
    fs::write(&partial, "{").unwrap();
    let url = format!("sqlite:{}", text(&host.path("recovered.db")));
    recover(&dir, &url, &[]).ok();
    pay(&host, "account-1");
    ship(&host, &dir, &[]).ok();
    assert!(!lost.exists() && !partial.exists());
    let url = format!("sqlite:{}", text(&host.path("more.db")));
    recover(&dir, &url, &[]).ok();
    let export = run(&["export", "--store", &url]).ok();
    assert_eq!(export, host.run(&["export"]).ok());
    // Nothing is new.
    let report = ship(&host, &dir, &["--json"]).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["events"], 0);
}

#[test]
fn a_folder_has_one_log_and_one_shipper() {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    let mut shipping = Shipping::start(&host, &dir);
    shipping.until(3);
    ship(&host, &dir, &[]).fails(1, "another `quipu ship` writes this folder");
    shipping.kill();
    let other = Served::start();
    ship(&other, &dir, &[]).fails(1, "is of another log: it ends at position");
    bank(&other);
    ship(&other, &dir, &[]).fails(1, "is of another log: its event at position");
    ship(&host, &dir, &[]).ok();
}

async fn a_drill_passes_and_fails(place: Place) {
    let host = start(&place);
    let dir = in_segments(&host);
    let folder = text(&dir);
    let report = host.run(&["drill", &folder, "--json"]).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["passed"], &report["findings"]),
        (&true.into(), &0.into())
    );
    assert_eq!(report["position"], report["host_position"]);
    assert_eq!(report["rpo_seconds"], 0.0);
    assert!(report["decisions"].as_u64().unwrap() > 5, "{report}");
    assert_eq!(report["chain"], segments(&dir).last().unwrap()["chain"]);
    pay(&host, "account-1");
    let report = host.run(&["drill", &folder, "--json"]).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["rpo_seconds"].as_f64().unwrap() > 0.0, "{report}");
    let target = place.another();
    let drill = ["drill", &*folder, "--to", target.url()];
    let report = run(&drill).ok();
    assert!(report.contains("the drill passed"), "{report}");
    // The store remains, and a second drill does not touch it.
    let last = segments(&dir).last().unwrap()["last"].as_u64().unwrap();
    let export = ["export", "--store", target.url()];
    assert_eq!(ended_commits(&run(&export).ok(), u64::MAX), last);
    let expected = match place.url().starts_with("sqlite:") {
        true => "is there already",
        false => "is not empty",
    };
    run(&drill).fails_with_output(1, expected);
    assert_eq!(ended_commits(&run(&export).ok(), u64::MAX), last);

    // A history that nobody decided.
    let file = host.run(&["export"]).ok();
    let (before, after) = file.rsplit_once(r#""data":{"amount":5}"#).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":8}}{after}"#);
    let imported = place.another();
    let other = start_empty(&imported);
    other
        .run_with(&["import"], &digests::without(&changed))
        .ok();
    let dir = other.path("shipped");
    ship(&other, &dir, &[]).ok();
    let failed = run(&["drill", &text(&dir)]);
    assert!(failed.out.contains("findings"), "{}", failed.out);
    failed.fails_with_output(1, "the history is not sound: 1 finding");
    let failed = run(&["drill", &text(&dir), "--json"]);
    let report: Value = serde_json::from_str(failed.out.trim()).unwrap();
    assert_eq!((failed.code, &report["passed"]), (1, &false.into()));
}

/// Nobody serves an empty store because of a wrong year, or trusts a folder into which nothing came.
#[test]
fn what_is_empty_is_not_recovered_and_passes_no_drill() {
    let (host, dir) = several();
    let store = format!("sqlite:{}", text(&host.path("empty.db")));
    let early = recover(&dir, &store, &["--until", "2020-01-01T00:00:00Z"]);
    early.fails(1, "there is nothing to recover");
    let empty = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let dir = empty.path("shipped");
    ship(&empty, &dir, &[]).ok();
    recover(&dir, &store, &[]).fails(1, "there is nothing to recover");
    assert!(!host.path("empty.db").exists());
    let failed = empty.run(&["drill", &text(&dir)]);
    failed.fails_with_output(1, "nothing was shipped into");
}

#[test]
fn nothing_is_shipped_into_a_folder_with_other_files() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let dir = host.path("others");
    fs::create_dir(&dir).unwrap();
    let notes = dir.join("notes.txt");
    fs::write(&notes, "x").unwrap();
    let refused = ship(&host, &dir, &[]);
    assert!(refused.err.contains("notes.txt"), "{}", refused.err);
    refused.fails(1, "name an empty folder, or one that does not exist");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    // An interrupted shipper left this file.
    fs::rename(&notes, dir.join("ship.lock")).unwrap();
    ship(&host, &dir, &[]).ok();
    // Segments have been shipped there, so a further file is in nobody's way.
    fs::write(&notes, "x").unwrap();
    ship(&host, &dir, &[]).ok();
    assert!(notes.exists());
}

#[test]
fn a_folder_that_does_not_exist_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let gone = text(&folder.path().join("gone"));
    let target = format!("sqlite:{}", text(&folder.path().join("store.db")));
    let expected =
        format!("there is no folder {gone}; name the one into which `quipu ship` writes");
    for command in [
        &["drill", &*gone][..],
        &["drill", &gone, "--json"],
        &["recover", &gone, "--to", &target],
    ] {
        let said = run(command);
        assert!(!said.out.contains("RPO"), "{}", said.out);
        said.fails(1, &expected);
    }
}

#[test]
fn an_unfinished_recovery_into_postgres_cannot_be_served() {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    ship(&host, &dir, &[]).ok();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::postgres();
    let url = place.url().parse().unwrap();
    runtime.block_on(async {
        let opened = quipu::store::open_recovering(&url).await.unwrap();
        opened.writer.close().await.unwrap();
    });
    let export = ["export", "--store", place.url()];
    run(&export).fails(1, "a recovery into it did not finish");
    run(&["serve", "--store", place.url()]).fails(1, "a recovery into it did not finish");
    recover(&dir, place.url(), &[]).ok();
    assert_eq!(run(&export).ok(), host.run(&["export"]).ok());
}

#[test]
fn the_newest_backups_are_kept() {
    let host = Served::start();
    bank(&host);
    let store = format!("sqlite:{}", text(&host.path("q.db")));
    let dir = host.path("copies");
    let mut copies = Vec::new();
    fs::create_dir_all(dir.join("20000101T000000.000Z")).unwrap();
    fs::write(dir.join("20000101T000000.000Z/q.db.0000000a.partial"), "x").unwrap();
    // The backup of another store, whose name only begins so.
    let other = dir.join("20000102T000000.000Z");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("q.db2"), "x").unwrap();
    fs::write(dir.join("notes"), "x").unwrap();
    for _ in 0..4 {
        let report = run(&[
            "backup",
            &text(&dir),
            "--store",
            &store,
            "--keep",
            "2",
            "--json",
        ])
        .ok();
        let report: Value = serde_json::from_str(&report).unwrap();
        copies.push(report["path"].as_str().unwrap().to_owned());
    }
    let are_there: Vec<bool> = copies.iter().map(|it| Path::new(it).exists()).collect();
    assert_eq!(are_there, [false, false, true, true]);
    assert!(other.join("q.db2").exists());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "{dir:?}");
    // The host knows of them.
    let status = host.run(&["status"]).ok();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("last backup").ends_with(" ago"), "{status}");
    assert!(line("last shipped").ends_with('-'), "{status}");
    let folder = text(&host.path("shipped"));
    host.run(&["ship", &folder, "--once"]).ok();
    let status: Value = serde_json::from_str(&host.run(&["status", "--json"]).ok()).unwrap();
    assert!(status["last_ship_at"].is_string(), "{status}");
    let copy = format!("sqlite:{}", copies[3]);
    assert_eq!(
        run(&["export", "--store", &copy]).ok(),
        host.run(&["export"]).ok()
    );
    let gone = format!("sqlite:{}", text(&host.path("gone.db")));
    run(&["backup", &text(&dir), "--store", &gone, "--keep", "1"]).fails(1, "there is no store");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "{dir:?}");
    run(&["backup", &text(&dir), "--keep", "0"]).fails(2, "--keep");
}

async fn a_backup_of_another_tool_is_reported(place: Place) {
    let host = start(&place);
    let report = ["backup", "--store", place.url(), "--report"];
    let said = run(&report).ok();
    assert!(said.contains("is recorded"), "{said}");
    // An earlier one is not the last.
    run(&[&report[..], &["86400"]].concat()).ok();
    let status: Value = serde_json::from_str(&host.run(&["status", "--json"]).ok()).unwrap();
    let at = status["last_backup_at"].as_str().unwrap();
    assert!(said.contains(at), "{said} {at}");
    run(&[&report[..], &["--json"]].concat()).ok();
    run(&[&report[..], &["3000000"]].concat()).fails(2, "--report");
    run(&["backup", "x", "--report", "1"]).fails(2, "cannot be used");
    run(&["backup", "--store", place.url()]).fails(2, "DIR");
}
