//! An example of data, from the JSON Schema that describes them.
//!
//! Its values are plain ones that a person replaces. It matches the schema where `required`, types,
//! bounds and choices decide that; rules such as `pattern` and `not` are not followed.

use serde_json::{Map, Number, Value, json};

use super::described::Described;

/// Deeper levels are left out: a schema may refer to itself.
const DEPTH_MAX: usize = 12;
/// Deeper than that, `null` is preferred where it is a choice.
const CHOICE_DEPTH_MAX: usize = 4;
/// The most bytes of an example, about: each value and each name counts.
const BYTES_MAX: usize = 16 << 10;
/// The most entries that are read of one list of a schema: names, parts, choices.
const ENTRIES_MAX: usize = 200;
/// The most elements of one array, and the most characters of a text.
const LENGTH_MAX: usize = 100;

/// Returns data of a schema. `described` has the parts to which the schema refers.
pub fn of<'a>(described: &'a Described, schema: &'a Value) -> Value {
    let resolved = |schema: &'a Value| described.resolved(schema);
    let mut example = Example {
        resolved: &resolved,
        left: BYTES_MAX,
    };
    example.value(schema, 0)
}

struct Example<'a, 'r> {
    /// The schema to which a schema refers, or itself.
    resolved: &'r dyn Fn(&'a Value) -> Option<&'a Value>,
    /// Bytes that it may still have.
    left: usize,
}

impl<'a> Example<'a, '_> {
    fn value(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth > DEPTH_MAX || !self.takes(8) {
            return Value::Null;
        }
        let Some(members) = schema.as_object() else {
            return json!({});
        };
        if members.contains_key("$ref") {
            return match (self.resolved)(schema) {
                Some(schema) => self.value(schema, depth + 1),
                None => json!({}),
            };
        }
        if let Some(value) = given(members)
            && self.has_room_for(value)
        {
            return value.clone();
        }
        let value = match kind(members) {
            Some("object") => self.object(members, depth),
            Some("array") => self.array(members, depth),
            Some("string") => text(members),
            Some("integer") => number(members, true),
            Some("number") => number(members, false),
            Some("boolean") => false.into(),
            Some("null") => Value::Null,
            _ => return self.of_parts(members, json!({}), depth),
        };
        self.of_parts(members, value, depth)
    }

    /// Adds what `allOf` and the first choice of `oneOf` and `anyOf` say.
    fn of_parts(&mut self, members: &'a Map<String, Value>, value: Value, depth: usize) -> Value {
        let list = |keyword| {
            let list = members.get(keyword).and_then(Value::as_array);
            let list = list.map_or(&[][..], Vec::as_slice);
            &list[..list.len().min(ENTRIES_MAX)]
        };
        let mut parts: Vec<&Value> = list("allOf").iter().collect();
        for keyword in ["oneOf", "anyOf"] {
            let choices = list(keyword);
            let wanted = |choice: &&Value| (choice["type"] == "null") == (depth > CHOICE_DEPTH_MAX);
            parts.extend(choices.iter().find(wanted).or(choices.first()));
        }
        parts.into_iter().fold(value, |value, part| {
            let part = self.value(part, depth + 1);
            match (value, part) {
                (Value::Object(mut value), Value::Object(part)) => {
                    value.extend(part);
                    Value::Object(value)
                }
                (_, part) => part,
            }
        })
    }

    /// The members that are required; all, if none is.
    fn object(&mut self, members: &'a Map<String, Value>, depth: usize) -> Value {
        let properties = members.get("properties").and_then(Value::as_object);
        let required = members.get("required").and_then(Value::as_array);
        let required = required.filter(|names| !names.is_empty());
        let names: Vec<&str> = match required {
            Some(names) => {
                let names = names.iter().take(ENTRIES_MAX);
                names.filter_map(Value::as_str).collect()
            }
            None => {
                let names = properties.into_iter().flat_map(Map::keys);
                names.take(ENTRIES_MAX).map(String::as_str).collect()
            }
        };
        let mut object = Map::new();
        for name in names {
            if !self.takes(name.len()) {
                break;
            }
            let schema = properties.and_then(|properties| properties.get(name));
            let value = schema.map_or_else(|| json!({}), |schema| self.value(schema, depth + 1));
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    /// Takes bytes of those that are left. Returns false if there are fewer.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// Takes the bytes of a value, if as many are left.
    fn has_room_for(&mut self, value: &Value) -> bool {
        self.takes(8)
            && match value {
                Value::String(text) => self.takes(text.len()),
                Value::Array(values) => values.iter().all(|value| self.has_room_for(value)),
                Value::Object(members) => members
                    .iter()
                    .all(|(name, value)| self.takes(name.len()) && self.has_room_for(value)),
                _ => true,
            }
    }

    fn array(&mut self, members: &'a Map<String, Value>, depth: usize) -> Value {
        let first = members.get("prefixItems").and_then(Value::as_array);
        let mut array: Vec<Value> = first
            .into_iter()
            .flatten()
            .take(ENTRIES_MAX)
            .map(|schema| self.value(schema, depth + 1))
            .collect();
        let max = bound(members, "maxItems").unwrap_or(LENGTH_MAX);
        let usual = usize::from(array.is_empty() && max > 0);
        let min = bound(members, "minItems").unwrap_or(usual);
        if let Some(items) = members.get("items").filter(|items| items.is_object()) {
            while array.len() < min && self.left > 0 {
                array.push(self.value(items, depth + 1));
            }
        }
        array.into()
    }
}

/// A value that the schema itself has.
fn given(members: &Map<String, Value>) -> Option<&Value> {
    let first = |keyword| members.get(keyword).and_then(|list| list.get(0));
    let given = members.get("const").or_else(|| first("examples"));
    let given = given.or_else(|| members.get("default"));
    given.or_else(|| first("enum"))
}

/// The first type that is not `null`, or that of the keywords.
fn kind(members: &Map<String, Value>) -> Option<&str> {
    let has = |keyword| members.contains_key(keyword);
    match members.get("type") {
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().take(ENTRIES_MAX).filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").or(Some("null"))
        }
        Some(kind) => kind.as_str(),
        None if has("properties") || has("required") => Some("object"),
        None if has("items") || has("prefixItems") => Some("array"),
        None => None,
    }
}

