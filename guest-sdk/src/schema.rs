//! JSON Schemas of the bodies of commands and events, and of documents, derived by `schemars`.

use std::collections::BTreeSet;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use crate::message::Described;
use crate::{Time, Uuid};

/// Longest schema of one type, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// Where shared definitions are in a schema.
const DEFINITIONS: &str = "#/$defs/";

/// Describes what is read: a field with a default is not required.
pub(crate) fn commands<T: JsonSchema>() -> Vec<Described> {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let unit = json!({"type": ["object", "null"], "additionalProperties": false});
    variants::<T>(settings.into_generator(), &unit)
}

/// Describes what is written.
pub(crate) fn events<T: JsonSchema>() -> Vec<Described> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let unit = json!({"type": "object", "additionalProperties": false});
    variants::<T>(settings.into_generator(), &unit)
}

/// Describes a document, which is written.
pub(crate) fn document<T: JsonSchema>() -> Result<String, String> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.into_generator();
    let root = generator.subschema_for::<T>().to_value();
    let definitions = generator.take_definitions(true);
    let name = root["$ref"].as_str().and_then(definition);
    let own = name.and_then(|name| definitions.get(&name)).cloned();
    complete(own.unwrap_or(root), &definitions)
}

fn variants<T: JsonSchema>(mut generator: SchemaGenerator, unit: &Value) -> Vec<Described> {
    let root = generator.subschema_for::<T>().to_value();
    let definitions = generator.take_definitions(true);
    let name = root["$ref"].as_str().and_then(definition);
    let message = name
        .and_then(|name| definitions.get(&name))
        .unwrap_or(&root);
    let several = message["oneOf"].as_array();
    let forms = several.map_or(std::slice::from_ref(message), Vec::as_slice);
    let contents = forms.iter().flat_map(|form| contents(form, unit));
    contents
        .map(|(name, content)| {
            let schema = complete(content, &definitions);
            (name, schema)
        })
        .collect()
}

/// Returns the variants of one form of a message, each with the schema of its content. A form is an
/// object with one member, or the names of variants without content.
fn contents(form: &Value, unit: &Value) -> Vec<(String, Value)> {
    let names = form["enum"].as_array().into_iter().flatten();
    let names = names.chain(form.get("const")).filter_map(Value::as_str);
    let mut contents: Vec<_> = names.map(|name| (name.to_owned(), unit.clone())).collect();
    let members = form["properties"].as_object().into_iter().flatten();
    contents.extend(members.map(|(name, content)| (name.clone(), content.clone())));
    let description = form.get("description");
    for (_, content) in &mut contents {
        if content == &Value::Bool(true) {
            *content = json!({});
        }
        if let (Value::Object(content), Some(description)) = (content, description) {
            let entry = content.entry("description");
            entry.or_insert_with(|| description.clone());
        }
    }
    contents
}

/// Adds the definitions that a schema needs, and nothing else.
fn complete(mut schema: Value, definitions: &Map<String, Value>) -> Result<String, String> {
    let mut needed = BTreeSet::new();
    let mut open = references(&schema);
    while let Some(reference) = open.pop() {
        let name = definition(&reference);
        let Some(known) = name.and_then(|name| definitions.get_key_value(&name)) else {
            return Err(format!(
                "it refers to {reference}; define it in {DEFINITIONS}, where every reader has it"
            ));
        };
        if needed.insert(known.0) {
            open.extend(references(known.1));
        }
    }
    if let Value::Object(schema) = &mut schema {
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".to_owned(), dialect.into());
        if !needed.is_empty() {
            let needed = needed.into_iter();
            let with = needed.map(|name| (name.clone(), definitions[name].clone()));
            schema.insert("$defs".to_owned(), Value::Object(with.collect()));
        }
    }
    let text = schema.to_string();
    if text.len() > BYTES_MAX {
        let found = text.len();
        return Err(format!(
            "it has {found} bytes, at most {BYTES_MAX}; shorten its comments, or leave JsonSchema out"
        ));
    }
    Ok(text)
}

/// Returns every reference in a schema.
fn references(schema: &Value) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![schema]);
    while let Some(value) = open.pop() {
        match value {
            Value::Array(elements) => open.extend(elements),
            Value::Object(members) => {
                let named = ["$ref", "$dynamicRef"].iter();
                let named = named.filter_map(|name| members.get(*name)?.as_str());
                found.extend(named.map(str::to_owned));
                open.extend(members.values());
            }
            _ => {}
        }
    }
    found
}

/// Returns the name of the definition that a reference leads to: a JSON pointer in a URI.
fn definition(reference: &str) -> Option<String> {
    let mut rest = reference.strip_prefix(DEFINITIONS)?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        name.push(match byte {
            b'%' => u8::try_from(digit()? << 4 | digit()?).ok()?,
            byte => byte,
        });
    }
    let name = String::from_utf8(name).ok()?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl JsonSchema for Uuid {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Uuid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uuid"})
    }
}
