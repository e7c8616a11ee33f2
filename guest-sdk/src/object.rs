use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON object whose fields are changed one by one.
///
/// Fields keep their order. Fields that nobody changes keep every byte of their value,
/// numbers beyond 64 bits included. When the JSON has a name twice, the last value is read;
/// a change of name or a removal applies to both.
///
/// ```
/// use quipu_guest::{EditError, Object};
///
/// let mut object: Object = serde_json::from_str(r#"{"name": "Ada L", "n": 1.50}"#)?;
/// let name: String = object.take("name")?.unwrap_or_default();
/// if let Some((first, last)) = name.split_once(' ') {
///     object.set("first", first)?;
///     object.set("last", last)?;
/// }
/// assert_eq!(serde_json::to_string(&object)?, r#"{"n":1.50,"first":"Ada","last":"L"}"#);
/// # Ok::<(), EditError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Object {
    fields: Vec<(String, Box<RawValue>)>,
}

/// Why stored JSON can't be changed into another form.
#[derive(Clone, Debug, PartialEq)]
pub enum EditError {
    /// The stored JSON doesn't have the expected form.
    Unfit(String),
    /// A new value has no JSON form: a map whose keys are not strings.
    Internal(String),
}

impl Object {
    /// Returns whether there is a field of that name.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Returns the field's value; none without the field.
    ///
    /// # Errors
    ///
    /// [`EditError::Unfit`] when the value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EditError> {
        let Some(place) = self.place(name) else {
            return Ok(None);
        };
        let value = serde_json::from_str(self.fields[place].1.get());
        value
            .map(Some)
            .map_err(|error| EditError::Unfit(format!("field {name}: {error}")))
    }

    /// Removes the field, and returns its value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the object is unchanged.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, EditError> {
        let value = self.get(name)?;
        self.remove(name);
        Ok(value)
    }

    /// Sets the value of a field. A new field becomes the last one.
    ///
    /// # Errors
    ///
    /// [`EditError::Internal`] when the value has no JSON form.
    pub fn set(&mut self, name: &str, value: impl Serialize) -> Result<(), EditError> {
        let value = raw(name, value)?;
        self.put(name.to_owned(), value);
        Ok(())
    }

    /// Renames a field, which keeps its place. Does nothing without the field. Replaces a
    /// field that has the new name already.
    pub fn rename(&mut self, old: &str, new: &str) {
        if old == new || !self.has(old) {
            return;
        }
        self.remove(new);
        for (name, _) in self.fields.iter_mut().filter(|(name, _)| name == old) {
            new.clone_into(name);
        }
    }

    /// Removes the field, if there is one.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(field, _)| field != name);
    }

    pub(crate) fn put(&mut self, name: String, value: Box<RawValue>) {
        match self.place(&name) {
            Some(place) => self.fields[place].1 = value,
            None => self.fields.push((name, value)),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.fields.iter().rposition(|(field, _)| field == name)
    }
}

/// Returns a value as the JSON that a field of that name holds.
pub(crate) fn raw(name: &str, value: impl Serialize) -> Result<Box<RawValue>, EditError> {
    to_raw_value(&value).map_err(|error| EditError::Internal(format!("field {name}: {error}")))
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Object { fields })
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Unfit(text) | EditError::Internal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for EditError {}

/// In practice only reading fails: a value that can't be written can't be read either.
impl From<serde_json::Error> for EditError {
    fn from(error: serde_json::Error) -> Self {
        EditError::Unfit(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn edited(json: &str, edit: impl FnOnce(&mut Object)) -> String {
        let mut object = serde_json::from_str(json).unwrap();
        edit(&mut object);
        serde_json::to_string(&object).unwrap()
    }

    #[test]
    fn what_is_not_touched_keeps_every_byte() {
        let json = r#"{"z":1.10,"a":123456789012345678901234567890,"\u00e9":{ "b" :[ ]}}"#;
        let expected = r#"{"z":1.10,"a":123456789012345678901234567890,"é":{ "b" :[ ]}}"#;
        assert_eq!(edited(json, |_| ()), expected);
    }

    #[test]
    fn a_renamed_field_keeps_its_place_and_replaces_another_of_that_name() {
        let json = r#"{"a":1,"b":2,"c":3}"#;
        let rename = |old, new| edited(json, |object| object.rename(old, new));
        assert_eq!(rename("b", "d"), r#"{"a":1,"d":2,"c":3}"#);
        assert_eq!(rename("c", "a"), r#"{"b":2,"a":3}"#);
        assert_eq!(rename("b", "b"), json);
        assert_eq!(rename("x", "a"), json);
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_is_read_and_both_are_changed() {
        let json = r#"{"a":1,"b":2,"a":3}"#;
        let object: Object = serde_json::from_str(json).unwrap();
        assert_eq!(object.get("a"), Ok(Some(3)));
        assert_eq!(edited(json, |object| object.remove("a")), r#"{"b":2}"#);
        assert_eq!(
            edited(json, |object| object.rename("a", "c")),
            r#"{"c":1,"b":2,"c":3}"#
        );
    }

    #[test]
    fn a_field_of_another_kind_is_named() {
        let mut object: Object = serde_json::from_str(r#"{"a":"x"}"#).unwrap();
        let error = object.take::<u8>("a").unwrap_err();
        assert!(
            error.to_string().starts_with("field a: invalid type"),
            "{error}"
        );
        assert!(object.has("a"));
        assert_eq!(object.take::<u8>("b"), Ok(None));
        let error = object.set("b", BTreeMap::from([((), 1)])).unwrap_err();
        assert!(matches!(error, EditError::Internal(_)), "{error}");
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for json in ["[]", "null", "1", r#""a""#] {
            assert!(serde_json::from_str::<Object>(json).is_err(), "{json}");
        }
    }
}
