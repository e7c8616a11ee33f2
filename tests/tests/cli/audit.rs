//! The audit and the uses of tokens, as an operator sees them while a host runs.

use std::time::Instant;

use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::Value;

use crate::configuration::written;
use crate::follow::Following;
use crate::local_audit::{root, serving};
use crate::program::{Served, run};

on_every_store!(the_audit_is_followed, the_last_use_of_a_token_is_listed);

fn start(place: &Place) -> Served {
    Served::ready(tempfile::tempdir().unwrap(), serving(place, &[]))
}

/// Makes a token with that of an admin.
fn make(host: &Served, root: &str, (name, role): (&str, &str)) -> String {
    let args = ["token", "create", name, "--role", role, "--token", root];
    host.run(&args).ok().trim_end().to_owned()
}

fn check(record: &Value, number: u64, (who, operation, result): (&str, &str, &str)) {
    assert_eq!(record["number"], number, "{record}");
    assert_eq!(record["principal"], who, "{record}");
    assert_eq!(record["operation"], operation, "{record}");
    assert_eq!(record["result"], result, "{record}");
}

async fn the_audit_is_followed(place: Place) {
    let root = root(&place);
    let host = start(&place);
    let watch = make(&host, &root, ("watch", "admin"));
    let file = written(host.dir.path(), "watch", &watch);
    let follow = ["audit", "--follow", "--token-file", &*file];
    let mut lines = Following::start(&host, &[&follow[..], &["--json"]].concat());
    let mut table = Following::start(&host, &[&follow[..], &["--after", "1"]].concat());
    // What is recorded already.
    let created = |who| (who, "create_token", "done");
    check(&lines.json(), 1, created("local:operator"));
    check(&lines.json(), 2, created("root"));
    assert!(table.line().contains("operation"));
    assert!(table.line().contains("\"watch\""));
    // What is recorded later.
    let shop = make(&host, &root, ("shop", "client"));
    check(&lines.json(), 3, created("root"));
    assert!(table.line().contains("\"shop\""));
    host.run(&["token", "list", "--token", &shop])
        .fails(1, "does not allow admin");
    check(&lines.json(), 4, ("shop", "list_tokens", "forbidden"));
    assert!(table.line().contains("forbidden"));
    // Both end when their token is revoked.
    host.run(&["token", "revoke", "watch", "--token", &root])
        .ok();
    let mut last = lines.json();
    while last["number"].is_u64() {
        last = lines.json();
    }
    assert_eq!(last["code"], "unauthorized", "{last}");
    for following in [&mut lines, &mut table] {
        while !following.line().is_empty() {}
        assert_eq!(following.child.wait().unwrap().code(), Some(1));
    }
}

async fn the_last_use_of_a_token_is_listed(place: Place) {
    let root = root(&place);
    let host = start(&place);
    let shop = make(&host, &root, ("shop", "client"));
    make(&host, &root, ("idle", "viewer"));
    let list = ["token", "list", "--json"];
    let with = [&list[..], &["--token", &*root]].concat();
    assert_eq!(last_use(&host.run(&with).ok(), "shop"), Value::Null);
    let append = ["append", "note-1", "noted", "1", "--token", &*shop];
    host.run(&append).ok();
    // It is stored when tokens are read the next time.
    let began = Instant::now();
    let listed = loop {
        let listed = host.run(&with).ok();
        if last_use(&listed, "shop").is_string() {
            break listed;
        }
        assert!(began.elapsed() < PATIENCE, "{listed}");
    };
    assert_eq!(last_use(&listed, "idle"), Value::Null);
    let used_at = last_use(&listed, "shop");
    let table = host.run(&["token", "list", "--token", &root]).ok();
    let row = table.lines().find(|line| line.contains("shop")).unwrap();
    assert!(row.contains(used_at.as_str().unwrap()), "{table}");
    // It is in the store.
    host.signal("TERM");
    let (ended, _dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let offline = run(&[&list[..], &["--store", place.url()]].concat()).ok();
    assert_eq!(last_use(&offline, "shop"), used_at);
}

/// When the token of this name was used last.
fn last_use(listed: &str, name: &str) -> Value {
    let tokens = listed.lines().map(serde_json::from_str::<Value>);
    let mut named = tokens.map(Result::unwrap).filter(|it| it["name"] == name);
    named.next().unwrap()["used_at"].clone()
}
