//! A base replaces segments that were deleted.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_tests::seed;
use rand::Rng;
use serde_json::Value;

use crate::program::{Served, run, text};
use crate::ships::{Shipping, bank, commands, ended_commits, pay, recover, segments, ship};

const SMALL: [&str; 2] = ["--segment-bytes", "2000"];

/// A host whose log is in many segments, with marks of streams that change.
fn marked() -> (Served, PathBuf) {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    ship(&host, &dir, &SMALL).ok();
    for act in [
        &["archive", "account-1"][..],
        &["truncate", "account-2", "--before", "1"],
        &["restore", "account-1"],
        &["truncate", "account-2", "--before", "2"],
        &["archive", "account-3"],
        &["truncate", "account-0", "--before", "2"],
    ] {
        host.run(act).ok();
        ship(&host, &dir, &SMALL).ok();
        pay(&host, "account-2");
        ship(&host, &dir, &SMALL).ok();
    }
    assert!(segments(&dir).len() > 4, "{:?}", segments(&dir));
    (host, dir)
}

fn copy(dir: &Path, target: &Path) {
    fs::create_dir(target).unwrap();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), target.join(file.file_name())).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains(".ndjson")).collect();
    names.sort();
    names
}

/// The files that the manifest lists.
fn listed(dir: &Path) -> Vec<String> {
    let segments = segments(dir);
    let files = segments
        .iter()
        .map(|it| it["file"].as_str().unwrap().to_owned());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

/// The position of the base.
fn base(dir: &Path) -> u64 {
    let segments = segments(dir);
    let mut base = segments.iter().filter(|it| it["plain_bytes"].is_u64());
    base.next_back()
        .map_or(0, |it| it["last"].as_u64().unwrap())
}

/// The export of what a folder leads to.
fn recovered(host: &Served, dir: &Path, until: Option<u64>) -> String {
    let file = host.path(&format!("{:x}.db", rand::random::<u64>()));
    let store = format!("sqlite:{}", text(&file));
    let until = until.map(|until| until.to_string());
    let args = until.iter().flat_map(|it| ["--until", it.as_str()]);
    recover(dir, &store, &args.collect::<Vec<_>>()).ok();
    run(&["export", "--store", &store]).ok()
}

#[test]
fn every_position_after_the_base_is_recovered_as_before() {
    let (host, dir) = marked();
    let whole = host.path("whole");
    copy(&dir, &whole);
    let report = ship(&host, &dir, &["--keep", "2", "--json"]).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    let base = base(&dir);
    assert!(base > 0);
    assert_eq!(report["base"], base);
    assert_eq!(names(&dir), listed(&dir));
    let plain = listed(&dir)
        .iter()
        .filter(|it| !it.ends_with(".gz"))
        .count();
    assert_eq!(plain, 2);

    let export = host.run(&["export"]).ok();
    let last = ended_commits(&export, u64::MAX);
    for until in base..=last {
        let before = recovered(&host, &whole, Some(until));
        assert_eq!(recovered(&host, &dir, Some(until)), before, "until {until}");
    }
    assert_eq!(recovered(&host, &dir, None), export);
    let store = format!("sqlite:{}", text(&host.path("early.db")));
    let early = (base - 1).to_string();
    recover(&dir, &store, &["--until", &early]).fails(1, "before the end of the base");
    let early = recover(&dir, &store, &["--until", "2020-01-01T00:00:00Z"]);
    early.fails(1, "before the end of the base");
    run(&["drill", &text(&dir)]).ok();

    // It goes on, also without `--keep`.
    pay(&host, "account-2");
    ship(&host, &dir, &SMALL).ok();
    pay(&host, "account-2");
    ship(&host, &dir, &["--segment-bytes", "2000", "--keep", "1"]).ok();
    assert_eq!(recovered(&host, &dir, None), host.run(&["export"]).ok());
    assert_eq!(names(&dir), listed(&dir));
}

#[test]
fn an_interruption_before_and_after_the_manifest_loses_nothing() {
    let (host, dir) = marked();
    let (before, after) = (host.path("before"), host.path("after"));
    copy(&dir, &before);
    ship(&host, &dir, &["--keep", "1"]).ok();
    copy(&dir, &after);
    let export = host.run(&["export"]).ok();
    for (number, (files, from)) in [(&after, &before), (&before, &after)].iter().enumerate() {
        // The files of both, and one of the manifests.
        let manifest = &host.path(&format!("both-{number}"));
        copy(from, manifest);
        for name in names(files) {
            fs::copy(files.join(&name), manifest.join(&name)).unwrap();
        }
        assert!(names(manifest).len() > listed(manifest).len());
        assert_eq!(recovered(&host, manifest, None), export);
        ship(&host, manifest, &["--keep", "1"]).ok();
        assert_eq!(names(manifest), listed(manifest));
        assert_eq!(recovered(&host, manifest, None), export);
    }
}

#[test]
fn a_base_that_was_changed_is_named() {
    let (host, dir) = marked();
    ship(&host, &dir, &["--keep", "1"]).ok();
    let files = listed(&dir);
    let file = files.iter().find(|it| it.ends_with(".gz")).unwrap();
    let path = dir.join(file);
    let store = format!("sqlite:{}", text(&host.path("recovered.db")));
    let whole = fs::read(&path).unwrap();
    let mut random = seed::random(seed::seeds(1)[0]);
    for _ in 0..5 {
        let mut changed = whole.clone();
        let index = random.random_range(0..changed.len());
        changed[index] ^= 1 << random.random_range(0..8);
        fs::write(&path, &changed).unwrap();
        recover(&dir, &store, &[]).fails(1, file);
    }
}

#[test]
fn a_kill_at_any_time_loses_nothing_that_was_shipped() {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    let mut load = commands(&host, 20, 200);
    let mut random = seed::random(seed::seeds(1)[0]);
    let mut shipped = 0;
    for _ in 0..if seed::is_long() { 60 } else { 6 } {
        // Each start writes a base at its first check.
        let mut shipping = Shipping::start_with(&host, &dir, &["--keep", "1"]);
        for _ in 0..random.random_range(0..4) {
            pay(&host, "account-1");
            shipped = shipping.until(0);
        }
        shipping.kill();
        let file = host.path(&format!("{:x}.db", rand::random::<u64>()));
        let store = format!("sqlite:{}", text(&file));
        if dir.join("manifest.json").exists() {
            let report = recover(&dir, &store, &["--json"]).ok();
            let report: Value = serde_json::from_str(&report).unwrap();
            assert!(report["position"].as_u64().unwrap() >= shipped, "{report}");
        }
    }
    load.kill().unwrap();
    load.wait().unwrap();
    ship(&host, &dir, &["--keep", "1"]).ok();
    assert!(base(&dir) > 0);
    assert_eq!(recovered(&host, &dir, None), host.run(&["export"]).ok());
}

#[test]
fn files_stay_as_long_as_somebody_reads_them() {
    let (host, dir) = marked();
    let before = listed(&dir);
    let reading = fs::File::open(&dir).unwrap();
    reading.lock_shared().unwrap();
    ship(&host, &dir, &["--keep", "1"]).ok();
    pay(&host, "account-2");
    ship(&host, &dir, &[]).ok();
    let found = names(&dir);
    let gone: Vec<_> = before.iter().filter(|it| !found.contains(it)).collect();
    assert!(gone.is_empty(), "{gone:?}");
    drop(reading);
    ship(&host, &dir, &[]).ok();
    assert_eq!(names(&dir), listed(&dir));
    assert_eq!(recovered(&host, &dir, None), host.run(&["export"]).ok());
}

#[test]
fn a_folder_is_recovered_and_drilled_while_it_is_shipped() {
    let host = Served::start();
    let dir = host.path("shipped");
    bank(&host);
    let mut load = commands(&host, 20, 400);
    let mut shipping = Shipping::start_with(&host, &dir, &["--keep", "2"]);
    for _ in 0..4 {
        let shipped = shipping.until(0);
        let file = host.path(&format!("{:x}.db", rand::random::<u64>()));
        let store = format!("sqlite:{}", text(&file));
        let report = recover(&dir, &store, &["--json"]).ok();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert!(report["position"].as_u64().unwrap() >= shipped, "{report}");
        run(&["drill", &text(&dir)]).ok();
    }
    load.kill().unwrap();
    load.wait().unwrap();
    shipping.kill();
    ship(&host, &dir, &[]).ok();
    assert_eq!(names(&dir), listed(&dir));
}

#[test]
fn an_age_keeps_what_is_younger() {
    let (host, dir) = marked();
    ship(&host, &dir, &["--keep", "100d"]).ok();
    assert_eq!(base(&dir), 0);
    let aged = || {
        ship(&host, &dir, &["--keep", "1s"]).ok();
        base(&dir) > 0
    };
    while !aged() {}
    assert_eq!(recovered(&host, &dir, None), host.run(&["export"]).ok());
    ship(&host, &dir, &["--keep", "0"]).fails(2, "expected an age");
}
