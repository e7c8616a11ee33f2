//! JSON in a scenario file, with the order of its members and every digit of its numbers.

use std::collections::BTreeMap;
use std::fmt;

use quipu::model::{check_json, is_same_json};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The only member of an object that is the JSON in the member's text. Such an object is the form
/// of a number with more digits than YAML keeps.
const TEXT: &str = "$json";

/// The text that fits every value in expectations.
pub(super) const ANY: &str = "\"$any\"";
/// The same text as a value like every other.
const LITERAL_ANY: &str = "\"\\u0024any\"";

/// A JSON value.
///
/// In YAML it is written as YAML. There a number is an integer of 64 bits or a double; what would
/// lose digits is written as `{$json: "12345678901234567890.12"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Returns a value that YAML writes without any change and without `$json`. `None`: there is no
    /// such form, because digits, characters or members would be lost.
    pub fn for_yaml(text: &str) -> Option<Self> {
        let json: Self = serde_json::from_str(text).ok()?;
        let yaml = serde_saphyr::to_string(&json).ok()?;
        let read: Self = serde_saphyr::from_str(&yaml).ok()?;
        let is_same = is_same_json(text.as_bytes(), json.0.as_bytes());
        let is_literal = !json.0.contains(ANY);
        (is_same && is_literal && read == json).then_some(json)
    }

    /// Returns equal JSON in which no text fits every value.
    pub fn literal(text: &str) -> String {
        text.replace(ANY, LITERAL_ANY)
    }

    /// Returns an object.
    pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a String, &'a Self)>) -> Self {
        let members = members.into_iter().map(|(name, value)| {
            let name = serde_json::Value::from(name.as_str());
            format!("{name}:{}", value.0)
        });
        Self(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&RawValue> for Json {
    fn from(value: &RawValue) -> Self {
        Self(value.get().to_owned())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        scalar(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        scalar(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        scalar(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        scalar(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        scalar(value)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json("null".to_owned()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Json, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(Json(element)) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json(format!("[{}]", elements.join(","))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        match &members[..] {
            [(name, text)] if name == TEXT => written(&text.0).map_err(de::Error::custom),
            members => Ok(Json::object(
                members.iter().map(|(name, value)| (name, value)),
            )),
        }
    }
}

fn scalar<E: de::Error>(value: impl Into<serde_json::Value>) -> Result<Json, E> {
    Ok(Json(value.into().to_string()))
}

/// The value of `$json`: the JSON in a text.
fn written(value: &str) -> Result<Json, String> {
    let text: String = serde_json::from_str(value)
        .map_err(|_| format!("`{TEXT}` is a text with JSON in it, not {value}"))?;
    match check_json(text.as_bytes()) {
        Ok(()) => Ok(Json(text)),
        Err(error) => Err(format!("`{TEXT}`: {text:?} is not JSON: {error}")),
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Part(&self.0).serialize(serializer)
    }
}

/// A part of a JSON text.
struct Part<'a>(&'a str);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0;
        match text.as_bytes().first() {
            Some(b'{') => {
                let members = ordered(text).ok_or_else(|| S::Error::custom("not an object"))?;
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(&name, &Part(value))?;
                }
                map.end()
            }
            Some(b'[') => {
                let elements = elements(text).ok_or_else(|| S::Error::custom("not an array"))?;
                let mut seq = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    seq.serialize_element(&Part(element))?;
                }
                seq.end()
            }
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(text) => serializer.serialize_str(&text),
                // A surrogate without its partner.
                Err(_) => as_text(text, serializer),
            },
            Some(b't') => serializer.serialize_bool(true),
            Some(b'f') => serializer.serialize_bool(false),
            Some(b'n') => serializer.serialize_unit(),
            _ => number(text, serializer),
        }
    }
}

fn number<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(number) = text.parse::<u64>() {
        return serializer.serialize_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return serializer.serialize_i64(number);
    }
    let double = text.parse::<f64>().unwrap_or(f64::NAN);
    let spelt = serde_json::Value::from(double).to_string();
    match is_same_json(spelt.as_bytes(), text.as_bytes()) {
        true => serializer.serialize_f64(double),
        false => as_text(text, serializer),
    }
}

fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(TEXT, text)?;
    map.end()
}

/// The members of an object by name. `None`: the text is not an object.
pub(super) fn members(text: &str) -> Option<BTreeMap<String, &str>> {
    ordered(text).map(BTreeMap::from_iter)
}

/// The elements of an array. `None`: the text is not an array.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The members of an object in their order. `None`: the text is not an object.
fn ordered(text: &str) -> Option<Vec<(String, &str)>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(MembersVisitor).ok()
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            members.push((name, value.get()));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "34028236692093846346337460743176821145";

    fn read(yaml: &str) -> Json {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn members_keep_their_order() {
        assert_eq!(
            read("{b: 1, a: [x, null, 1.5], c: {}}").as_str(),
            r#"{"b":1,"a":["x",null,1.5],"c":{}}"#
        );
    }

    #[test]
    fn a_number_in_a_text_keeps_every_digit() {
        let json = read(&format!("{{wei: {{$json: '{DIGITS}'}}}}"));
        assert_eq!(json.as_str(), format!("{{\"wei\":{DIGITS}}}"));
        let yaml = serde_saphyr::to_string(&json).unwrap();
        assert_eq!(read(&yaml), json, "{yaml}");
        for bad in ["{$json: '1,'}", "{$json: 5}"] {
            assert!(serde_saphyr::from_str::<Json>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn yaml_is_only_for_what_it_does_not_change() {
        let same = |text: &str| Json::for_yaml(text).map(|json| json.as_str().to_owned());
        for text in [
            r#"{"b":1,"a":{"z":[true,null,-5],"y":"yes"}}"#,
            r#"{"text":"5","lines":"a\nb: \"c\"  d"}"#,
            "18446744073709551615",
            "0.1",
        ] {
            assert_eq!(same(text).as_deref(), Some(text));
        }
        for text in [
            format!("{{\"wei\":{DIGITS}}}"),
            "[0.1000000000000000055511151231257827]".to_owned(),
            "1e999".to_owned(),
            r#"{"a":1,"a":2}"#.to_owned(),
            r#"{"a":"\ud800"}"#.to_owned(),
            r#"{"a":{"$json":"5"}}"#.to_owned(),
            r#"{"a":["$any"]}"#.to_owned(),
            r#"{"a":"\u0024any"}"#.to_owned(),
        ] {
            assert_eq!(same(&text), None, "{text}");
        }
    }
}
