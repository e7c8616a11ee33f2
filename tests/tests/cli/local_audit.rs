//! What an operator does to a store without a request is in the audit.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use quipu::model::Digest;
use quipu_tests::{Place, digests, examples, on_every_store};
use serde_json::Value;

use crate::program::{Said, Served, quipu, run, said, text};
use crate::ships::{bank, recover, ship, start};

on_every_store!(
    tokens_that_are_made_and_revoked_without_a_host_are_in_the_audit,
    components_that_a_host_starts_with_are_in_the_audit,
    imports_without_a_host_are_in_the_audit,
    recoveries_are_in_the_audit,
    migrations_and_added_digests_are_in_the_audit,
);

fn token(place: &Place, args: &[&str]) -> Said {
    run(&[&["token"][..], args, &["--store", place.url()]].concat())
}

/// Makes a token for whoever reads the audit.
pub fn root(place: &Place) -> String {
    let made = token(place, &["create", "root", "--role", "admin"]);
    made.ok().trim_end().to_owned()
}

/// A command that serves a store.
pub fn serving(place: &Place, more: &[&str]) -> std::process::Command {
    let args = ["serve", "--store", place.url(), "--listen", "127.0.0.1:0"];
    quipu(&[&args[..], more].concat())
}

/// The records of a store's audit, whose chain is in order. Starts a host for that.
fn records(place: &Place, root: &str, more: &[&str]) -> Vec<Value> {
    let host = Served::ready(tempfile::tempdir().unwrap(), serving(place, more));
    let listed = host.run(&["audit", "--json", "--token", root]).ok();
    host.run(&["audit", "--verify", "--token", root]).ok();
    host.signal("TERM");
    let (ended, _) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let lines = listed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Who made each activation, oldest first. Starts a host for that.
fn activated_by(place: &Place, root: &str) -> Vec<Value> {
    let host = Served::ready(tempfile::tempdir().unwrap(), serving(place, &[]));
    let listed = host.run(&["deployments", "--json", "--token", root]).ok();
    let lines = listed.lines().map(serde_json::from_str::<Value>);
    lines
        .map(|it| it.unwrap()["activated_by"].clone())
        .collect()
}

/// Checks who did what.
fn check(records: &[Value], expected: &[(&str, String)]) {
    let operations: Vec<_> = records.iter().map(|it| it["operation"].clone()).collect();
    let all: Vec<_> = expected
        .iter()
        .map(|(name, _)| Value::from(*name))
        .collect();
    assert_eq!(operations, all);
    for (record, (_, object)) in records.iter().zip(expected) {
        assert_eq!(record["principal"], "local:operator", "{record}");
        assert_eq!(record["origin"], Value::Null, "{record}");
        assert_eq!(record["object"], *object, "{record}");
        assert_eq!(record["result"], "done", "{record}");
    }
}

async fn tokens_that_are_made_and_revoked_without_a_host_are_in_the_audit(place: Place) {
    let root = root(&place);
    let shop = [
        "create",
        "shop",
        "--role",
        "client",
        "--category",
        "note",
        "--requests-per-second",
        "7",
    ];
    let shop = token(&place, &shop).ok();
    // What changes nothing is not recorded.
    token(&place, &["create", "shop", "--role", "viewer"]).fails(2, "named \"shop\"");
    token(&place, &["revoke", "nobody"]).fails(1, "no token");
    token(&place, &["list"]).ok();
    token(&place, &["revoke", shop.trim_end()]).ok();
    let records = records(&place, &root, &[]);
    let may = "client, never expires, 7 requests per second, on category note";
    let revoked = records[2]["object"].as_str().unwrap().to_owned();
    check(
        &records,
        &[
            (
                "create_token",
                "\"root\" admin, never expires, on everything".to_owned(),
            ),
            ("create_token", format!("\"shop\" {may}")),
            ("revoke_token", revoked.clone()),
        ],
    );
    // The whole token was given: its id is recorded, its secret is not.
    assert!(revoked.contains(&shop[3..15]), "{revoked}");
    assert!(!revoked.contains(&shop[20..40]), "{revoked}");
}

fn write(dir: &Path, component: &[u8]) {
    std::fs::write(dir.join("account.wasm"), component).unwrap();
}

async fn components_that_a_host_starts_with_are_in_the_audit(place: Place) {
    let root = root(&place);
    let dir = tempfile::tempdir().unwrap();
    let folder = text(dir.path());
    let with_modules = ["--modules", &*folder];
    // A host that does not start has changed nothing.
    write(dir.path(), b"broken");
    let failed = serving(&place, &with_modules).output().unwrap();
    said(&failed).fails(1, "the host does not start with this file");
    let (first, mut second) = (examples::account(), examples::account());
    // The same component with a custom section.
    second.extend([0, 3, 1, b'x', 0]);
    let digests = [&first, &second].map(|bytes| Digest::of(bytes));
    let path = text(&dir.path().join("account.wasm"));
    let [of_first, of_second] = [0, 1].map(|number: usize| {
        let digest = digests[number];
        [
            ("upload", format!("{digest} from {path}")),
            ("activate", format!("account {digest}")),
        ]
    });
    let made = (
        "create_token",
        "\"root\" admin, never expires, on everything".to_owned(),
    );
    let mut expected = vec![made];
    write(dir.path(), &first);
    expected.extend(of_first);
    check(&records(&place, &root, &with_modules), &expected);
    // The second start does nothing.
    check(&records(&place, &root, &with_modules), &expected);
    // Another component is only uploaded, until the host is asked to activate it.
    write(dir.path(), &second);
    let [upload, activate] = of_second;
    expected.push(upload);
    check(&records(&place, &root, &with_modules), &expected);
    expected.push(activate);
    let forced = ["--modules", &*folder, "--modules-force"];
    check(&records(&place, &root, &forced), &expected);
    assert_eq!(activated_by(&place, &root), ["local:operator"; 2]);
}

/// The record of the token of [`root`].
fn root_made() -> (&'static str, String) {
    let object = "\"root\" admin, never expires, on everything";
    ("create_token", object.to_owned())
}

/// Imports a file.
fn import(place: &Place, file: &Path) -> Said {
    let mut command = quipu(&["import", "--store", place.url()]);
    command.stdin(Stdio::from(File::open(file).unwrap()));
    said(&command.output().unwrap())
}

async fn imports_without_a_host_are_in_the_audit(place: Place) {
    let host = Served::start();
    bank(&host);
    let export = host.run(&["export"]).ok();
    let file = host.path("log.ndjson");
    // What stores nothing is not recorded.
    std::fs::write(&file, "{}\n").unwrap();
    import(&place, &file).fails(1, "line 1");
    let lines: Vec<&str> = export.split_inclusive('\n').collect();
    std::fs::write(&file, lines[..lines.len() - 3].concat()).unwrap();
    import(&place, &file).fails(1, "cut off");
    std::fs::write(&file, &export).unwrap();
    import(&place, &file).ok();
    // Everything is there.
    import(&place, &file).ok();
    let root = root(&place);
    let records = records(&place, &root, &[]);
    assert_eq!(records[0]["operation"], "import");
    assert_eq!(records[0]["principal"], "local:operator");
    assert_eq!(records[0]["result"], "bad-request");
    let expected = [("import", "stdin".to_owned()), root_made()];
    check(&records[1..], &expected);
}

async fn recoveries_are_in_the_audit(place: Place) {
    let host = start(&place);
    bank(&host);
    let dir = host.path("shipped");
    ship(&host, &dir, &[]).ok();
    let other = place.another();
    recover(&dir, other.url(), &["--until", "3"]).ok();
    // The store is not empty any more.
    recover(&dir, other.url(), &[]).fails(1, "recover");
    let root = root(&other);
    let object = format!("{} up to position 3", text(&dir));
    let expected = [("recover", object), root_made()];
    check(&records(&other, &root, &[]), &expected);
}

/// Makes the store one of schema version 15.
async fn make_older(place: &Place) {
    let sql = "ALTER TABLE proposals DROP COLUMN proposed_by; \
        DELETE FROM _sqlx_migrations WHERE version = 16";
    place.tamper(sql).await;
}

async fn migrations_and_added_digests_are_in_the_audit(place: Place) {
    let host = start(&place);
    bank(&host);
    host.signal("TERM");
    let (ended, _folder) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let migrate = |more: &[&str]| {
        let args = [&["migrate", "--store", place.url()][..], more].concat();
        run(&args).ok();
    };
    // Neither changes anything.
    migrate(&[]);
    migrate(&["--prove"]);
    make_older(&place).await;
    migrate(&[]);
    digests::forget(&place).await;
    migrate(&["--prove"]);
    migrate(&["--prove"]);
    let root = root(&place);
    let records = records(&place, &root, &[]);
    // The first two are those of the component that the first host started with.
    let expected = [
        ("migrate", "schema version 15 to 16".to_owned()),
        ("prove", "digests of commits".to_owned()),
        root_made(),
    ];
    check(&records[2..], &expected);
}
