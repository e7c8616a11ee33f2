//! Schemas of guests as components of one document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::names::{type_name, unique};

/// Most bytes of all schemas of guests in one document. Further ones are left out.
const SCHEMAS_BYTES_MAX: usize = 8 << 20;
/// Most notes.
const NOTES_MAX: usize = 100;
/// Most characters of a reference in a note.
const SHOWN_MAX: usize = 80;
const PREFIX: &str = "#/components/schemas/";
/// Keywords whose value is data.
const DATA: [&str; 5] = ["enum", "const", "default", "examples", "example"];
/// Keywords with subschemas by name.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "$defs",
    "definitions",
];
/// Keywords that have no meaning in a component.
const DROPPED: [&str; 5] = [
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
];

/// A schema that refers to a component.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}")})
}

/// The components of a document.
pub struct Components<'a> {
    /// Those of the host's own description.
    host: &'a Value,
    schemas: BTreeMap<String, Value>,
    notes: Vec<String>,
    bytes: usize,
}

impl<'a> Components<'a> {
    pub fn new(host: &'a Value) -> Self {
        Self {
            host,
            schemas: BTreeMap::new(),
            notes: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a note about something that is left out.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// Adds a component. Returns its name.
    pub fn insert(&mut self, base: &str, schema: Value) -> String {
        let name = self.free(base);
        self.schemas.insert(name.clone(), schema);
        name
    }

    fn free(&self, base: &str) -> String {
        let is_host = |name: &str| self.host.get(name).is_some();
        unique(base, |name| {
            is_host(name) || self.schemas.contains_key(name)
        })
    }

    /// Adds the schema of a guest, and its definitions. Returns its name. What can't be used is left
    /// out: any JSON is accepted in its place.
    pub fn declare(&mut self, base: &str, title: &str, text: &str) -> String {
        let name = self.insert(base, json!({"description": title}));
        if text.is_empty() {
            return name;
        }
        self.bytes += text.len();
        if self.bytes > SCHEMAS_BYTES_MAX {
            let max = SCHEMAS_BYTES_MAX;
            self.note(format!(
                "{name}: its schema is left out: all schemas have more than {max} bytes"
            ));
            return name;
        }
        let root = match serde_json::from_str(text) {
            Ok(root @ (Value::Object(_) | Value::Bool(_))) => root,
            Ok(_) => {
                self.note(format!(
                    "{name}: its schema is left out: it is not an object"
                ));
                return name;
            }
            Err(error) => {
                self.note(format!("{name}: its schema is left out: {error}"));
                return name;
            }
        };
        self.declare_root(&name, title, &root);
        name
    }

    fn declare_root(&mut self, name: &str, title: &str, root: &Value) {
        let mut definitions = Vec::new();
        let mut places = BTreeMap::new();
        for keyword in ["$defs", "definitions"] {
            let members = root.get(keyword).and_then(Value::as_object);
            for (key, schema) in members.into_iter().flatten() {
                let component = self.insert(&type_name(&[name, key]), json!({}));
                places.insert(format!("/{keyword}/{}", escaped(key)), component.clone());
                definitions.push((component, schema));
            }
        }
        let mut rewriting = Rewriting {
            name,
            root,
            places,
            left_out: Vec::new(),
        };
        let mut schema = rewriting.schema(root, true);
        if let Some(members) = schema.as_object_mut()
            && !members.contains_key("description")
        {
            members.insert("description".to_owned(), title.into());
        }
        self.schemas.insert(name.to_owned(), schema);
        for (component, schema) in definitions {
            let schema = rewriting.schema(schema, false);
            self.schemas.insert(component, schema);
        }
        for left_out in rewriting.left_out {
            self.note(format!("{name}: {left_out}"));
        }
    }

    /// Returns all components that the paths need, those of guests and those of the host, and the
    /// notes.
    pub fn finish(mut self, paths: &Value) -> (Map<String, Value>, Vec<String>) {
        self.break_circles();
        let mut wanted = BTreeSet::new();
        referenced(paths, &mut wanted);
        for schema in self.schemas.values() {
            referenced(schema, &mut wanted);
        }
        while let Some(name) = wanted.pop_first() {
            if let Some(schema) = self.host.get(&name)
                && !self.schemas.contains_key(&name)
            {
                referenced(schema, &mut wanted);
                self.schemas.insert(name, schema.clone());
            }
        }
        (self.schemas.into_iter().collect(), self.notes)
    }

    /// Components that are nothing but references to each other have no meaning.
    fn break_circles(&mut self) {
        let names: Vec<String> = self.schemas.keys().cloned().collect();
        for name in names {
            let (mut at, mut seen) = (name.clone(), BTreeSet::new());
            while let Some(next) = self.schemas.get(&at).and_then(target) {
                if !seen.insert(at) {
                    let note = format!("{name}: its schema is left out: it refers only to itself");
                    self.note(note);
                    self.schemas.insert(name, json!({}));
                    break;
                }
                at = next.to_owned();
            }
        }
    }
}

/// The component that a schema refers to.
fn target(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(PREFIX)
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Collects the names of components that a value refers to.
fn referenced(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            names.extend(target(value).map(str::to_owned));
            members
                .values()
                .for_each(|member| referenced(member, names));
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| referenced(element, names)),
        _ => {}
    }
}

/// Copies a schema, with its references to the places in the document.
struct Rewriting<'a> {
    name: &'a str,
    root: &'a Value,
    /// Components by the pointer of the definition.
    places: BTreeMap<String, String>,
    left_out: Vec<String>,
}

