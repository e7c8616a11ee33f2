//! The configuration says whether the data of commands are checked against their schema.

use quipu_tests::probe::probe;
use serde_json::json;

use crate::program::{Served, text};

#[test]
fn a_command_that_does_not_match_its_schema_is_refused_with_the_place_and_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[engine]\nvalidate = { note = \"enforce\" }\n").unwrap();
    let host = Served::start_in(dir, &["--config", &text(&config)]);
    let schema = json!({"items": {"prefixItems": [{}, {"required": ["n"]}]}}).to_string();
    let file = host.path("note.wasm");
    let component = probe("note").event("noted", 1).schema(&schema).component();
    std::fs::write(&file, component).unwrap();
    host.run(&["deploy", &text(&file)]).ok();
    host.run(&["execute", "note-1", "note", "[[\"noted\", {\"n\": 1}]]"])
        .ok();
    let refused = host.run(&["execute", "note-1", "note", "[[\"noted\", {}]]"]);
    refused.fails(
        1,
        "command note does not match its schema: /0/1: required: the member \"n\" is missing; \
         correct the data, as GET /v1/domain/openapi.json describes them (invalid-command)",
    );
}
