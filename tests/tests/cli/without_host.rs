//! What the program does to a store without a host: it checks stored bytes, and adds digests,
//! however often it is killed meanwhile.

use std::process::Stdio;

use quipu::Upload;
use quipu::model::Position;
use quipu_tests::{PATIENCE, Place, build, digests, examples, on_every_store};
use serde_json::Value;

use crate::program::{Served, quipu, run, run_in_environment, text};

on_every_store! {
    stored_bytes_are_verified_without_a_host,
    a_changed_commit_is_neither_exported_nor_shipped,
    what_an_import_would_refuse_is_not_exported,
    adding_digests_continues_after_kills,
}

async fn export(place: &Place) -> Vec<u8> {
    let host = place.host().await;
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    host.shutdown().await.unwrap();
    file
}

async fn append(place: &Place, commits: usize) {
    let host = place.host().await;
    for _ in 0..commits {
        let events = build::append(build::events(2));
        host.append(&build::stream("note-1"), events).await.unwrap();
    }
    host.shutdown().await.unwrap();
}

async fn what_an_import_would_refuse_is_not_exported(place: Place) {
    let host = place.host().await;
    let upload = host.upload(Upload::new(examples::account())).await;
    let module = upload.unwrap().module.digest();
    host.activate(module, None).await.unwrap();
    host.shutdown().await.unwrap();
    append(&place, 2).await;
    for (change, undo, said) in [
        (
            "UPDATE events SET commit_size = 3 WHERE version = 1",
            "UPDATE events SET commit_size = 2 WHERE version = 1",
            "the commit at position 1 lacks 1 of its events".to_owned(),
        ),
        (
            "UPDATE events SET commit_size = 3 WHERE version = 3",
            "UPDATE events SET commit_size = 2 WHERE version = 3",
            "the commit at position 3 lacks 1 of its events".to_owned(),
        ),
        (
            "UPDATE modules SET bytes = substr(bytes, 2)",
            "",
            format!("the bytes of module {module} were changed"),
        ),
    ] {
        place.tamper(change).await;
        let export = ["export", "--store", place.url()];
        let failed = run(&export);
        assert_eq!(failed.code, 1, "{change}");
        assert!(failed.err.contains(&said), "{}", failed.err);
        run(&[&export[..], &["--unchecked"]].concat()).ok();
        if !undo.is_empty() {
            place.tamper(undo).await;
            run(&export).ok();
        }
    }
}

async fn a_changed_commit_is_neither_exported_nor_shipped(place: Place) {
    const CHANGE: &str = "UPDATE events SET recorded_at = recorded_at + 1 WHERE version = 4";
    const UNDO: &str = "UPDATE events SET recorded_at = recorded_at - 1 WHERE version = 4";
    let dir = tempfile::tempdir().unwrap();
    let folder = text(dir.path());
    let last = || {
        let manifest = std::fs::read(dir.path().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let segments = manifest["segments"].as_array().unwrap();
        segments.last().map(|it| it["last"].as_u64().unwrap())
    };
    let ship = ["ship", &folder, "--once"];
    let stop = |host: Served| {
        host.signal("TERM");
        host.ended();
    };
    append(&place, 1).await;
    let host = Served::start_on(&place, "");
    host.run(&ship).ok();
    stop(host);
    assert_eq!(last(), Some(2));

    append(&place, 2).await;
    place.tamper(CHANGE).await;
    let said = "position 3, stream note-1, version 3";
    let host = Served::start_on(&place, "");
    host.run(&ship).fails_with_output(1, said);
    host.run(&["export"]).fails_with_output(1, said);
    stop(host);
    assert_eq!(last(), Some(2));
    let export = ["export", "--store", place.url()];
    let failed = run(&export);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains(said), "{}", failed.err);
    run(&["export", "--unchecked"]).fails(2, "--store-file");
    let whole = run(&[&export[..], &["--unchecked"]].concat()).ok();
    assert!(whole.contains("\"quipu.end\""), "{whole}");

    place.tamper(UNDO).await;
    let host = Served::start_on(&place, "");
    host.run(&ship).ok();
    stop(host);
    assert_eq!(last(), Some(6));
}

