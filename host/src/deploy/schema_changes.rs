//! Compares two JSON Schemas of a body. They come from guests, so the work is bounded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Deepest level that is compared. A schema may refer to itself.
const LEVELS_MAX: usize = 12;
/// Longest schema that is compared, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Most members, names and values that are compared in all schemas of two components. A schema that
/// refers to itself several times has more places than bytes.
pub(super) const WORK_MAX: usize = 1_000_000;
/// Longest path to a place that is compared, in bytes.
const PATH_BYTES_MAX: usize = 1_000;
/// Most differences that are listed.
const LISTED_MAX: usize = 20;

/// Who decides what a body looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The component reads it: a narrower schema refuses what was accepted.
    Read,
    /// The component writes it: a wider schema gives readers what they do not expect.
    Written,
}

/// Returns the differences, each with whether it breaks others. Nothing if a schema is missing or
/// can't be read, or is too long. `work` is what may still be compared.
pub(super) fn schema_changes(
    side: Side,
    old: &str,
    new: &str,
    work: &mut usize,
) -> Vec<(bool, String)> {
    if old == new || old.len().max(new.len()) > SCHEMA_BYTES_MAX {
        return Vec::new();
    }
    let (Ok(old), Ok(new)) = (serde_json::from_str(old), serde_json::from_str(new)) else {
        return Vec::new();
    };
    let mut comparison = Comparison {
        side,
        roots: (&old, &new),
        work,
        found: Vec::new(),
    };
    comparison.compare("", &old, &new, LEVELS_MAX);
    comparison.found.truncate(LISTED_MAX);
    comparison.found
}

struct Comparison<'a> {
    side: Side,
    roots: (&'a Value, &'a Value),
    work: &'a mut usize,
    found: Vec<(bool, String)>,
}

impl<'a> Comparison<'a> {
    fn add(&mut self, breaks: bool, place: &str, text: &str) {
        let place = if place.is_empty() { "/" } else { place };
        self.found.push((breaks, format!("{place} {text}")));
    }

    /// Whether this much can still be compared.
    fn works(&mut self, work: usize) -> bool {
        let left = self.work.checked_sub(work);
        *self.work = left.unwrap_or_default();
        left.is_some()
    }

    fn compare(&mut self, place: &str, old: &'a Value, new: &'a Value, levels: usize) {
        let is_enough = self.found.len() > LISTED_MAX || place.len() > PATH_BYTES_MAX;
        if levels == 0 || is_enough || !self.works(1) {
            return;
        }
        let old = resolved(self.roots.0, old);
        let new = resolved(self.roots.1, new);
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
            return;
        };
        self.types(place, old, new);
        self.values(place, old, new);
        self.members(place, old, new, levels);
        if let (Some(was), Some(is)) = (old.get("items"), new.get("items")) {
            self.compare(&format!("{place}/*"), was, is, levels - 1);
        }
    }

    fn types(&mut self, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (was, is) = (names(old.get("type")), names(new.get("type")));
        if was.is_empty() || is.is_empty() || !self.works(was.len() + is.len()) {
            return;
        }
        let narrower = was.iter().any(|it| !is.contains(it));
        let wider = is.iter().any(|it| !was.contains(it));
        if narrower || wider {
            let breaks = match self.side {
                Side::Read => narrower,
                Side::Written => wider,
            };
            let text = format!("is {} instead of {}", is.join(" or "), was.join(" or "));
            self.add(breaks, place, &text);
        }
    }

    fn values(&mut self, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (Some(was), Some(is)) = (values(old), values(new)) else {
            return;
        };
        let length = |all: &BTreeMap<String, usize>| all.keys().map(String::len).sum::<usize>();
        if !self.works(length(&was) + length(&is)) {
            return;
        }
        for value in in_order(&was).filter(|value| !is.contains_key(*value)) {
            let breaks = self.side == Side::Read;
            self.add(breaks, place, &format!("can't be {value} any more"));
        }
        for value in in_order(&is).filter(|value| !was.contains_key(*value)) {
            let breaks = self.side == Side::Written;
            self.add(breaks, place, &format!("can be {value}, too"));
        }
    }

    fn members(
        &mut self,
        place: &str,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        levels: usize,
    ) {
        let (Some(was), Some(is)) = (members(old), members(new)) else {
            return;
        };
        let (required_before, required) = (names(old.get("required")), names(new.get("required")));
        if !self.works(was.len() + is.len() + required_before.len() + required.len()) {
            return;
        }
        let required_before: BTreeSet<&str> = required_before.into_iter().collect();
        let required: BTreeSet<&str> = required.into_iter().collect();
        for (name, schema) in was {
            let inner = format!("{place}/{name}");
            let Some(now) = is.get(name) else {
                let breaks = match self.side {
                    Side::Read => new.get("additionalProperties") == Some(&Value::Bool(false)),
                    Side::Written => true,
                };
                self.add(breaks, &inner, "is removed");
                continue;
            };
            let (before, after) = (
                required_before.contains(name.as_str()),
                required.contains(name.as_str()),
            );
            match (before, after) {
                (false, true) => self.add(self.side == Side::Read, &inner, "is required now"),
                (true, false) => self.add(self.side == Side::Written, &inner, "may be missing now"),
                _ => {}
            }
            self.compare(&inner, schema, now, levels - 1);
        }
        for name in is.keys().filter(|name| !was.contains_key(*name)) {
            let is_required = required.contains(name.as_str());
            let text = match is_required {
                true => "is new and required",
                false => "is new",
            };
            let breaks = is_required && self.side == Side::Read;
            self.add(breaks, &format!("{place}/{name}"), text);
        }
    }
}

