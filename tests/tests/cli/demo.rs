//! `quipu demo`, the first thing that many people run.

use serde_json::Value;

use crate::program::{run, text};

#[test]
fn the_demo_executes_its_commands_and_keeps_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = text(&folder.path().join("demo"));
    let demo = ["demo", "--commands", "300", "--seed", "7", "--keep", &store];
    let said = run(&demo).ok();
    assert!(said.contains("300"), "{said}");
    // The same seed gives the same commands.
    let second = run(&["demo", "--commands", "300", "--seed", "7", "--json"]).ok();
    let last = second.lines().last().unwrap();
    let _: Value = serde_json::from_str(last).unwrap();
    let store = format!("sqlite:{store}/demo.db");
    let verified = run(&["verify", "--digests", "--store", &store, "--json"]).ok();
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["findings"], serde_json::json!([]), "{verified}");
}
