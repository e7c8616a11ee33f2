//! Tests the JSON Schemas of the manifest.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use quipu_guest::testing::check_guest;
use quipu_guest::{
    Context, Decider, Manifest, Message, MessageType, Rejection, Time, Uuid, decider,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A list of lists.
#[derive(JsonSchema, Serialize, Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "odd/ n~me%")]
struct Odd {
    tree: Tree,
}

#[allow(dead_code)]
#[derive(Message, JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Command {
    /// Pays in.
    Deposit {
        /// In cents.
        amount: u64,
        #[serde(default)]
        note: String,
    },
    /// Closes it.
    Close,
    Freeze,
    #[quipu(alias = "old")]
    #[serde(alias = "old")]
    Attach(Tree),
    Odd(Odd),
    Nest(Box<Command>),
    Pair(Uuid, Time),
    #[serde(skip)]
    Never,
}

#[derive(JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Done {
        #[serde(default)]
        note: String,
    },
    Closed,
}

#[derive(Default, Serialize, Deserialize)]
struct Account;

impl Decider for Account {
    const CATEGORY: &'static str = "account";
    type Command = Command;
    type Event = Event;

    fn decide(&self, _: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        Ok(Vec::new())
    }

    fn evolve(self, _: Event) -> Self {
        self
    }
}

decider!(Account);

fn schema(types: &[MessageType], name: &str) -> Value {
    let known = types.iter().find(|known| known.name == name).unwrap();
    let text = known.json_schema.as_ref().unwrap();
    let mut schema: Value = serde_json::from_str(text).unwrap();
    let members = schema.as_object_mut().unwrap();
    let dialect = members.remove("$schema").unwrap();
    assert_eq!(dialect, "https://json-schema.org/draft/2020-12/schema");
    schema
}

#[test]
fn a_schema_is_that_of_the_content_of_its_variant() {
    check_guest::<Account>();
    let manifest = Manifest::of::<Account>();
    let command = |name| schema(&manifest.commands, name);
    let deposit = command("deposit");
    assert_eq!(deposit["description"], "Pays in.");
    assert_eq!(deposit["required"], json!(["amount"]));
    assert_eq!(deposit["additionalProperties"], false);
    assert_eq!(deposit["properties"]["amount"]["description"], "In cents.");
    assert_eq!(deposit.get("$defs"), None);
    let closed = json!({
        "description": "Closes it.",
        "type": ["object", "null"],
        "additionalProperties": false,
    });
    assert_eq!(command("close"), closed);
    assert_eq!(command("freeze")["type"], json!(["object", "null"]));
    let items = &command("pair")["prefixItems"];
    assert_eq!(items[0], json!({"type": "string", "format": "uuid"}));
    assert_eq!(items[1], json!({"type": "string", "format": "date-time"}));
    let done = schema(&manifest.events, "done");
    assert_eq!(done["required"], json!(["note"]));
    let closed = json!({"type": "object", "additionalProperties": false});
    assert_eq!(schema(&manifest.events, "closed"), closed);
}

#[test]
fn a_schema_has_the_definitions_that_it_refers_to() {
    let manifest = Manifest::of::<Account>();
    let names = |name| {
        let schema = schema(&manifest.commands, name);
        let definitions = schema["$defs"].as_object().unwrap();
        definitions.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names("attach"), ["Tree"]);
    assert_eq!(names("odd"), ["Tree", "odd/ n~me%"]);
    assert_eq!(names("nest"), ["Command", "Tree", "odd/ n~me%"]);
}

macro_rules! guest {
    ($name:ident, $event:ty) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name;

        impl Decider for $name {
            const CATEGORY: &'static str = "guest";
            type Command = $event;
            type Event = $event;

            fn decide(&self, _: $event, _: &Context) -> Result<Vec<$event>, Rejection> {
                Ok(Vec::new())
            }

            fn evolve(self, _: $event) -> Self {
                self
            }
        }

        decider!($name);
    };
}

