use quipu_tests::probe::{Probe, probe};
use serde_json::{Value, json};

use super::run_in;

fn compare(old: &Probe, new: &Probe, more: &[&str]) -> crate::program::Said {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("old.wasm"), old.component()).unwrap();
    std::fs::write(dir.path().join("new.wasm"), new.component()).unwrap();
    run_in(
        dir.path(),
        &[&["diff", "old.wasm", "new.wasm"], more].concat(),
    )
}

#[test]
fn what_breaks_is_named_with_whom_it_breaks() {
    let old = probe("note")
        .event("noted", 1)
        .event("moved", 1)
        .event("gone", 1)
        .state(2, &[])
        .step("note", ("old", 1), &[("noted", 1)])
        .projection(
            "notes",
            2,
            json!({"indexes": [{"name": "n", "pointer": "/n", "kind": "integer"}]}),
        );
    let new = probe("note")
        .version("2.0.0")
        .event("noted", 2)
        .event_once_called("carried", 1, &["moved"])
        .event("added", 1)
        .state(3, &[])
        .projection("notes", 3, json!({}));
    let said = compare(&old, &new, &[]);
    assert_eq!(
        said.ok(),
        "breaks  readers: event noted has schema version 2 instead of 1, and no step lifts stored \
         ones\n\
         breaks  readers: event gone is removed, and no alias or step reads stored ones\n\
         breaks  readers: the step from note/old of version 1 is removed; stored events of it are not \
         lifted\n\
         breaks  queries: projection notes has no index n any more\n\
         note    readers: event moved is called carried now\n\
         note    readers: event added is new\n\
         note    queries: projection notes is rebuilt, version 2 to 3\n\
         note    snapshots: states have version 3 instead of 2 without a migration; streams are \
         folded from their events\n"
    );
    let said = compare(&old, &new, &["--check", "--json"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("4 of 8 changes break something"),
        "{}",
        said.err
    );
}

#[test]
fn components_that_describe_themselves_in_the_same_way_have_no_changes() {
    let note = probe("note").event("noted", 1);
    let said = compare(&note, &note.clone().version("1.0.1"), &["--check"]);
    assert_eq!(said.ok(), "they describe themselves in the same way\n");
    // A step of another category lifts none of its events.
    let elsewhere = probe("note").event("noted", 2);
    let elsewhere = elsewhere.step("other", ("noted", 1), &[("noted", 2)]);
    assert_eq!(compare(&note, &elsewhere, &["--check"]).code, 1);
    let lifted = probe("note").event("noted", 2);
    let lifted = lifted.step("note", ("noted", 1), &[("noted", 2)]);
    let said = compare(&note, &lifted, &["--check", "--json"]);
    let found: Value = serde_json::from_str(&said.ok()).unwrap();
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .all(|change| change["breaks"] == false)
    );
}

#[test]
fn a_change_of_the_documents_of_a_projection_is_named() {
    let noted = |schema: Value| {
        probe("note")
            .event("noted", 1)
            .projection("notes", 1, json!({}))
            .document_schema("notes", &schema.to_string())
    };
    let old = noted(json!({
        "type": "object", "required": ["count"],
        "properties": {"count": {"type": "integer"}, "last": {"type": "string"}},
    }));
    let new = noted(json!({
        "type": "object",
        "properties": {"count": {"type": "string"}, "last": {"type": "string"}},
    }));
    let said = compare(&old, &new, &["--check"]);
    assert_eq!(said.code, 1, "{}", said.out);
    for change in [
        "/count is string instead of integer",
        "/count may be missing now",
    ] {
        let is_named = |line: &str| {
            line.starts_with("breaks  queries: documents of notes: ") && line.contains(change)
        };
        assert!(said.out.lines().any(is_named), "{change}: {}", said.out);
    }
    compare(&old, &old, &["--check"]).ok();
}
