//! The commands of the active domain, as its description lists them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::visitor::{Answer, Visitor};
use crate::failure::Result;
use crate::percent::decoded;

/// The text before the codes in the description of a rejection.
const CODES: &str = "one of the declared codes: ";

/// The description of the domain, of all that its reader may see.
pub struct Described(Answer<Value>);

/// A type of command.
pub struct CommandType<'a> {
    pub name: String,
    /// The JSON Schema of its data; none if it declares none.
    pub schema: Option<&'a Value>,
    /// The codes with which it is rejected.
    codes: Option<&'a str>,
}

impl Described {
    /// Reads it.
    ///
    /// # Errors
    /// When the reader may see nothing of it.
    pub async fn of(visitor: &Visitor) -> Result<Self> {
        let answer = visitor.get("/v1/domain/openapi.json").await?;
        Ok(Self(answer))
    }

    /// The commands of each category.
    pub fn commands(&self) -> BTreeMap<&str, Vec<CommandType<'_>>> {
        let mut commands: BTreeMap<&str, Vec<CommandType<'_>>> = BTreeMap::new();
        let paths = self.0["paths"].as_object().into_iter().flatten();
        for (path, item) in paths {
            let operation = &item["post"];
            let category = operation["tags"][0].as_str();
            if let (Some(category), Some((_, name))) = (category, path.rsplit_once('/')) {
                let command = self.command(name, operation);
                commands.entry(category).or_default().push(command);
            }
        }
        commands
    }

    fn command<'a>(&'a self, name: &str, operation: &'a Value) -> CommandType<'a> {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let rejections = operation["responses"]["422"]["description"].as_str();
        CommandType {
            name: decoded(name),
            schema: self.declared(schema),
            codes: rejections.and_then(|text| Some(text.split_once(CODES)?.1)),
        }
    }

    /// The schema of an event.
    pub fn event(&self, category: &str, name: &str) -> Option<&Value> {
        self.named(&format!("{category}{name}event"))
    }

    /// The schema of the documents of a projection.
    pub fn document(&self, projection: &str) -> Option<&Value> {
        self.named(&format!("{projection}document"))
    }

    /// A schema whose name is made of these words.
    fn named(&self, words: &str) -> Option<&Value> {
        let letters = |text: &str| -> String {
            text.chars()
                .filter(|c| c.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .collect()
        };
        let wanted = letters(words);
        let mut schemas = self.0["components"]["schemas"].as_object()?.iter();
        let (_, schema) = schemas.find(|(name, _)| letters(name) == wanted)?;
        self.declared(schema)
    }

    /// The part of the description to which a schema refers, or the schema itself.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> Option<&'a Value> {
        match schema["$ref"].as_str() {
            Some(reference) => self.0.pointer(&decoded(reference.strip_prefix('#')?)),
            None => Some(schema).filter(|schema| !schema.is_null()),
        }
    }

    fn declared<'a>(&'a self, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.resolved(schema)?;
        // Without a schema, the description of the type is all there is.
        let members = schema.as_object()?;
        let says_more = members.keys().any(|key| key != "description");
        says_more.then_some(schema)
    }
}

/// The codes with which the commands of a category are rejected.
pub fn codes<'a>(commands: &[CommandType<'a>]) -> Option<&'a str> {
    commands.iter().find_map(|command| command.codes)
}
