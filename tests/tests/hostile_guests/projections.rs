use std::sync::Arc;

use quipu::model::{
    Body, CommitData, EventId, Index, Kind, Name, Position, RecordedEvent, Timestamp,
};
use quipu::model::{StoredAs, Version};
use quipu::runtime::{Definition, Failure, FaultKind, Instance, Limits, Module, Refused, Work};
use quipu_tests::probe::{Probe, probe};
use serde_json::{Value, json};

use crate::{fault, runtime, tight};

fn load(probe: &Probe, limits: Limits) -> Arc<Module> {
    runtime(limits).load(&probe.component()).unwrap()
}

/// A projection with these members, and an instance to call.
fn projection(other: Value, limits: Limits) -> (Instance, Definition) {
    let module = load(&probe("note").projection("notes", 1, other), limits);
    let definition = module.projection("notes").unwrap().clone();
    (Instance::new(&module).unwrap(), definition)
}

fn event(number: u64, body: &Value) -> RecordedEvent {
    RecordedEvent {
        id: EventId::from_u128(number.into()),
        stream: "note-1".parse().unwrap(),
        version: Version(number),
        position: Position(10 * number),
        name: Name::new("noted").unwrap(),
        schema_version: 1,
        body: Body::json(body.to_string()).unwrap(),
        metadata: Some(r#"{"actor":"ann"}"#.into()),
        tags: vec!["a:b".into()],
        recorded_at: Timestamp(number),
        commit: Arc::new(CommitData::default()),
        stored_as: None,
    }
}

fn events(bodies: &[Value]) -> Vec<RecordedEvent> {
    let bodies = (1..).zip(bodies);
    bodies.map(|(number, body)| event(number, body)).collect()
}

fn keys(other: Value, bodies: &[Value]) -> Result<Vec<Vec<Box<str>>>, Failure> {
    let (mut instance, definition) = projection(other, tight());
    let events = events(bodies);
    instance.keys(&definition, &events.iter().collect::<Vec<_>>())
}

fn apply(other: Value, bodies: &[Value]) -> Result<Option<Value>, Failure> {
    let (mut instance, definition) = projection(other, Limits::default());
    let events = events(bodies);
    let work = [Work {
        key: "k",
        document: None,
        events: events.iter().collect(),
    }];
    let mut documents = instance.apply_documents(&definition, &work)?;
    let document = documents.pop().unwrap();
    Ok(document.map(|text| serde_json::from_str(&text).unwrap()))
}

fn check_refused(probe: &Probe, words: &str) {
    match runtime(tight()).load(&probe.component()) {
        Err(Refused::Projection(text)) => assert!(text.contains(words), "{text}"),
        other => panic!("expected an error with {words:?}, found {other:?}"),
    }
}

fn check_definition(other: Value, words: Option<&str>) {
    let probe = probe("note").projection("notes", 1, other);
    match words {
        None => drop(load(&probe, tight())),
        Some(words) => check_refused(&probe, words),
    }
}

fn check_fault<T: std::fmt::Debug>(answer: Result<T, Failure>, kind: FaultKind, words: &str) {
    let found = fault(answer);
    assert_eq!(found.kind, kind, "{found}");
    assert!(found.text.contains(words), "{}", found.text);
}

#[test]
fn a_definition_is_read_completely() {
    let (_, found) = projection(
        json!({
            "sources": [
                {"category": "note", "events": [["noted", 2], ["closed", 0]]},
                {"category": "$streams", "events": [["$stream-archived", 0]]},
                {"category": ""},
            ],
            "annotations": true,
            "indexes": [{"name": "status", "pointer": "/status", "kind": "text"}],
        }),
        tight(),
    );
    assert_eq!((&*found.name, found.version), ("notes", 1));
    assert!(found.detail.annotations && !found.detail.tags);
    let [note, streams, every] = &found.sources[..] else {
        panic!("{found:?}");
    };
    let named = |name: &str, version| (Name::new(name).unwrap(), version);
    assert_eq!(note.events, [named("noted", 2), named("closed", 0)]);
    assert_eq!(streams.category.as_deref(), Some("$streams"));
    assert!(every.category.is_none() && every.events.is_empty());
    assert_eq!(found.source("note"), Some(note));
    assert_eq!(found.source("loan"), Some(every));
    let expected = Index {
        name: "status".into(),
        pointer: "/status".into(),
        kind: Kind::Text,
    };
    assert_eq!(found.indexes, [expected]);
}

#[test]
fn a_component_without_projections_defines_none() {
    let module = load(&probe("note"), tight());
    assert!(module.projections().is_empty() && module.projection("notes").is_none());
}

#[test]
fn a_projection_name_must_be_a_valid_sql_view_name() {
    let long = "a".repeat(48);
    for name in ["a", "loan-views_2", &long] {
        load(&probe("note").projection(name, 1, json!({})), tight());
    }
    let longer = "a".repeat(49);
    for name in ["", "A", "2a", "-a", "a.b", "a b", "é", &longer] {
        let probe = probe("note").projection(name, 1, json!({}));
        check_refused(&probe, "is not 1 to 48 of a-z");
    }
}

#[test]
fn projections_are_bounded_and_have_distinct_names_and_a_version() {
    let many = |count| {
        (0..count).fold(probe("note"), |probe, number| {
            probe.projection(&format!("p{number}"), 1, json!({}))
        })
    };
    assert_eq!(load(&many(64), tight()).projections().len(), 64);
    check_refused(&many(65), "65 projections, at most 64");
    let twice = probe("note").projection("a", 1, json!({}));
    check_refused(
        &twice.projection("a", 2, json!({})),
        "two projections are called a",
    );
    check_refused(
        &probe("note").projection("a", 0, json!({})),
        "a: version 0: versions begin at 1",
    );
}

#[test]
fn sources_are_a_bounded_number_of_distinct_categories() {
    let many = |count| {
        let sources = (0..count).map(|number| json!({"category": format!("c{number}")}));
        json!({"sources": sources.collect::<Vec<_>>()})
    };
    check_definition(many(0), Some("notes: no source"));
    check_definition(many(64), None);
    check_definition(many(65), Some("65 sources, at most 64"));
    let of = |categories: &[&str]| {
        let sources = categories
            .iter()
            .map(|category| json!({"category": category}));
        json!({"sources": sources.collect::<Vec<_>>()})
    };
    check_definition(of(&["a", "a"]), Some("two sources of a"));
    check_definition(of(&["", ""]), Some("two sources of every category"));
    check_definition(of(&["$streams", "", "a"]), None);
    for bad in ["A", "a-b", "$other", "$"] {
        check_definition(of(&[bad]), Some("which is not a category"));
    }
}

#[test]
fn types_of_a_source_are_a_bounded_number_of_distinct_names() {
    let types = |category: &str, types: Value| json!({"sources": [{"category": category, "events": types}]});
    let many = |count| {
        let many = (0..count).map(|number| json!([format!("{number}"), 0]));
        types("note", many.collect())
    };
    check_definition(many(1_000), None);
    check_definition(many(1_001), Some("1001 types in the source of note"));
    let twice = json!([["a", 1], ["a", 2]]);
    check_definition(
        types("note", twice),
        Some("the source of note names a twice"),
    );
    for (name, words) in [
        ("", "must not be empty"),
        ("a\nb", "control character"),
        ("$a", "names in $ belong to the host"),
        (&*"a".repeat(256), "at most 255 bytes"),
    ] {
        check_definition(types("note", json!([[name, 1]])), Some(words));
    }
    check_definition(types("", json!([["$a", 1]])), None);
    check_definition(types("note", json!([["a".repeat(255), 1]])), None);
}

#[test]
fn indexes_are_a_bounded_number_of_distinct_json_pointers() {
    let index =
        |name: &str, pointer: &str| json!({"name": name, "pointer": pointer, "kind": "text"});
    let many = |count| {
        let indexes = (0..count).map(|number| index(&format!("i{number}"), ""));
        json!({"indexes": indexes.collect::<Vec<_>>()})
    };
    check_definition(many(16), None);
    check_definition(many(17), Some("17 indexes, at most 16"));
    let twice = json!({"indexes": [index("a", "/a"), index("a", "/b")]});
    check_definition(twice, Some("two indexes are called a"));
    let one = |name: &str, pointer: &str| json!({"indexes": [index(name, pointer)]});
    check_definition(
        one("A", ""),
        Some("the name of an index \"A\" is not 1 to 48"),
    );
    check_definition(one("a", &"/".repeat(255)), None);
    for bad in ["a", &"/".repeat(256)] {
        check_definition(one("a", bad), Some("index a: the pointer"));
    }
}

#[test]
fn keys_are_a_bounded_number_of_distinct_printable_texts() {
    let by_body = || json!({"keys": "body"});
    let of = |given: Vec<String>| keys(by_body(), &[json!({"keys": given})]);
    let many = |count: u32| (0..count).map(|number| number.to_string()).collect();
    assert_eq!(of(many(0)).unwrap(), [Vec::<Box<str>>::new()]);
    assert_eq!(of(many(256)).unwrap()[0].len(), 256);
    check_fault(of(many(257)), FaultKind::OutputTooLarge, "257");
    assert_eq!(of(vec!["é".repeat(127)]).unwrap()[0].len(), 1);
    check_fault(
        of(vec!["x".repeat(256)]),
        FaultKind::OutputTooLarge,
        "bytes of a key",
    );
    for bad in ["", "a\nb"] {
        check_fault(of(vec![bad.into()]), FaultKind::Contract, "is empty or");
    }
    check_fault(
        of(vec!["a".into(), "a".into()]),
        FaultKind::Contract,
        "twice",
    );
}

#[test]
fn a_guest_must_answer_for_each_event_and_each_document() {
    let bodies = [json!({}), json!({"bad": {"keys": "too-few"}})];
    check_fault(
        keys(json!({}), &bodies),
        FaultKind::Contract,
        "keys of 1 events for 2",
    );
    let bodies = [json!({"bad": {"apply": "too-few"}})];
    check_fault(
        apply(json!({}), &bodies),
        FaultKind::Contract,
        "0 documents for 1",
    );
}

#[test]
fn a_document_is_bounded_json() {
    let large = |bytes: usize| apply(json!({}), &[json!({"large": bytes})]);
    let found = large(1 << 20).unwrap().unwrap();
    assert_eq!(found.to_string().len(), 1 << 20);
    check_fault(
        large((1 << 20) + 1),
        FaultKind::OutputTooLarge,
        "bytes of the document \"k\": 1048577 is more than 1048576",
    );
    let bodies = [json!({"bad": {"apply": "not-json"}})];
    check_fault(
        apply(json!({}), &bodies),
        FaultKind::Contract,
        "document \"k\": not well-formed JSON",
    );
    let other = json!({"indexes": [{"name": "it", "pointer": "/list", "kind": "integer"}]});
    let list = |len: u32| apply(other.clone(), &[json!({"list": len})]);
    assert!(list(1_000).is_ok());
    check_fault(
        list(1_001),
        FaultKind::OutputTooLarge,
        "entries of the document \"k\" in it: 1001 is more than 1000",
    );
}

#[test]
fn faults_are_reported_with_their_kind() {
    for call in ["keys", "apply"] {
        let answer = |how: &str| {
            let body = json!({"bad": {call: how}});
            match call {
                "keys" => keys(json!({}), &[body]).map(drop),
                _ => apply(json!({}), &[body]).map(drop),
            }
        };
        check_fault(answer("trap"), FaultKind::Trap, "unreachable");
        check_fault(answer("internal"), FaultKind::Internal, "it says");
        check_fault(answer("loop"), FaultKind::OutOfFuel, "fuel");
        let bad = answer("bad-event");
        assert!(matches!(bad, Err(Failure::BadEvent(_))), "{bad:?}");
        let unknown = answer("unknown-event");
        assert!(
            matches!(unknown, Err(Failure::UnknownEvent(_))),
            "{unknown:?}"
        );
    }
    let (mut instance, mut other) = projection(json!({}), tight());
    other.name = "other".into();
    let events = events(&[json!({})]);
    let answer = instance.keys(&other, &events.iter().collect::<Vec<_>>());
    check_fault(answer, FaultKind::Internal, "no projection other");
    // The instance can still be called.
    other.name = "notes".into();
    let answer = instance.keys(&other, &events.iter().collect::<Vec<_>>());
    assert_eq!(answer.unwrap(), [["note-1".into()]]);
}

#[test]
fn tags_and_annotations_are_passed_if_the_projection_asks_for_them() {
    let options = json!({"tags": true, "annotations": true});
    let found = apply(options, &[json!({"n": 3, "status": "open"})]).unwrap();
    let expected = json!({
        "count": 1, "sum": 3, "last": 10, "status": "open",
        "seen": [r#"noted@1 0 {"n":3,"status":"open"}"#],
        "tags": ["a:b"], "annotations": {"actor": "ann"},
    });
    assert_eq!(found, Some(expected));
    let found = apply(json!({}), &[json!({}), json!({"delete": true})]);
    assert_eq!(found.unwrap(), None);
}

/// The documents that result from some events of two streams, in as many calls as the limits
/// require.
fn folded(limits: Limits) -> Vec<Option<String>> {
    let (mut instance, definition) = projection(json!({"keys": "body"}), limits);
    let mut all = Vec::new();
    for number in 1..=30 {
        // Every third stored event has three parts.
        let parts = if number % 3 == 0 { 3 } else { 1 };
        for part in 0..parts {
            let mut event = event(number, &json!({"n": number, "keys": ["a", "b"]}));
            event.stored_as = Some(Box::new(StoredAs::of(&event, part, parts)));
            all.push(event);
        }
    }
    let events: Vec<_> = all.iter().collect();
    let keys = instance.keys(&definition, &events).unwrap();
    assert!(keys.iter().all(|keys| **keys == ["a".into(), "b".into()]));
    let work = |key, document, events| Work {
        key,
        document,
        events,
    };
    let old = r#"{"count":5,"sum":-1}"#;
    let work = [
        work("a", None, events.clone()),
        work("idle", Some(old), Vec::new()),
        work("b", Some(old), events[..20].to_vec()),
        work("nothing", None, Vec::new()),
    ];
    instance.apply_documents(&definition, &work).unwrap()
}

#[test]
fn long_work_is_split_into_calls_with_the_same_result() {
    let whole = folded(Limits::default());
    assert_eq!(whole[1].as_deref(), Some(r#"{"count":5,"sum":-1}"#));
    assert_eq!(whole[3], None);
    let first: Value = serde_json::from_str(whole[0].as_ref().unwrap()).unwrap();
    assert_eq!((&first["count"], &first["last"]), (&json!(50), &json!(300)));
    for (events, bytes) in [(1, 4 << 20), (7, 4 << 20), (1_000, 1), (1_000, 900)] {
        let limits = Limits {
            events_per_call_max: events,
            call_bytes_max: bytes,
            ..Limits::default()
        };
        assert_eq!(folded(limits), whole, "{events} events, {bytes} bytes");
    }
}

#[test]
fn parts_of_one_event_are_passed_in_one_call() {
    let limits = Limits {
        events_per_call_max: 2,
        ..Limits::default()
    };
    let (mut instance, definition) = projection(json!({}), limits);
    let mut all = Vec::new();
    for part in 0..3 {
        let mut event = event(1, &json!({"bad": {"keys": "too-few"}}));
        event.stored_as = Some(Box::new(StoredAs::of(&event, part, 3)));
        all.push(event);
    }
    all.push(event(2, &json!({})));
    let answer = instance.keys(&definition, &all.iter().collect::<Vec<_>>());
    check_fault(answer, FaultKind::Contract, "keys of 0 events for 3");
}
