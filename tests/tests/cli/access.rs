//! Tokens and the audit, as an operator uses them.

use serde_json::Value;

use crate::program::{Said, Served, run, text};

/// Makes a token in a store that no host has open.
fn first(store: &str) -> String {
    let made = run(&[
        "token", "create", "root", "--role", "admin", "--store", store,
    ]);
    assert!(made.err.contains("it is shown only now"), "{}", made.err);
    made.ok().trim_end().to_owned()
}

#[test]
fn the_first_token_opens_a_host_to_other_machines() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let root = first(&store);
    let host = Served::start_in(dir, &["--listen", "0.0.0.0:0"]);
    host.run(&["events"]).fails(1, "no token");
    host.run(&["events", "--token", "qp_wrong"])
        .fails(1, "not one of this store");
    let with = |token: &str, args: &[&str]| -> Said {
        let mut all = args.to_vec();
        all.extend(["--token", token]);
        host.run(&all)
    };
    with(&root, &["append", "note-1", "noted", "1"]).ok();
    assert_eq!(
        with(&root, &["whoami"]).ok(),
        "\"root\": admin on everything\n"
    );
    // While the host has the store, the command says so.
    let taken = run(&["token", "list", "--store", &store]);
    assert_eq!(taken.code, 1, "{}", taken.err);

    let reader = [
        "token",
        "create",
        "reader",
        "--role",
        "viewer",
        "--category",
        "note",
    ];
    let reader = with(&root, &reader).ok();
    let reader = reader.trim_end();
    assert_eq!(
        with(reader, &["whoami"]).ok(),
        "\"reader\": viewer on category note\n"
    );
    with(reader, &["events", "--category", "note"]).ok();
    with(reader, &["events"]).fails(1, "about the whole store");
    with(reader, &["append", "note-1", "noted", "2"]).fails(1, "does not allow append");
    with(&root, &["token", "create", "reader", "--role", "viewer"]).fails(1, "named \"reader\"");
    let wrong = with(&root, &["token", "create", "x", "--role", "root"]);
    wrong.fails(2, "viewer, proposer, client");
    let expired = with(
        &root,
        &[
            "token",
            "create",
            "x",
            "--role",
            "viewer",
            "--expires",
            "2001-01-01T00:00:00Z",
        ],
    );
    expired.fails(2, "expired already");

    let listed = with(&root, &["token", "list"]).ok();
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][1..4], ["root", "admin", "everything"]);
    assert_eq!(rows[2][1..5], ["reader", "viewer", "category", "note"]);
    let revoked = with(&root, &["token", "revoke", "reader"]).ok();
    assert!(revoked.ends_with("of \"reader\" is revoked\n"), "{revoked}");
    with(reader, &["whoami"]).fails(1, "revoked");

    with(&root, &["truncate", "note-1", "--undo"]).fails(2, "--reason");
    with(
        &root,
        &["truncate", "note-1", "--undo", "--reason", "a trial"],
    )
    .ok();
    let audit = with(&root, &["audit"]).ok();
    assert!(
        audit
            .lines()
            .any(|line| line.contains("truncate") && line.contains("a trial")),
        "{audit}"
    );
    let audit = with(&root, &["audit", "--json"]).ok();
    assert!(!audit.contains(&root[20..40]), "a secret is in the audit");
    let records: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let denied = records
        .iter()
        .filter(|record| record["result"] == "forbidden");
    assert_eq!(denied.count(), 2, "{audit}");
    let reader_may = "viewer, never expires, on category note";
    assert!(audit.contains(reader_may), "{audit}");
    let checked = with(&root, &["audit", "--verify"]).ok();
    assert!(checked.contains("records in order"), "{checked}");

    host.signal("TERM");
    let (ended, dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    for secret in [&root[20..40], &reader[20..40]] {
        assert!(!ended.err.contains(secret), "a secret is in the log");
    }
    let listed = run(&["token", "list", "--store", &store, "--json"]).ok();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    run(&["token", "revoke", "root", "--store", &store]).ok();
    run(&["token", "revoke", "root", "--store", &store]).fails(1, "revoked already");
    drop(dir);
}
