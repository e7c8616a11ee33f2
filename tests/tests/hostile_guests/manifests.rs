use quipu::runtime::Refused;

use crate::guest::{component_of, decider_with};
use crate::{runtime, tight};

/// The reason why a decider is refused whose manifest differs from the skeleton's by these
/// instructions and data.
fn check_refused(change: &str, data: &str, words: &str) {
    let forms = format!("(func $describe (type $describe) {change} (i32.const 0x500)) {data}");
    match runtime(tight()).load(&decider_with(&forms)) {
        Err(Refused::Manifest(text)) => assert!(text.contains(words), "{text}"),
        other => panic!("expected an error with {words:?}, found {other:?}"),
    }
}

fn check_accepted(change: &str, data: &str) {
    let forms = format!("(func $describe (type $describe) {change} (i32.const 0x500)) {data}");
    runtime(tight()).load(&decider_with(&forms)).unwrap();
}

fn store(at: u32, value: u32) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {value}))")
}

#[test]
fn a_deciders_name_is_a_category() {
    check_refused("", r#"(data (i32.const 0x400) "Probe")"#, "no category");
    check_refused("", r#"(data (i32.const 0x400) "$robe")"#, "no category");
    check_refused("", r#"(data (i32.const 0x400) "pro-e")"#, "no category");
}

#[test]
fn a_version_is_a_semantic_version() {
    for version in ["1.0.a", "01.00", "1..00", "1.0.-", "1.0+0"] {
        let data = format!(r#"(data (i32.const 0x410) "{version}")"#);
        check_refused("", &data, "semantic version");
    }
    for version in ["0.0.0", "9.8.7", "1.2.0"] {
        check_accepted("", &format!(r#"(data (i32.const 0x410) "{version}")"#));
    }
}

#[test]
fn schema_versions_start_at_one() {
    check_refused(&store(0x648, 0), "", "event went has schema version 0");
    check_refused(&store(0x608, 0), "", "command go has schema version 0");
    check_refused(&store(0x510, 0), "", "state schema version 0");
}

#[test]
fn names_are_unique_and_not_reserved() {
    let twice =
        store(0x528, 2) + "(memory.copy (i32.const 0x664) (i32.const 0x640) (i32.const 36))";
    check_refused(&twice, "", "two events are called went");
    check_refused("", r#"(data (i32.const 0x430) "$ent")"#, "names in $");
    check_refused("", r#"(data (i32.const 0x420) "\0a")"#, "control character");
    // An alias that equals the type's own name.
    let alias = store(0x64c, 0x640) + &store(0x650, 1);
    check_refused(&alias, "", "two events are called went");
}

/// Semantics 7.4.
#[test]
fn migrations_reach_the_current_version_without_gaps() {
    let chain = |steps: &[(u32, u32)]| {
        let mut change = store(0x510, 4) + &store(0x514, 0x800) + &store(0x518, steps.len() as u32);
        for (index, (from, to)) in steps.iter().enumerate() {
            let at = 0x800 + 8 * index as u32;
            change += &(store(at, *from) + &store(at + 4, *to));
        }
        change
    };
    for obeyed in [
        &[][..],
        &[(3, 4)],
        &[(1, 4)],
        &[(2, 3), (1, 2), (3, 4)],
        &[(1, 3), (3, 4)],
    ] {
        check_accepted(&chain(obeyed), "");
    }
    for (violated, words) in [
        (&[(1, 2)][..], "goes on at 4"),
        (&[(1, 2), (3, 4)], "goes on at 3"),
        (&[(1, 4), (3, 4)], "goes on at 3"),
        (&[(3, 4), (3, 4)], "two migrations from"),
        (&[(3, 3)], "a later version"),
        (&[(4, 3)], "a later version"),
        (&[(0, 4)], "a later version"),
        (&[(3, 5)], "goes on at 4"),
    ] {
        check_refused(&chain(violated), "", words);
    }
}

#[test]
fn the_lists_of_a_manifest_are_bounded() {
    check_refused(&store(0x518, 1_001), "", "1001 migrations");
    let zeros = store(0x524, 0x10000);
    check_refused(&(zeros + &store(0x528, 1_001)), "", "1001 events");
    let zeros = store(0x52c, 0x10000);
    check_refused(&(zeros + &store(0x530, 65)), "", "65 annotations");
}

#[test]
fn an_annotation_is_bounded_and_a_schema_of_documents_may_be_longer() {
    let annotation = |name: &str, bytes: u32| {
        let entry = [
            store(0x52c, 0x6000),
            store(0x530, 1),
            store(0x6000, 0x6100),
            store(0x6004, u32::try_from(name.len()).unwrap()),
            store(0x6008, 0x8000),
            store(0x600c, bytes),
        ];
        let data = format!("(data (i32.const 0x6100) \"{name}\")");
        (entry.concat(), data)
    };
    for (name, bytes, words) in [
        ("note", 4_097, "a value at most 4096"),
        ("document-schema.x", 65_537, "a value at most 65536"),
        // The bytes are zeros.
        (
            "document-schema.x",
            4_097,
            "JSON Schema of the documents of",
        ),
    ] {
        let (change, data) = annotation(name, bytes);
        check_refused(&change, &data, words);
    }
    let (change, data) = annotation("note", 4_096);
    check_accepted(&change, &data);
}

#[test]
fn a_state_schema_version_needs_a_decider() {
    let found = runtime(tight())
        .load(&component_of("no-decider", "upcaster-guest"))
        .unwrap_err();
    let expected = "it names a state schema version, but no decider is exported";
    assert_eq!(found, Refused::Manifest(expected.into()));
}
