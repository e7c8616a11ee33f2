use serde_json::{Value, json};

use super::components::Components;
use super::names::{identifier, percent_encoded, type_name, unique};

/// The components and notes of one schema that is declared as `Loan`.
fn declared(schema: &str) -> (Value, Vec<String>) {
    let host = json!({"LoanTerm": {}});
    let mut components = Components::new(&host);
    assert_eq!(components.declare("Loan", "A loan.", schema), "Loan");
    let (schemas, notes) = components.finish(&json!({}));
    (Value::Object(schemas), notes)
}

#[test]
fn names_are_those_that_generators_know() {
    assert_eq!(
        type_name(&["loan_book", "pay-off now"]),
        "LoanBookPayOffNow"
    );
    assert_eq!(type_name(&["7"]), "T7");
    assert_eq!(identifier(&["loan", "pay-Off/now"]), "loan_pay_off_now");
    assert_eq!(unique("a", |name| ["a", "a2"].contains(&name)), "a3");
    assert_eq!(percent_encoded("a b/{c}"), "a%20b%2F%7Bc%7D");
}

#[test]
fn definitions_become_components_with_unique_names() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/loan",
        "properties": {"term": {"$ref": "#/$defs/term"}, "$ref": {"type": "string"}, "self": {"$ref": "#"},
            "part": {"$ref": "#/properties/term"}, "years": {"$ref": "#/$defs/term/properties/years"}},
        "const": {"$ref": "#/data"},
        "$defs": {"term": {"properties": {"years": {"type": "integer"}, "next": {"$ref": "#/$defs/term"}}}}
    });
    let (schemas, notes) = declared(&schema.to_string());
    let expected = json!({
        "Loan": {
            "description": "A loan.",
            "properties": {
                "term": {"$ref": "#/components/schemas/LoanTerm2"}, "$ref": {"type": "string"},
                "self": {"$ref": "#/components/schemas/Loan"},
                "part": {"$ref": "#/components/schemas/Loan/properties/term"},
                "years": {"$ref": "#/components/schemas/LoanTerm2/properties/years"}
            },
            "const": {"$ref": "#/data"}
        },
        "LoanTerm2": {"properties": {
            "years": {"type": "integer"}, "next": {"$ref": "#/components/schemas/LoanTerm2"}}}
    });
    assert_eq!(schemas, expected);
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn references_that_lead_out_are_left_out_with_a_note() {
    for target in [
        "https://example.com/x",
        "file:///x",
        "x.json#/a",
        "#/$defs/none",
        "#name",
        "#/%4",
    ] {
        let schema = json!({"properties": {"a": {"$ref": target}, "b": {"type": "string"}}});
        let (schemas, notes) = declared(&schema.to_string());
        let loan = &schemas["Loan"]["properties"];
        assert_eq!(loan["b"], json!({"type": "string"}), "{target}");
        assert_eq!(loan["a"].get("$ref"), None, "{target}");
        assert!(notes[0].contains(target), "{notes:?}");
    }
}

#[test]
fn schemas_that_are_no_schemas_accept_any_json() {
    let nested = "{\"anyOf\":[".repeat(6_000) + &"]}".repeat(6_000);
    for wrong in ["5", "[]", "{", &nested, r##"{"$ref":"#"}"##] {
        let (schemas, notes) = declared(wrong);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(schemas["Loan"].get("$ref"), None);
    }
    let (schemas, notes) = declared("");
    assert_eq!(schemas, json!({"Loan": {"description": "A loan."}}));
    assert!(notes.is_empty());
    let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    let (schemas, notes) = declared(&circle.to_string());
    assert!(
        !notes.is_empty() && schemas["LoanA"] == json!({}),
        "{schemas}"
    );
}

#[test]
fn the_size_of_all_schemas_is_limited() {
    let host = json!({});
    let mut components = Components::new(&host);
    let schema = json!({"description": "x".repeat(60_000)}).to_string();
    for _ in 0..200 {
        components.declare("Loan", "A loan.", &schema);
    }
    let (schemas, notes) = components.finish(&json!({}));
    assert_eq!(schemas.len(), 200);
    assert!(Value::Object(schemas).to_string().len() < 9 << 20);
    assert!(notes[0].contains("all schemas have more than 8388608 bytes"));
}
