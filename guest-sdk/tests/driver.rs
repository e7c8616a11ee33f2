//! Tests what a host sees of a guest, without a host.

#![allow(clippy::unwrap_used)]

use quipu_guest::driver::{DecideError, Driver, FoldError, Snapshot};
use quipu_guest::testing::given;
use quipu_guest::{Context, Decider, Manifest, Rejection, Time, decider};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    Add { item: String },
    AddTwice { item: String },
    Clear,
    Sign,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Added { item: String },
    Cleared,
    Signed { by: String, at: Time },
}

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

impl Decider for Cart {
    const CATEGORY: &'static str = "cart";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
        Ok(match command {
            Command::Add { item } if self.items.contains(&item) => {
                return Err(Rejection::new("already-there", item.clone()).details(&self.items));
            }
            Command::Add { item } => vec![Event::Added { item }],
            Command::AddTwice { item } => {
                vec![Event::Added { item: item.clone() }, Event::Added { item }]
            }
            Command::Clear if self.items.is_empty() => vec![],
            Command::Clear => vec![Event::Cleared],
            Command::Sign => vec![Event::Signed {
                by: context.annotation("actor").unwrap_or("nobody").to_owned(),
                at: context.accepted_at(),
            }],
        })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Added { item } => self.items.push(item),
            Event::Cleared => self.items.clear(),
            Event::Signed { .. } => {}
        }
        self
    }

    fn view(&self) -> impl Serialize {
        (!self.items.is_empty()).then_some(&self.items)
    }

    fn tags(event: &Event) -> Vec<String> {
        match event {
            Event::Added { item } => vec![format!("item:{item}")],
            _ => vec![],
        }
    }

    fn event_schema_version(event_type: &str) -> u32 {
        if event_type == "signed" { 2 } else { 1 }
    }
}

decider!(Cart);

