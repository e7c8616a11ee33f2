//! The configuration as text: what is in force, the reference file, and its JSON Schema.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};
use toml::Value as Toml;

use super::key::{Key, Kind};
use super::{Config, InForce, SECTIONS};

/// The values in force as TOML, if wanted with the place that each comes from.
pub fn toml(in_force: &[InForce], with_sources: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    for InForce { key, value, source } in in_force {
        let Some(value) = value else {
            continue;
        };
        if key.section != section {
            section = key.section;
            // Writing to a string does not fail.
            _ = write!(text, "\n[{section}]\n");
        }
        _ = write!(text, "{} = {}", key.name, inline(value));
        if with_sources {
            _ = write!(text, " # {source}");
        }
        text.push('\n');
    }
    text
}

/// A value in one line of TOML.
pub fn inline(value: &Toml) -> String {
    match value {
        // Otherwise a text with line breaks would take several lines.
        Toml::String(text) => {
            let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\';
            match text.chars().all(is_plain) {
                true => format!("\"{text}\""),
                false => Json::from(text.as_str()).to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// The values in force as JSON: one object for each section.
pub fn json(in_force: &[InForce]) -> Json {
    let mut all = Map::new();
    for InForce { key, value, .. } in in_force {
        let object = match key.section {
            "" => Some(&mut all),
            section => all
                .entry(section)
                .or_insert_with(|| json!({}))
                .as_object_mut(),
        };
        if let Some(object) = object {
            object.insert(key.name.to_owned(), json!(value));
        }
    }
    Json::Object(all)
}

/// The reference: a file with every key as a comment.
pub fn reference() -> String {
    let mut text = "\
# The configuration of `quipu serve --config quipu.toml`: every key with its default.
# Remove the # in front of a key to set it. The same key as a variable of the environment, which takes
# precedence over this file: QUIPU_STORE for store, QUIPU_HTTP__IDLE_MAX_MS for idle_max_ms in [http].
"
    .to_owned();
    let in_force = Config::default().in_force();
    for (about, keys) in SECTIONS {
        let section = keys.first().map_or("", |key| key.section);
        if !section.is_empty() {
            // Writing to a string does not fail.
            _ = write!(text, "\n# {}\n[{section}]\n", about.trim());
        }
        for key in *keys {
            let default = in_force
                .iter()
                .find(|it| it.key.path() == key.path())
                .and_then(|it| it.value.clone());
            _ = write!(text, "\n{}\n", line(key, default.as_ref()));
        }
    }
    text
}

/// A key of the reference: its description, and a line that sets it to its default.
fn line(key: &Key, default: Option<&Toml>) -> String {
    let mut about = key.description();
    if let Some(allowed) = key.allowed().filter(|allowed| allowed != "1 or more") {
        _ = write!(about, " Allowed: {allowed}.");
    }
    let value = match (key.default, default) {
        (Some((example, words)), _) => {
            _ = write!(about, " Default: {words}.");
            example.to_owned()
        }
        (None, Some(default)) => inline(default),
        (None, None) => "\"\"".to_owned(),
    };
    let unit = default.and_then(|default| unit(key, default));
    let unit = unit.map(|unit| format!(" # {unit}")).unwrap_or_default();
    format!("# {about}\n#{} = {value}{unit}", key.name)
}

/// A number of bytes with the largest unit that divides it, or a time in seconds.
fn unit(key: &Key, value: &Toml) -> Option<String> {
    let number = u64::try_from(value.as_integer()?).ok()?;
    if key.name.contains("bytes") {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = units.iter().find(|(shift, _)| {
            let size = 1_u64 << shift;
            number >= size && number.is_multiple_of(size)
        });
        return unit.map(|(shift, name)| format!("{} {name}", number >> shift));
    }
    let is_seconds = key.name.ends_with("_ms") && number >= 1_000 && number.is_multiple_of(1_000);
    is_seconds.then(|| format!("{} s", number / 1_000))
}

/// The JSON Schema of the file.
pub fn schema() -> Json {
    let in_force = Config::default().in_force();
    let mut properties = Map::new();
    for (about, keys) in SECTIONS {
        let mut members = Map::new();
        for key in *keys {
            let default = in_force
                .iter()
                .find(|it| it.key.path() == key.path())
                .and_then(|it| it.value.as_ref());
            members.insert(key.name.to_owned(), member(key, default));
        }
        match keys.first().map_or("", |key| key.section) {
            "" => properties.append(&mut members),
            section => {
                let object = json!({
                    "description": about.trim(),
                    "type": "object",
                    "properties": members,
                    "additionalProperties": false,
                });
                properties.insert(section.to_owned(), object);
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of quipu serve",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn member(key: &Key, default: Option<&Toml>) -> Json {
    let whole = json!({ "type": "integer", "minimum": 0 });
    let mut member = match key.kind {
        Kind::Number => whole,
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Names => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Texts => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::Numbers => json!({ "type": "object", "additionalProperties": whole }),
        Kind::Validations => {
            let word = json!({ "enum": ["off", "report", "enforce"] });
            json!({ "type": "object", "additionalProperties": word })
        }
        Kind::Policies => {
            let one = |name: &str, least: u64| {
                json!({
                    "type": "object",
                    "properties": { name: { "type": "integer", "minimum": least } },
                    "required": [name],
                    "additionalProperties": false,
                })
            };
            let policy =
                json!({ "oneOf": [{ "const": "off" }, one("every", 1), one("load_ms", 0)] });
            json!({ "type": "object", "additionalProperties": policy })
        }
    };
    member["description"] = key.description().into();
    if let Some(range) = &key.range {
        member["minimum"] = (*range.start()).into();
        if *range.end() != u64::MAX {
            member["maximum"] = (*range.end()).into();
        }
    }
    match (key.default, default) {
        (Some((_, words)), _) => {
            let description = format!("{} Default: {words}.", key.description());
            member["description"] = description.into();
        }
        (None, Some(default)) => member["default"] = json!(default),
        (None, None) => {}
    }
    member
}
