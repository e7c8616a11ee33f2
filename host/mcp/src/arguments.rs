//! Parameters of tools, and their values.

use serde_json::{Map, Value, json};

use crate::members::Members;
use crate::message::Wrong;

/// Longest text of an argument in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Most texts of an argument.
const TEXTS_MAX: usize = 100;

/// A parameter of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub is_required: bool,
    pub about: &'static str,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A whole number from 0 on.
    Number,
    /// A whole number from 1 to this.
    UpTo(u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any JSON.
    Json,
}

/// A parameter that must be given.
pub const fn required(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        is_required: true,
        about,
    }
}

/// A parameter that may be left out.
pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter {
        is_required: false,
        ..required(name, kind, about)
    }
}

impl Parameter {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string", "maxLength": TEXT_BYTES_MAX}),
            Kind::Texts => json!({
                "type": "array", "maxItems": TEXTS_MAX,
                "items": {"type": "string", "maxLength": TEXT_BYTES_MAX},
            }),
            Kind::Number => json!({"type": "integer", "minimum": 0}),
            Kind::UpTo(max) => json!({"type": "integer", "minimum": 1, "maximum": max}),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Json => json!({}),
        };
        schema["description"] = self.about.into();
        schema
    }

    /// What is wrong with a value.
    fn check(&self, value: &serde_json::value::RawValue) -> Result<(), String> {
        let text = |text: &str| text.len() <= TEXT_BYTES_MAX;
        let value = value.get();
        let (is_right, expected) = match self.kind {
            Kind::Text => (
                serde_json::from_str::<String>(value).is_ok_and(|it| text(&it)),
                format!("a text of at most {TEXT_BYTES_MAX} bytes"),
            ),
            Kind::Texts => (
                serde_json::from_str::<Vec<String>>(value)
                    .is_ok_and(|all| all.len() <= TEXTS_MAX && all.iter().all(|it| text(it))),
                format!("at most {TEXTS_MAX} texts of at most {TEXT_BYTES_MAX} bytes"),
            ),
            Kind::Number => (
                serde_json::from_str::<u64>(value).is_ok(),
                "a whole number from 0 on".to_owned(),
            ),
            Kind::UpTo(max) => (
                serde_json::from_str::<u64>(value).is_ok_and(|it| (1..=max).contains(&it)),
                format!("a whole number from 1 to {max}"),
            ),
            Kind::Word(words) => (
                serde_json::from_str::<String>(value).is_ok_and(|it| words.contains(&&*it)),
                words.join(" or "),
            ),
            Kind::Json => (true, String::new()),
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("{}: expected {expected}", self.name)),
        }
    }
}

/// The JSON Schema of the parameters of a tool.
pub fn schema(parameters: &[Parameter]) -> Value {
    let mut properties = Map::new();
    for parameter in parameters {
        properties.insert(parameter.name.to_owned(), parameter.schema());
    }
    let required: Vec<&str> = parameters
        .iter()
        .filter(|parameter| parameter.is_required)
        .map(|parameter| parameter.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The values of a call, which were checked.
#[derive(Debug)]
pub struct Arguments(Members);

impl Arguments {
    /// Checks the arguments of a call.
    pub fn of(given: Members, parameters: &[Parameter]) -> Result<Self, Wrong> {
        for (name, value) in &given.0 {
            let parameter = parameters.iter().find(|parameter| parameter.name == name);
            let Some(parameter) = parameter else {
                let known: Vec<&str> = parameters.iter().map(|known| known.name).collect();
                let name: String = name.chars().take(100).collect();
                return Err(Wrong::params(format!(
                    "there is no argument {name:?}; there is: {}",
                    known.join(", ")
                )));
            };
            parameter.check(value).map_err(Wrong::params)?;
        }
        let missing = parameters
            .iter()
            .find(|parameter| parameter.is_required && given.get(parameter.name).is_none());
        match missing {
            Some(missing) => Err(Wrong::params(format!("{} is missing", missing.name))),
            None => Ok(Self(given)),
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.text(name)
    }

    /// The value of a required text.
    pub fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.number(name)
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let raw = self.0.get(name);
        let texts = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
        texts.unwrap_or_default()
    }

    /// A value byte for byte.
    pub fn json(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|raw| raw.get().to_owned())
    }
}