fn cart(items: &[&str]) -> Driver<Cart> {
    let mut cart = Driver::<Cart>::open("9", None).unwrap();
    for item in items {
        cart.apply("added", 1, &format!(r#"{{"item":"{item}"}}"#))
            .unwrap();
    }
    cart
}

fn decide(cart: &Driver<Cart>, command_type: &str, body: &str) -> Result<String, DecideError> {
    let events = cart.decide(command_type, 1, body, Context::default())?;
    let text = |event: &quipu_guest::driver::NewEvent| {
        format!(
            "{} v{} {} {:?}",
            event.event_type, event.schema_version, event.body, event.tags
        )
    };
    Ok(events.iter().map(text).collect::<Vec<_>>().join("; "))
}

#[test]
fn the_manifest_names_what_the_enums_name() {
    let manifest = Manifest::of::<Cart>();
    let names = |types: &[quipu_guest::MessageType]| {
        types
            .iter()
            .map(|t| (t.name, t.schema_version))
            .collect::<Vec<_>>()
    };
    assert_eq!((manifest.name, manifest.state_schema_version), ("cart", 3));
    assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        names(&manifest.commands),
        [("add", 1), ("add-twice", 1), ("clear", 1), ("sign", 1)]
    );
    assert_eq!(
        names(&manifest.events),
        [("added", 1), ("cleared", 1), ("signed", 2)]
    );
}

#[test]
fn decided_events_carry_type_version_body_and_tags() {
    let cart = cart(&["egg"]);
    assert_eq!(
        decide(&cart, "add", r#"{"item":"oil"}"#).unwrap(),
        r#"added v1 {"item":"oil"} ["item:oil"]"#
    );
    assert_eq!(decide(&cart, "clear", "null").unwrap(), "cleared v1 {} []");
    assert_eq!(
        decide(&cart, "sign", "{}").unwrap(),
        r#"signed v2 {"by":"nobody","at":"1970-01-01T00:00:00.000000Z"} []"#
    );
}

#[test]
fn a_decision_leaves_the_aggregate_unchanged() {
    let cart = cart(&["egg"]);
    let first = decide(&cart, "add-twice", r#"{"item":"oil"}"#);
    assert_eq!(first, decide(&cart, "add-twice", r#"{"item":"oil"}"#));
    assert_eq!(cart.view().as_deref(), Some(r#"["egg"]"#));
}

#[test]
fn no_events_are_an_answer() {
    assert_eq!(decide(&cart(&[]), "clear", "{}"), Ok(String::new()));
    given::<Cart>([]).when(Command::Clear).nothing();
}

#[test]
fn a_rejection_has_code_message_and_details() {
    let Err(DecideError::Rejected(rejection)) =
        decide(&cart(&["egg", "oil"]), "add", r#"{"item":"oil"}"#)
    else {
        panic!("accepted");
    };
    assert_eq!(
        (rejection.code(), rejection.message()),
        ("already-there", "oil")
    );
    assert_eq!(rejection.details_json(), Some(r#"["egg","oil"]"#));
}

#[test]
fn a_command_that_cannot_be_read_is_named_with_its_fault() {
    let bad = |command_type, body| {
        decide(&cart(&[]), command_type, body)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(bad("buy", "{}"), "bad command: cart has no command buy");
    assert_eq!(
        bad("add", r#"{"item":1}"#),
        "bad command: command add: body does not fit: invalid type: integer `1`, expected a \
         string at line 1 column 9"
    );
    let newer = cart(&[]).decide("add", 2, r#"{"item":"a"}"#, Context::default());
    assert_eq!(
        newer.unwrap_err().to_string(),
        "bad command: command add: schema version 2, expected 1"
    );
}

#[test]
fn an_event_that_cannot_be_read_is_distinguished_from_an_unknown_one() {
    let apply = |event_type, version, body| {
        let mut cart = cart(&["egg"]);
        let error = cart.apply(event_type, version, body).unwrap_err();
        assert_eq!(cart.view().as_deref(), Some(r#"["egg"]"#));
        error
    };
    assert!(matches!(apply("sold", 1, "{}"), FoldError::UnknownEvent(_)));
    assert_eq!(
        apply("signed", 1, r#"{"by":"a","at":1}"#),
        FoldError::UnknownEvent("event signed: schema version 1, expected 2".to_owned())
    );
    assert!(matches!(apply("added", 1, "{}"), FoldError::BadEvent(_)));
}

#[test]
fn a_snapshot_opens_as_the_state_it_was_taken_of() {
    let snapshot = cart(&["egg", "oil"]).snapshot().unwrap();
    assert_eq!(
        snapshot,
        Snapshot {
            state_schema_version: 3,
            body: r#"{"items":["egg","oil"]}"#.to_owned()
        }
    );
    let opened = Driver::<Cart>::open("9", Some(&snapshot)).unwrap();
    assert_eq!(opened.view().as_deref(), Some(r#"["egg","oil"]"#));
}

#[test]
fn a_snapshot_of_another_form_is_refused() {
    let open = |state_schema_version, body: &str| {
        let snapshot = Snapshot {
            state_schema_version,
            body: body.to_owned(),
        };
        Driver::<Cart>::open("9", Some(&snapshot))
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        open(2, r#"{"items":[]}"#),
        "bad event: snapshot of cart: state schema version 2, expected 3"
    );
    assert!(open(3, "{}").contains("missing field `items`"));
}

#[test]
fn a_view_of_null_is_not_shown() {
    assert_eq!(cart(&[]).view(), None);
    assert_eq!(given::<Cart>([]).view(), "null");
}

#[test]
fn a_decision_may_depend_on_the_context() {
    given::<Cart>([])
        .at("1970-01-01T00:00:05Z")
        .with_annotation("actor", "112")
        .when(Command::Sign)
        .then([Event::Signed {
            by: "112".to_owned(),
            at: Time::from_us(5_000_000),
        }]);
}