#[derive(JsonSchema, Serialize, Deserialize)]
enum OnlyUnits {
    One,
    Two,
}

#[derive(JsonSchema, Serialize, Deserialize)]
enum Single {
    Only { text: String },
}

#[derive(Serialize, Deserialize)]
enum Plain {
    Nothing,
}

guest!(Units, OnlyUnits);
guest!(One, Single);
guest!(Without, Plain);

#[test]
fn enums_of_one_kind_of_variant_have_schemas_and_others_need_the_derive() {
    let units = Manifest::of::<Units>();
    for name in ["One", "Two"] {
        assert_eq!(schema(&units.events, name)["type"], "object");
    }
    let one = Manifest::of::<One>();
    assert_eq!(schema(&one.commands, "Only")["required"], json!(["text"]));
    check_guest::<Without>();
    assert_eq!(Manifest::of::<Without>().events[0].json_schema, None);
}

/// Has the schema that the number names, whatever it is.
#[derive(Serialize, Deserialize)]
struct Custom<const KIND: u8>;

const REMOTE: u8 = 1;
const LONG: u8 = 2;

impl<const KIND: u8> JsonSchema for Custom<KIND> {
    fn schema_name() -> Cow<'static, str> {
        "Custom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match KIND {
            REMOTE => json_schema!({"$ref": "https://example.com/schema.json"}),
            LONG => json_schema!({"description": "a".repeat(64 << 10)}),
            _ => json_schema!({"description": "a".repeat(63 << 10)}),
        }
    }
}

#[derive(JsonSchema, Serialize, Deserialize)]
enum Holds<const KIND: u8> {
    Held(Custom<KIND>),
}

guest!(Remote, Holds<REMOTE>);
guest!(Long, Holds<LONG>);
guest!(NotTooLong, Holds<0>);

#[test]
fn a_schema_that_a_manifest_must_not_have_is_left_out() {
    assert_eq!(Manifest::of::<Remote>().events[0].json_schema, None);
    assert_eq!(Manifest::of::<Long>().events[0].json_schema, None);
    check_guest::<NotTooLong>();
    let schema = Manifest::of::<NotTooLong>().events[0].json_schema.clone();
    assert!(schema.unwrap().len() > 63 << 10);
}

#[test]
#[should_panic(
    expected = "JSON Schema of command Held: it refers to https://example.com/schema.json; define"
)]
fn a_remote_reference_is_found() {
    check_guest::<Remote>();
}

#[test]
#[should_panic(expected = "JSON Schema of command Held: it has 65")]
fn a_schema_that_is_too_long_is_found() {
    check_guest::<Long>();
}

/// What `projections!` and the macros of deciders ask for the documents of each projection.
#[test]
fn a_document_that_derives_a_schema_declares_it() {
    #[allow(unused_imports)]
    use quipu_guest::__private::{Plain as _, Probe};

    struct Without;
    let documents = [
        ("trees", Probe::<Odd>::DOCUMENT_SCHEMA),
        ("others", Probe::<Without>::DOCUMENT_SCHEMA),
        ("remote", Probe::<Custom<REMOTE>>::DOCUMENT_SCHEMA),
        ("long", Probe::<Custom<LONG>>::DOCUMENT_SCHEMA),
    ];
    let manifest = Manifest::without_decider("views", "1.0.0").with_documents(&documents);
    let [(name, schema)] = &manifest.documents[..] else {
        panic!("{:?}", manifest.documents);
    };
    let annotations = manifest.annotations();
    assert_eq!(*name, "trees");
    assert_eq!(
        annotations,
        [("document-schema.trees".to_owned(), schema.clone())]
    );
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(schema["properties"]["tree"]["$ref"], "#/$defs/Tree");
    assert!(schema["$defs"]["Tree"]["properties"]["children"].is_object());
}
