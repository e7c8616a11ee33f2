use std::collections::BTreeSet;

use quipu::runtime::Runtime;
use quipu_author::Components;
use quipu_author::conform::{Depth, Finding, RULES, conform};
use quipu_author::scenario::Scenarios;
use quipu_tests::guest::decider_that_exports;
use quipu_tests::probe::probe;
use serde_json::json;

use super::{run_in, with_scenarios};

const SCENARIOS: &str = r#"
scenarios:
  - name: notes
    stream: note-1
    given:
      - {event: noted, data: {n: 1}}
      - {event: noted, data: {n: 2}}
      - {event: old, data: {n: 3}}
    when: {command: note, json: '[["noted", {"n": 4}]]'}
    then: {state: $any}
"#;

/// The rules that a probe is found to break.
fn broken(rule: &str) -> (BTreeSet<&'static str>, Vec<Finding>) {
    broken_within(rule, Depth::Full)
}

fn broken_within(rule: &str, depth: Depth) -> (BTreeSet<&'static str>, Vec<Finding>) {
    let probe = probe("note")
        .event("noted", 1)
        .schema(r#"{"type": "array"}"#)
        .event_schema(r#"{"properties": {"n": {"type": "integer"}}}"#)
        .step("note", ("old", 1), &[("noted", 1)])
        .projection("notes", 1, json!({}))
        .document_schema("notes", r#"{"properties": {"last": {"type": "integer"}}}"#)
        .breaks(rule);
    let runtime = Runtime::new(Default::default()).unwrap();
    let module = runtime.load(&probe.component()).unwrap();
    let components = Components::of(vec![module]).unwrap();
    let scenarios = Scenarios::parse("notes.yaml".as_ref(), SCENARIOS).unwrap();
    let findings = conform(&runtime, &components, &[scenarios], depth);
    let is_broken = findings.iter().filter(|finding| finding.broken.is_some());
    (
        is_broken.map(|finding| finding.rule.name).collect(),
        findings,
    )
}

#[test]
fn a_guest_that_keeps_the_contract_has_no_findings() {
    let (broken, findings) = broken("none");
    assert!(broken.is_empty(), "{findings:#?}");
    let untried: Vec<_> = findings
        .iter()
        .filter(|it| it.not_tried.is_some())
        .collect();
    assert!(untried.is_empty(), "{untried:#?}");
    let tried: BTreeSet<_> = findings.iter().map(|it| it.rule.name).collect();
    // A component that is loaded already can't break the first one.
    let all: BTreeSet<_> = RULES.iter().skip(1).map(|rule| rule.name).collect();
    assert_eq!(tried, all);
}

#[test]
fn each_broken_rule_is_named() {
    for rule in RULES.iter().map(|rule| rule.name) {
        if ["loads", "exports"].contains(&rule) {
            // They need components of another form: the next tests.
            continue;
        }
        let (broken, findings) = broken(rule);
        assert!(broken.contains(rule), "{rule}: {findings:#?}");
    }
}

#[test]
fn data_that_does_not_match_its_schema_is_named_after_every_change() {
    for (rule, text) in [
        (
            "command-schemas",
            "stream key 1: an accepted command note does not match its schema: /: maxItems: expected at most 0 \
             elements, found 1",
        ),
        (
            "event-schemas",
            "stream key 1: event noted of command note does not match its schema: /n: type: \
             expected integer, found string",
        ),
        (
            "document-schemas",
            "scenario \"notes\": document \"note-1\" of projection notes does not match its schema: \
             /last: type: expected integer, found string",
        ),
    ] {
        let (broken, findings) = broken_within(rule, Depth::Short);
        assert_eq!(broken, BTreeSet::from([rule]), "{findings:#?}");
        let found = findings.iter().find(|it| it.rule.name == rule).unwrap();
        assert_eq!(found.broken.as_deref(), Some(text));
    }
}

#[test]
fn a_schema_that_can_not_be_checked_is_named_when_it_is_built_and_when_it_is_tried() {
    let command = r#"{"type": "array", "contains": {}}"#;
    let event = r##"{"$ref": "#/$defs/noted"}"##;
    let reasons = [
        "the keyword contains is not supported",
        "$ref #/$defs/noted leads nowhere",
    ];
    schemas_that_can_not_be_checked(command, event, reasons);
}

#[test]
fn a_schema_with_a_cycle_or_a_remote_reference_is_named_with_its_category_and_type() {
    let cycle = r##"{"$ref": "#"}"##;
    let remote = r#"{"$ref": "https://example.com/schema.json"}"#;
    let reasons = [
        "it refers to itself without an end",
        "$ref https://example.com/schema.json leads out of the schema; copy the definition into $defs",
    ];
    schemas_that_can_not_be_checked(cycle, remote, reasons);
}

/// Builds and checks a guest with a schema of its command, and one of its event and its documents.
fn schemas_that_can_not_be_checked(command: &str, event: &str, reasons: [&str; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
    let probe = probe("note")
        .event("noted", 1)
        .schema(command)
        .event_schema(event)
        .projection("notes", 1, json!({}))
        .document_schema("notes", event)
        .breaks("none");
    std::fs::write(dir.path().join("made.wasm"), probe.component()).unwrap();
    write(
        "quipu.toml",
        "name = \"note\"\nlanguage = \"rust\"\nbuild = 'cp made.wasm \"$QUIPU_COMPONENT\"'\n\
         scenarios = [\"rules.yaml\"]\n",
    );
    write(
        "rules.yaml",
        "scenarios:\n  - name: one\n    when: {command: note, json: '[[\"noted\", {\"n\": 1}]]'}\n    \
         then: {events: [{event: noted}]}\n",
    );
    let [of_command, of_event] = reasons;
    let texts = [
        ("command note of category note", of_command),
        ("event noted of category note", of_event),
        ("the documents of projection notes", of_event),
    ];
    let texts = texts.into_iter().map(|(whose, reason)| {
        format!(
            "component note: the schema of {whose} can't be checked: {reason}; \
             see docs/src/guests/schemas.md#validation"
        )
    });
    let texts: Vec<String> = texts.collect();
    let built = run_in(dir.path(), &["build"]);
    for text in &texts {
        let warning = format!("warning: {text}");
        assert!(
            built.err.lines().any(|line| line == warning),
            "{}",
            built.err
        );
    }
    built.ok();
    // No host refuses the component, so no rule is broken.
    let out = run_in(dir.path(), &["conform"]).ok();
    let rules = ["command-schemas", "event-schemas", "document-schemas"];
    for (rule, text) in rules.into_iter().zip(&texts) {
        let head = format!("not tried  {rule}:");
        let after = out.lines().skip_while(|line| !line.starts_with(&head));
        assert!(after.take(3).any(|line| line.trim() == *text), "{out}");
    }
}

#[test]
fn without_a_schema_there_is_no_rule_about_schemas() {
    let runtime = Runtime::new(Default::default()).unwrap();
    let probe = probe("note").event("noted", 1).breaks("none");
    let module = runtime.load(&probe.component()).unwrap();
    let components = Components::of(vec![module]).unwrap();
    let findings = conform(&runtime, &components, &[], Depth::Full);
    let mut rules = findings.iter().map(|it| it.rule.name);
    assert!(!rules.any(|name| name.contains("schema")), "{findings:#?}");
}

#[test]
fn an_export_that_the_contract_does_not_have_is_named() {
    let runtime = Runtime::new(Default::default()).unwrap();
    let module = runtime.load(&decider_that_exports("extra")).unwrap();
    let components = Components::of(vec![module]).unwrap();
    let findings = conform(&runtime, &components, &[], Depth::Short);
    let found = findings
        .iter()
        .find(|it| it.rule.name == "exports")
        .unwrap();
    assert_eq!(found.broken.as_deref(), Some("it also exports extra"));
    let others = findings.iter().filter(|it| it.rule.name == "describes");
    assert!(others.clone().count() == 1 && others.clone().all(|it| it.broken.is_none()));
}

#[test]
fn a_file_that_no_host_would_accept_is_named() {
    let dir = with_scenarios(SCENARIOS);
    std::fs::write(dir.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let said = run_in(dir.path(), &["conform", "core.wasm"]);
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("BROKEN     loads:\n"), "{}", said.out);
    assert!(said.out.contains("a core module"), "{}", said.out);
    let section = "           run `quipu explain loads`";
    assert!(said.out.lines().any(|line| line == section), "{}", said.out);
}

#[test]
fn the_example_keeps_every_rule() {
    let dir = with_scenarios(
        "scenarios:\n  - name: one\n    given:\n      - {command: open, data: {owner: ann}}\n      \
         - {command: deposit, data: {amount: 5}}\n    when: {command: withdraw, data: {amount: 2}}\n    \
         then: {events: [{event: withdrawn}]}\n",
    );
    let said = run_in(dir.path(), &["conform", "account.wasm", "rules.yaml"]);
    let out = said.ok();
    assert!(!out.contains("not tried"), "{out}");
    let passes = out.lines().filter(|line| line.starts_with("ok "));
    assert_eq!(passes.count(), 16, "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    // Without scenarios the rules about histories are not tried, and the output says so.
    let said = run_in(dir.path(), &["conform", "account.wasm", "--json"]);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&said.ok()).unwrap();
    let pure = findings.iter().find(|it| it["rule"] == "pure").unwrap();
    assert!(
        pure["not_tried"]
            .as_str()
            .unwrap()
            .contains("name a file of scenarios")
    );
}

#[test]
fn in_a_project_its_component_is_built_and_its_scenarios_are_used() {
    let dir = with_scenarios(
        "scenarios:\n  - name: one\n    given:\n      - {command: open, data: {owner: ann}}\n    \
         when: {command: deposit, data: {amount: 2}}\n    then: {events: [{event: deposited}]}\n",
    );
    std::fs::write(
        dir.path().join("quipu.toml"),
        "name = \"account\"\nlanguage = \"rust\"\nbuild = 'cp account.wasm \"$QUIPU_COMPONENT\"'\n\
         scenarios = [\"rules.yaml\"]\n",
    )
    .unwrap();
    // The component can be named, too.
    for more in [&[][..], &["rules.yaml"], &["account.wasm"]] {
        let out = run_in(dir.path(), &[&["conform"], more].concat()).ok();
        assert!(
            out.lines().any(|line| line.starts_with("ok         pure")),
            "{out}"
        );
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let said = run_in(
        elsewhere.path(),
        &["conform", "--dir", &dir.path().display().to_string()],
    );
    assert!(said.ok().contains("ok         pure"));
    run_in(elsewhere.path(), &["conform"]).fails(2, "name the component (.wasm) to check");
    run_in(dir.path(), &["conform", "a.wasm", "b.wasm"]).fails(2, "one component");
}