async fn stored_bytes_are_verified_without_a_host(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for _ in 0..3 {
        let events = build::append(build::events(2));
        host.append(&stream, events).await.unwrap();
    }
    let verify = ["verify", "--digests", "--store", place.url()];
    // The address of a host, from the environment, is in the way of nothing.
    let elsewhere = run_in_environment(&verify, "QUIPU_URL", "http://127.0.0.1:1");
    let out = run(&verify).ok();
    assert_eq!(elsewhere.ok(), out);
    assert!(out.starts_with("6 events up to position 6\n"), "{out}");
    assert!(
        out.contains("digests: 3 commits agree, 0 have none"),
        "{out}"
    );
    host.shutdown().await.unwrap();
    place
        .tamper("UPDATE events SET recorded_at = recorded_at + 1 WHERE version = 4")
        .await;
    let said = run(&verify);
    assert!(said.out.contains("name digest:note-1@3"), "{}", said.out);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("the history is not sound: 1 finding"),
        "{}",
        said.err
    );
    let said = run(&[&verify[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["findings"][0]["name"], "digest:note-1@3");
    // To re-decide, a host is needed.
    run(&["verify", "--store", place.url()]).fails(2, "--digests");
    let missing = format!("sqlite:{}", place.path("missing.db").display());
    run(&["verify", "--digests", "--store", &missing]).fails(1, "there is no store");
    assert!(!place.path("missing.db").exists());
}

#[test]
fn a_wrong_path_creates_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.db");
    let store = format!("sqlite:{}", path.display());
    let folder = dir.path().display().to_string();
    for args in [
        &["migrate"][..],
        &["migrate", "--prove"],
        &["token", "list"],
        &["token", "revoke", "root"],
        &["export"],
        &["backup", &folder],
        &["verify", "--digests"],
    ] {
        let said = run(&[args, &["--store", &store]].concat());
        let why = format!("there is no store at {}", path.display());
        assert!(said.err.contains(&why), "{args:?}: {}", said.err);
        said.fails(1, "create a store with `quipu serve`");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "{args:?}"
        );
    }
    // The first token may be made before the first start of a host.
    let first = [
        "token", "create", "root", "--role", "admin", "--store", &store,
    ];
    run(&first).ok();
    run(&["migrate", "--store", &store]).ok();
}

const ADDED: &str = "SELECT count(*) FROM events WHERE commit_digest IS NOT NULL";

async fn adding_digests_continues_after_kills(place: Place) {
    let host = place.host().await;
    for number in 0..40 {
        let stream = build::stream(&format!("note-{number}"));
        let writes = (0..200).map(|_| host.append(&stream, build::append(build::events(1))));
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }
    }
    host.shutdown().await.unwrap();
    let commits = 8_000;
    let before = export(&place).await;
    digests::forget(&place).await;
    let prove = ["migrate", "--prove", "--store", place.url()];
    let (mut kills, mut last) = (0, 0);
    while kills < 3 {
        let mut command = quipu(&prove);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let progress = async {
            loop {
                let added = place.number(ADDED).await;
                if added > last || child.try_wait().unwrap().is_some() {
                    return added;
                }
            }
        };
        last = tokio::time::timeout(PATIENCE, progress).await.unwrap();
        // SIGKILL.
        _ = child.kill();
        child.wait().unwrap();
        if last == commits {
            break;
        }
        kills += 1;
    }
    assert!(kills > 0, "no run was killed before its end");
    let out = run(&prove).ok();
    assert!(out.contains("digests added"), "{out}");
    assert_eq!(place.number(ADDED).await, commits);
    assert!(
        export(&place).await == before,
        "the digests are not those of the commits"
    );
    let out = run(&["verify", "--digests", "--store", place.url()]).ok();
    assert!(
        out.contains("digests: 8,000 commits agree, 0 have none"),
        "{out}"
    );
}

#[test]
fn a_store_in_a_folder_that_does_not_exist_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("gone/bank.db").display());
    let serve = ["serve", "--store", &store, "--listen", "127.0.0.1:0"];
    run(&serve).fails(1, "gone/bank.db does not exist: make it");
    assert!(!folder.path().join("gone").exists());
}