/// A bound of a length, at most [`LENGTH_MAX`].
fn bound(members: &Map<String, Value>, keyword: &str) -> Option<usize> {
    let bound = usize::try_from(members.get(keyword)?.as_u64()?);
    Some(bound.unwrap_or(LENGTH_MAX).min(LENGTH_MAX))
}

fn text(members: &Map<String, Value>) -> Value {
    let formatted = match members.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("date") => "2026-01-31",
        Some("time") => "12:00:00Z",
        Some("duration") => "PT1H",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("email") => "ann@example.com",
        Some("uri") => "https://example.com/",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        _ => "text",
    };
    let min = bound(members, "minLength").unwrap_or_default();
    let max = bound(members, "maxLength").unwrap_or(LENGTH_MAX);
    let longer = std::iter::repeat_n('x', min.saturating_sub(formatted.len()));
    let text: String = formatted.chars().chain(longer).take(max).collect();
    text.into()
}

/// 1, or the nearest number that the bounds allow.
fn number(members: &Map<String, Value>, is_whole: bool) -> Value {
    let at = |keyword| members.get(keyword).and_then(Value::as_f64);
    let next = |bound: f64| bound.floor() + 1.0;
    let previous = |bound: f64| bound.ceil() - 1.0;
    let min = [at("minimum"), at("exclusiveMinimum").map(next)];
    let max = [at("maximum"), at("exclusiveMaximum").map(previous)];
    let number = min.into_iter().flatten().fold(1.0, f64::max);
    let number = max.into_iter().flatten().fold(number, f64::min);
    let whole = number as i64;
    let is_exact = whole as f64 == number;
    match is_whole || is_exact {
        true => whole.into(),
        false => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use quipu::schema::Schema;
    use serde_json::{Value, json};

    use super::{BYTES_MAX, Example};

    fn example(document: &Value) -> Value {
        let resolved = |schema: &Value| match schema["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')),
            None => None,
        };
        Example {
            resolved: &resolved,
            left: BYTES_MAX,
        }
        .value(document, 0)
    }

    #[test]
    fn an_example_matches_its_schema() {
        for schema in [
            json!({"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer", "minimum": 5}, "note": {"type": "string"}}}),
            json!({"type": "object", "properties": {"owner": {"type": ["null", "string"], "maxLength": 2}, "at": {"type": "string", "format": "date-time"}}}),
            json!({"type": "array", "minItems": 3, "items": {"enum": ["a", 1]}}),
            json!({"type": "array", "maxItems": 0, "items": {"type": "null"}}),
            json!({"prefixItems": [{"const": 7}, {"type": "boolean"}], "items": false}),
            json!({"oneOf": [{"type": "null"}, {"type": "object", "required": ["open"], "properties": {"open": {"$ref": "#/$defs/open"}}}], "$defs": {"open": {"allOf": [{"required": ["a"]}, {"properties": {"b": {"type": "number", "exclusiveMaximum": -1.5}}, "required": ["b"]}]}}}),
            json!({"$defs": {"node": {"type": "object", "required": ["next"], "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}}}, "type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 9}}}),
            json!({"type": "number", "exclusiveMinimum": 2.5, "maximum": 4}),
            json!(true),
            json!({}),
        ] {
            let example = example(&schema);
            let text = example.to_string();
            let checked = Schema::new(&schema.to_string())
                .unwrap()
                .check(text.as_bytes());
            assert!(checked.is_ok(), "{schema}: {text}: {checked:?}");
        }
    }

    #[test]
    fn an_example_of_any_schema_has_an_end() {
        let endless = json!({"$defs": {"a": {"type": "object", "required": ["b", "c"], "properties": {"b": {"$ref": "#/$defs/a"}, "c": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"});
        assert!(example(&endless).to_string().len() < 64 << 10);
        let itself = json!({"$ref": "#"});
        assert_eq!(example(&itself), Value::Null);
        let many = json!({"type": "array", "minItems": u64::MAX, "items": {"type": "string", "minLength": u64::MAX}});
        assert!(example(&many).to_string().len() < 64 << 10);
        let names: Vec<String> = (0..1_900).map(|n| format!("name-{n}")).collect();
        let rows = json!({"type": "array", "minItems": 100, "items": {"required": names}});
        let wide = json!({"type": "array", "minItems": 100, "items": rows});
        assert!(example(&wide).to_string().len() < 64 << 10);
        let large = json!({"default": "x".repeat(1 << 20), "type": "string"});
        assert!(example(&large).to_string().len() < 64 << 10);
        let choices = vec![json!({"type": "null"}); 20_000];
        let branch = json!({"anyOf": choices, "allOf": vec![json!({"$ref": "#/branch"}); 20_000]});
        let branching = json!({"branch": branch, "$ref": "#/branch"});
        assert!(example(&branching).to_string().len() < 64 << 10);
        for odd in [
            json!({"type": 7, "properties": 7, "items": 7, "oneOf": 7, "enum": {}, "minimum": "a"}),
            json!({"type": "integer", "minimum": 1e300}),
            json!({"type": "number", "minimum": 2, "maximum": 1}),
            json!({"type": "string", "maxLength": 0, "minLength": 5}),
            json!([]),
        ] {
            example(&odd);
        }
    }
}
