//! Commands are validated by the schemas that their decider declares, if their category says so.

use std::collections::HashMap;

use quipu::Host;
use quipu::engine::{Error, Options, Validation};
use quipu::model::{Command, Version};
use quipu::schema::Schema;
use quipu::store::Direction;
use quipu_tests::coin::coin;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::{Value, json};

on_every_store! {
    a_command_that_does_not_match_its_schema_is_refused_where_that_is_enforced,
    a_command_that_does_not_match_its_schema_is_decided_and_counted_where_that_is_reported,
    commands_are_not_validated_by_default,
    a_schema_applies_from_the_activation_of_its_decider,
    a_command_whose_schema_cannot_be_checked_is_decided,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_validated_on_a_temporary_store() {
    let host = host(&Place::memory(), Some(Validation::Enforce)).await;
    examples::deploy(&host, notes(&at_most(1)).component()).await;
    refused(
        &host,
        &two(),
        "/: maxItems: expected at most 1 elements, found 2",
    )
    .await;
}

/// A host that validates the commands of `note` and `coin`.
async fn host(place: &Place, validation: Option<Validation>) -> Host {
    let validation = validation.into_iter();
    let validate: HashMap<String, Validation> = validation
        .flat_map(|it| [("note".to_owned(), it), ("coin".to_owned(), it)])
        .collect();
    let options = Options {
        validate,
        ..Options::default()
    };
    place.builder().engine(options).build().await.unwrap()
}

/// A decider that accepts any list of events, with a schema that may say something else.
fn notes(schema: &str) -> Probe {
    probe("note").event("noted", 1).schema(schema)
}

fn at_most(items: u32) -> String {
    json!({"type": "array", "maxItems": items}).to_string()
}

fn two() -> Command {
    Command::new("note", json!([["noted", {}], ["noted", {}]]).to_string()).unwrap()
}

async fn execute(host: &Host, command: Command) -> Result<usize, Error> {
    let stream = build::stream("note-1");
    let executed = host.execute(&stream, command).await;
    executed.map(|executed| executed.events.len())
}

async fn refused(host: &Host, command: &Command, expected: &str) {
    let error = execute(host, command.clone()).await.unwrap_err();
    assert_eq!(error.code(), "invalid-command");
    let text = error.to_string();
    let start = format!("command note does not match its schema: {expected}; correct the data");
    assert!(text.starts_with(&start), "{text}");
}

async fn a_command_that_does_not_match_its_schema_is_refused_where_that_is_enforced(place: Place) {
    let host = host(&place, Some(Validation::Enforce)).await;
    examples::deploy(&host, notes(&at_most(1)).component()).await;
    refused(
        &host,
        &two(),
        "/: maxItems: expected at most 1 elements, found 2",
    )
    .await;
    let stream = build::stream("note-1");
    let read = host.read_stream(&stream, Version(1), Direction::Forward, 9);
    assert!(read.await.is_err(), "nothing was stored");
    let one = Command::new("note", json!([["noted", {}]]).to_string()).unwrap();
    assert_eq!(execute(&host, one).await.unwrap(), 1);
    // As in a preview, which counts nothing.
    let counted = host.schema_mismatches();
    let preview = host.preview(&stream, two(), false).await.unwrap_err();
    assert_eq!(preview.code(), "invalid-command");
    assert_eq!(host.schema_mismatches(), counted);
    // What the guest can't read is still its answer.
    let unknown = Command::new("unknown", "1").unwrap();
    assert_eq!(
        execute(&host, unknown).await.unwrap_err().code(),
        "invalid-command"
    );
    // A schema of schemars, through the whole path.
    examples::deploy(&host, coin()).await;
    for (data, expected) in [
        (
            json!({"wei": -1}),
            "/wei: minimum: expected at least 0, found -1",
        ),
        (
            json!({"wei": "1"}),
            "/wei: type: expected integer, found string",
        ),
        (json!({}), "/: required: the member \"wei\" is missing"),
    ] {
        let command = Command::new("deposit", data.to_string()).unwrap();
        let error = host.execute(&build::stream("coin-1"), command).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let wei = json!({"wei": 5}).to_string();
    let command = Command::new("deposit", wei).unwrap();
    host.execute(&build::stream("coin-1"), command)
        .await
        .unwrap();
}

async fn a_command_that_does_not_match_its_schema_is_decided_and_counted_where_that_is_reported(
    place: Place,
) {
    let host = host(&place, Some(Validation::Report)).await;
    examples::deploy(&host, notes(&at_most(1)).component()).await;
    for _ in 0..3 {
        assert_eq!(execute(&host, two()).await.unwrap(), 2);
    }
    let counted = host.schema_mismatches();
    let counted: Vec<_> = counted
        .iter()
        .map(|it| (&*it.category, it.command.as_str(), it.count))
        .collect();
    assert_eq!(counted, [("note", "note", 3)]);
}

async fn commands_are_not_validated_by_default(place: Place) {
    for validation in [None, Some(Validation::Off)] {
        let another = place.another();
        let host = host(&another, validation).await;
        examples::deploy(&host, notes(&at_most(1)).component()).await;
        assert_eq!(execute(&host, two()).await.unwrap(), 2);
        assert!(host.schema_mismatches().is_empty());
    }
}

async fn a_schema_applies_from_the_activation_of_its_decider(place: Place) {
    let host = host(&place, Some(Validation::Enforce)).await;
    examples::deploy(&host, notes(&at_most(1)).component()).await;
    let known = two().with_id("a").unwrap();
    refused(
        &host,
        &known,
        "/: maxItems: expected at most 1 elements, found 2",
    )
    .await;
    examples::deploy(&host, notes(&at_most(2)).version("2.0.0").component()).await;
    assert_eq!(execute(&host, known.clone()).await.unwrap(), 2);
    examples::deploy(&host, notes(&at_most(0)).version("3.0.0").component()).await;
    refused(
        &host,
        &two(),
        "/: maxItems: expected at most 0 elements, found 2",
    )
    .await;
    // A repeated command has the recorded answer, whatever the schema says now.
    assert_eq!(execute(&host, known).await.unwrap(), 2);
}

async fn a_command_whose_schema_cannot_be_checked_is_decided(place: Place) {
    let host = host(&place, Some(Validation::Enforce)).await;
    let parts = vec![json!({}); 4_000];
    for (version, schema) in [
        ("1.0.0", json!({"$ref": "#"})),
        ("2.0.0", json!({"$ref": "https://example.com/schema.json"})),
        ("3.0.0", json!({"prefixItems": parts})),
        ("4.0.0", json!({"if": {"minItems": 1}, "then": false})),
        ("5.0.0", json!({"type": "text"})),
    ] {
        let notes = notes(&schema.to_string()).version(version);
        examples::deploy(&host, notes.component()).await;
        assert_eq!(execute(&host, two()).await.unwrap(), 2, "{version}");
    }
}

/// The schemas of the commands of an example guest, as a file of this folder has them.
fn fixture(text: &str) -> Vec<(String, Schema)> {
    let all: Vec<Value> = serde_json::from_str(text).unwrap();
    let compiled = all.iter().map(|command| {
        let name = command["name"].as_str().unwrap();
        let schema = Schema::new(command["json_schema"].as_str().unwrap());
        (name.to_owned(), schema.unwrap())
    });
    compiled.collect()
}

#[test]
fn schemas_of_all_three_languages_are_understood() {
    for text in [
        include_str!("../../fixtures/schemas/loan-ts.json"),
        include_str!("../../fixtures/schemas/loan-py.json"),
        include_str!("../../fixtures/schemas/forms-rust.json"),
    ] {
        let schemas = fixture(text);
        let schema = |name: &str| &schemas.iter().find(|it| it.0 == name).unwrap().1;
        let partial = schemas.iter().filter(|it| it.1.is_partial());
        // Decimals of Python have a pattern.
        assert!(partial.count() <= 1);
        let submit = schema("submit");
        assert_eq!(submit.check(br#"{"amount": 5000}"#), Ok(()));
        for (data, path) in [
            (&br#"{"amount": -1}"#[..], "/amount"),
            (br#"{"amount": "5000"}"#, "/amount"),
            (br#"{}"#, "/"),
            (br#"[]"#, "/"),
        ] {
            assert_eq!(submit.check(data).unwrap_err().path, path);
        }
        let item = schema("schedule-work");
        assert_eq!(item.check(br#"{"item": "validate"}"#), Ok(()));
        assert_eq!(item.check(br#"{"item": null}"#).unwrap_err().path, "/item");
    }
}