impl Rewriting<'_> {
    fn schema(&mut self, schema: &Value, is_root: bool) -> Value {
        let Some(members) = schema.as_object() else {
            return schema.clone();
        };
        let mut copy = Map::new();
        for (keyword, value) in members {
            let is_definition = ["$defs", "definitions"].contains(&keyword.as_str());
            if DROPPED.contains(&keyword.as_str()) || (is_root && is_definition) {
                continue;
            }
            let value = match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => match self.target(value) {
                    Some(target) => target.into(),
                    None => return self.leave_out(value),
                },
                data if DATA.contains(&data) => value.clone(),
                named if NAMED.contains(&named) => match value.as_object() {
                    Some(named) => {
                        let named = named.iter();
                        let copied =
                            named.map(|(name, schema)| (name.clone(), self.schema(schema, false)));
                        Value::Object(copied.collect())
                    }
                    None => value.clone(),
                },
                _ => match value {
                    Value::Array(list) => list.iter().map(|it| self.schema(it, false)).collect(),
                    other => self.schema(other, false),
                },
            };
            let keyword = match keyword.as_str() {
                "$dynamicRef" | "$recursiveRef" => "$ref",
                other => other,
            };
            copy.insert(keyword.to_owned(), value);
        }
        Value::Object(copy)
    }

    /// The reference in the document; `None` if it leads out of the schema or nowhere.
    fn target(&self, reference: &Value) -> Option<String> {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        let pointer = decoded(pointer)?;
        let exists = pointer.is_empty() || self.root.pointer(&pointer).is_some();
        if !exists {
            return None;
        }
        let of = |(place, component): (&String, &String)| {
            let rest = pointer.strip_prefix(place.as_str())?;
            let is_within = rest.is_empty() || rest.starts_with('/');
            is_within.then(|| format!("{PREFIX}{component}{}", encoded(rest)))
        };
        let within = self.places.iter().find_map(of);
        Some(within.unwrap_or_else(|| format!("{PREFIX}{}{}", self.name, encoded(&pointer))))
    }

    fn leave_out(&mut self, reference: &Value) -> Value {
        let shown = reference.as_str().unwrap_or("a reference that is not text");
        let shown: String = shown.chars().take(SHOWN_MAX).collect();
        let text =
            format!("the reference {shown:?} is left out: it leads to no part of the schema");
        let schema = json!({"description": text});
        self.left_out.push(text);
        schema
    }
}

fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn encoded(pointer: &str) -> String {
    let segments: Vec<String> = pointer
        .split('/')
        .map(super::names::percent_encoded)
        .collect();
    segments.join("/")
}
