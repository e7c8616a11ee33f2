//! What differs between two states.

use std::collections::BTreeMap;

#[cfg(test)]
use serde_json::Value;
use serde_json::value::RawValue;

use crate::members::{Members, array, json};

/// Most differences that are listed.
const CHANGES_MAX: usize = 500;
/// The deepest level that is compared member by member.
const LEVELS: usize = 64;

/// Lists what differs, each with its place as a JSON pointer. Values keep every digit.
pub fn changes(before: &RawValue, after: &RawValue) -> Box<RawValue> {
    let mut changes = Vec::new();
    compare(
        String::new(),
        Some(before),
        Some(after),
        LEVELS,
        &mut changes,
    );
    array(&changes)
}

fn compare(
    path: String,
    before: Option<&RawValue>,
    after: Option<&RawValue>,
    levels: usize,
    changes: &mut Vec<Box<RawValue>>,
) {
    let text = |value: Option<&RawValue>| value.map(|it| it.get().to_owned());
    if changes.len() >= CHANGES_MAX || text(before) == text(after) {
        return;
    }
    let parts = match (before.map(parts), after.map(parts), levels) {
        (Some(Parts::Object(before)), Some(Parts::Object(after)), 1..) => by_name(before, after),
        (Some(Parts::Array(before)), Some(Parts::Array(after)), 1..) => by_index(before, after),
        _ => return changes.push(change(path, before, after)),
    };
    for (segment, before, after) in parts {
        let segment = segment.replace('~', "~0").replace('/', "~1");
        let path = format!("{path}/{segment}");
        compare(
            path,
            before.as_deref(),
            after.as_deref(),
            levels - 1,
            changes,
        );
    }
}

fn change(path: String, before: Option<&RawValue>, after: Option<&RawValue>) -> Box<RawValue> {
    let mut change = Members::default();
    change.set("path", json(path));
    for (name, value) in [("before", before), ("after", after)] {
        if let Some(value) = value {
            change.set(name, value.to_owned());
        }
    }
    change.into_raw()
}

/// A value that may be compared part by part.
enum Parts {
    Object(Members),
    Array(Vec<Box<RawValue>>),
    Other,
}

fn parts(value: &RawValue) -> Parts {
    if let Some(members) = Members::of(value) {
        return Parts::Object(members);
    }
    serde_json::from_str(value.get()).map_or(Parts::Other, Parts::Array)
}

/// A part before and after, with its name.
type Pair = (String, Option<Box<RawValue>>, Option<Box<RawValue>>);

fn by_name(before: Members, after: Members) -> Vec<Pair> {
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for (name, value) in before.0 {
        pairs.insert(name.clone(), (name, Some(value), None));
    }
    for (name, value) in after.0 {
        let pair = pairs.entry(name.clone());
        pair.or_insert((name, None, None)).2 = Some(value);
    }
    pairs.into_values().collect()
}

fn by_index(before: Vec<Box<RawValue>>, after: Vec<Box<RawValue>>) -> Vec<Pair> {
    let length = before.len().max(after.len());
    let (mut before, mut after) = (before.into_iter(), after.into_iter());
    let pairs = (0..length).map(|index| (index.to_string(), before.next(), after.next()));
    pairs.collect()
}

/// The text of a change, for tests.
#[cfg(test)]
fn listed(before: &str, after: &str) -> Value {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    serde_json::from_str(changes(&raw(before), &raw(after)).get()).unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_listed_with_its_place() {
        let before = r#"{"a":1,"b":{"c":[1,2],"d/e":0},"gone":true,"same":{},"x y":[0]}"#;
        let after = r#"{"a":1,"b":{"c":[1,3,4],"d/e":1},"new":null,"same":{},"x y":{}}"#;
        let expected = json!([
            {"path": "/b/c/1", "before": 2, "after": 3},
            {"path": "/b/c/2", "after": 4},
            {"path": "/b/d~1e", "before": 0, "after": 1},
            {"path": "/gone", "before": true},
            {"path": "/new", "after": null},
            {"path": "/x y", "before": [0], "after": {}},
        ]);
        assert_eq!(listed(before, after), expected);
        assert_eq!(listed("{}", "{}"), json!([]));
        assert_eq!(
            listed("1", "[]"),
            json!([{"path": "", "before": 1, "after": []}])
        );
    }

    #[test]
    fn the_number_of_differences_is_bounded() {
        let many: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
        let many = format!("[{}]", many.join(","));
        assert_eq!(listed("[]", &many).as_array().unwrap().len(), CHANGES_MAX);
    }
}