/// The values that a schema lists, as JSON, with their places in the list.
fn values(schema: &Map<String, Value>) -> Option<BTreeMap<String, usize>> {
    let values = schema.get("enum")?.as_array()?.iter().enumerate();
    Some(values.map(|(at, value)| (value.to_string(), at)).collect())
}

/// Values in the order of their list.
fn in_order(values: &BTreeMap<String, usize>) -> impl Iterator<Item = &str> {
    let mut all: Vec<_> = values.iter().collect();
    all.sort_by_key(|(_, at)| **at);
    all.into_iter().map(|(value, _)| value.as_str())
}

/// The members that a schema of an object names.
fn members(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// One name or a list of names.
fn names(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Follows a reference within the schema, a few steps at most.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..LEVELS_MAX {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let Some(pointer) = reference.and_then(|it| it.strip_prefix('#')) else {
            break;
        };
        match root.pointer(pointer) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(side: Side, old: &Value, new: &Value, expected: &[(bool, &str)]) {
        let work = &mut { WORK_MAX };
        let found = schema_changes(side, &old.to_string(), &new.to_string(), work);
        let found: Vec<(bool, &str)> = found.iter().map(|(it, text)| (*it, &**text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_breaks_depends_on_the_side() {
        let old = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer"}, "b": {"enum": ["x", "y"]}, "c": {"type": "string"}}});
        let new = json!({"type": "object", "required": ["a", "b", "d"], "properties": {
            "a": {"type": ["integer", "null"]}, "b": {"enum": ["x", "z"]}, "d": {}}});
        check(
            Side::Read,
            &old,
            &new,
            &[
                (false, "/a is integer or null instead of integer"),
                (true, "/b is required now"),
                (true, "/b can't be \"y\" any more"),
                (false, "/b can be \"z\", too"),
                (false, "/c is removed"),
                (true, "/d is new and required"),
            ],
        );
        check(
            Side::Written,
            &old,
            &new,
            &[
                (true, "/a is integer or null instead of integer"),
                (false, "/b is required now"),
                (false, "/b can't be \"y\" any more"),
                (true, "/b can be \"z\", too"),
                (true, "/c is removed"),
                (false, "/d is new and required"),
            ],
        );
    }

    #[test]
    fn a_schema_that_is_too_long_is_not_compared() {
        let of = |length: usize| json!({"type": "string", "title": "x".repeat(length)});
        let integer = json!({"type": "integer"});
        let expected = (true, "/ is integer instead of string");
        check(Side::Read, &of(60_000), &integer, &[expected]);
        check(Side::Read, &of(70_000), &integer, &[]);
    }

    #[test]
    fn references_are_followed_and_cycles_end() {
        let list = |kind: &str| {
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"properties": {
                "value": {"type": kind}, "next": {"$ref": "#/$defs/node"}}}}})
        };
        let found = schema_changes(
            Side::Read,
            &list("string").to_string(),
            &list("integer").to_string(),
            &mut { WORK_MAX },
        );
        assert!(found.contains(&(true, "/value is integer instead of string".to_owned())));
        assert!(found.len() <= LISTED_MAX);
        let round = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}});
        check(Side::Read, &round, &round, &[]);
        // Ten references to itself would be 10 to the power of 12 places.
        let members = (0..10).map(|n| (n.to_string(), json!({"$ref": "#"})));
        let wide = json!({"properties": members.collect::<Map<_, _>>()});
        let mut titled = wide.clone();
        titled["title"] = json!("wide");
        check(Side::Written, &wide, &titled, &[]);
        check(Side::Read, &json!(""), &json!({}), &[]);
    }
}
