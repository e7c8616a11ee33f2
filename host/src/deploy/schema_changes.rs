//! Compares two JSON Schemas of a body.

use serde_json::{Map, Value};

/// Deepest level that is compared. A schema may refer to itself.
const LEVELS_MAX: usize = 12;
/// Most places that are compared. A schema that refers to itself several times has more places than
/// bytes.
const PLACES_MAX: usize = 10_000;
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
/// can't be read.
pub(super) fn schema_changes(side: Side, old: &str, new: &str) -> Vec<(bool, String)> {
    let (Ok(old), Ok(new)) = (serde_json::from_str(old), serde_json::from_str(new)) else {
        return Vec::new();
    };
    let mut comparison = Comparison {
        side,
        roots: (&old, &new),
        places: 0,
        found: Vec::new(),
    };
    comparison.compare("", &old, &new, LEVELS_MAX);
    comparison.found.truncate(LISTED_MAX);
    comparison.found
}

struct Comparison<'a> {
    side: Side,
    roots: (&'a Value, &'a Value),
    places: usize,
    found: Vec<(bool, String)>,
}

impl<'a> Comparison<'a> {
    fn add(&mut self, breaks: bool, place: &str, text: &str) {
        let place = if place.is_empty() { "/" } else { place };
        self.found.push((breaks, format!("{place} {text}")));
    }

    fn compare(&mut self, place: &str, old: &'a Value, new: &'a Value, levels: usize) {
        self.places += 1;
        if levels == 0 || self.places > PLACES_MAX || self.found.len() > LISTED_MAX {
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
        if was.is_empty() || is.is_empty() {
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
        let values =
            |schema: &'_ Map<String, Value>| schema.get("enum").and_then(Value::as_array).cloned();
        let (Some(was), Some(is)) = (values(old), values(new)) else {
            return;
        };
        for value in was.iter().filter(|value| !is.contains(value)) {
            let breaks = self.side == Side::Read;
            self.add(breaks, place, &format!("can't be {value} any more"));
        }
        for value in is.iter().filter(|value| !was.contains(value)) {
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
                required_before.contains(&name.as_str()),
                required.contains(&name.as_str()),
            );
            match (before, after) {
                (false, true) => self.add(self.side == Side::Read, &inner, "is required now"),
                (true, false) => self.add(self.side == Side::Written, &inner, "may be missing now"),
                _ => {}
            }
            self.compare(&inner, schema, now, levels - 1);
        }
        for name in is.keys().filter(|name| !was.contains_key(*name)) {
            let is_required = required.contains(&name.as_str());
            let text = match is_required {
                true => "is new and required",
                false => "is new",
            };
            let breaks = is_required && self.side == Side::Read;
            self.add(breaks, &format!("{place}/{name}"), text);
        }
    }
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
        let found = schema_changes(side, &old.to_string(), &new.to_string());
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
    fn references_are_followed_and_cycles_end() {
        let list = |kind: &str| {
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"properties": {
                "value": {"type": kind}, "next": {"$ref": "#/$defs/node"}}}}})
        };
        let found = schema_changes(
            Side::Read,
            &list("string").to_string(),
            &list("integer").to_string(),
        );
        assert!(found.contains(&(true, "/value is integer instead of string".to_owned())));
        assert!(found.len() <= LISTED_MAX);
        let round = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}});
        check(Side::Read, &round, &round, &[]);
        // Ten references to itself would be 10 to the power of 12 places.
        let members = (0..10).map(|n| (n.to_string(), json!({"$ref": "#"})));
        let wide = json!({"properties": members.collect::<Map<_, _>>()});
        check(Side::Written, &wide, &wide, &[]);
        assert!(schema_changes(Side::Read, "", "{}").is_empty());
    }
}
