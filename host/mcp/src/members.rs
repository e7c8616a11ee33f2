//! JSON objects whose values keep their text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object in their order, each name once.
#[derive(Debug, Default, Clone)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads an object; none for another value.
    pub fn of(raw: &RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &**value)
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A member that is an array.
    pub fn elements(&self, name: &str) -> Option<Vec<Box<RawValue>>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Adds a member, or replaces it.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The object as text.
    pub fn into_raw(self) -> Box<RawValue> {
        let members = self.0.iter().map(|(name, value)| {
            let name = serde_json::Value::from(name.as_str());
            format!("{name}:{}", value.get())
        });
        let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        raw(text)
    }
}

/// Text that is known to be JSON.
pub fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| null())
}

/// Any value as JSON.
pub fn json(value: impl Into<serde_json::Value>) -> Box<RawValue> {
    raw(value.into().to_string())
}

pub fn null() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("null is JSON")
}

/// Elements as a JSON array.
pub fn array(elements: &[Box<RawValue>]) -> Box<RawValue> {
    let elements: Vec<&str> = elements.iter().map(|element| element.get()).collect();
    raw(format!("[{}]", elements.join(",")))
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{name:?} occurs twice")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
