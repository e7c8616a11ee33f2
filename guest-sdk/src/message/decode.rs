use std::cell::Cell;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Error;
use serde_json::de::{Deserializer as JsonDeserializer, StrRead};

use super::objects::Objects;

/// Why a message can't be read.
pub(crate) enum Unreadable {
    UnknownType,
    /// The type is known, but its body doesn't fit.
    Body(Error),
}

/// Reads the variant named `message_type` with the content of `body`, without a tree in between. A
/// struct is read from an object only, never from an array.
pub(crate) fn decode<'de, T: Deserialize<'de>>(
    message_type: &'de str,
    body: &'de str,
) -> Result<T, Unreadable> {
    let known = Cell::new(false);
    T::deserialize(Message {
        message_type,
        body,
        known: &known,
    })
    .map_err(|error| {
        if known.get() {
            Unreadable::Body(error)
        } else {
            Unreadable::UnknownType
        }
    })
}

struct Message<'de, 'a> {
    message_type: &'de str,
    body: &'de str,
    known: &'a Cell<bool>,
}

impl<'de> Deserializer<'de> for Message<'de, '_> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom(
            "commands and events are externally tagged enums",
        ))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Message<'de, '_> {
    type Error = Error;
    type Variant = Body<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Body<'de>), Error> {
        let variant = seed.deserialize(self.message_type.into_deserializer())?;
        self.known.set(true);
        Ok((variant, Body(self.body)))
    }
}

struct Body<'de>(&'de str);

impl<'de> Body<'de> {
    fn read<T>(
        self,
        read: impl FnOnce(Objects<&mut JsonDeserializer<StrRead<'de>>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut json = JsonDeserializer::from_str(self.0);
        let value = read(Objects(&mut json))?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> VariantAccess<'de> for Body<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.read(|json| Option::<Nothing>::deserialize(json))
            .map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let body = if fields.is_empty() && self.0.trim() == "null" {
            Body("{}")
        } else {
            self
        };
        body.read(|json| json.deserialize_struct("", fields, visitor))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mixed<'a> {
        Unit,
        Empty {},
        Tuple(u8),
        Pair(u8, u8),
        Struct {
            text: &'a str,
            #[serde(default)]
            list: Vec<i8>,
        },
    }

    fn read<'a>(message_type: &'a str, body: &'a str) -> Result<Mixed<'a>, String> {
        decode(message_type, body).map_err(|unreadable| match unreadable {
            Unreadable::UnknownType => "unknown".to_owned(),
            Unreadable::Body(error) => error.to_string(),
        })
    }

    #[test]
    fn a_body_is_the_content_of_its_variant() {
        assert_eq!(read("unit", "{}"), Ok(Mixed::Unit));
        assert_eq!(read("empty", " {} "), Ok(Mixed::Empty {}));
        assert_eq!(read("tuple", "7"), Ok(Mixed::Tuple(7)));
        assert_eq!(read("pair", "[1,2]"), Ok(Mixed::Pair(1, 2)));
        assert_eq!(
            read("struct", r#"{"list":[-1],"text":"é","more":0}"#),
            Ok(Mixed::Struct {
                text: "é",
                list: vec![-1]
            })
        );
    }

    #[test]
    fn null_is_read_where_there_is_no_content() {
        assert_eq!(read("unit", "null"), Ok(Mixed::Unit));
        assert_eq!(read("empty", "null"), Ok(Mixed::Empty {}));
        assert!(read("struct", "null").unwrap_err().contains("null"));
        assert!(
            read("unit", r#"{"a":1}"#)
                .unwrap_err()
                .contains("unknown field `a`")
        );
    }

    #[test]
    fn an_unknown_type_is_distinguished_from_an_unfit_body() {
        assert_eq!(read("Unit", "{}"), Err("unknown".to_owned()));
        assert!(
            read("struct", "{}")
                .unwrap_err()
                .contains("missing field `text`")
        );
        assert!(
            read("tuple", "7 8")
                .unwrap_err()
                .contains("trailing characters")
        );
        assert!(read("tuple", "").unwrap_err().contains("EOF"));
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Book {
        id: String,
        copies: u8,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Wrapped(Book);

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Place(u8, u8);

    #[derive(serde::Deserialize, Debug, PartialEq)]
    enum Kind {
        Plain,
        Named { name: String },
        Placed(u8, u8),
        Held(Book),
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Nested {
        Book(Book),
        Wrapped(Wrapped),
        Maybe(Option<Book>),
        List(Vec<Book>),
        Map(std::collections::BTreeMap<String, Book>),
        Kind(Kind),
        Place(Place),
        Pairs(Vec<(u8, Book)>),
        Empty {},
        Unit,
    }

    fn nested(message_type: &str, body: &str) -> Result<Nested, String> {
        decode(message_type, body).map_err(|unreadable| match unreadable {
            Unreadable::UnknownType => "unknown".to_owned(),
            Unreadable::Body(error) => error.to_string(),
        })
    }

    #[test]
    fn an_array_is_no_struct_at_any_depth() {
        for (message_type, body) in [
            ("book", r#"["o-1", 9]"#),
            ("wrapped", r#"["o-1", 9]"#),
            ("maybe", r#"["o-1", 9]"#),
            ("list", r#"[{"id": "o-1", "copies": 9}, ["o-2", 9]]"#),
            ("map", r#"{"a": ["o-1", 9]}"#),
            ("kind", r#"{"Named": ["o-1"]}"#),
            ("kind", r#"{"Held": ["o-1", 9]}"#),
            ("pairs", r#"[[1, ["o-1", 9]]]"#),
            ("empty", "[]"),
            ("unit", "[]"),
        ] {
            let error = nested(message_type, body).unwrap_err();
            assert!(error.contains("invalid type: sequence"), "{error}");
            assert!(error.contains(" as a JSON object at line 1"), "{error}");
        }
        let error = nested("book", r#"["o-1", 9]"#).unwrap_err();
        assert!(
            error.contains("expected struct Book as a JSON object"),
            "{error}"
        );
        assert!(read("struct", r#"["é", []]"#).is_err());
    }

    #[test]
    fn what_is_no_struct_is_read_as_before() {
        let book = || Book {
            id: "o-1".to_owned(),
            copies: 9,
        };
        let object = r#"{"id": "o-1", "copies": 9}"#;
        for (message_type, body, expected) in [
            ("book", object.to_owned(), Nested::Book(book())),
            (
                "wrapped",
                object.to_owned(),
                Nested::Wrapped(Wrapped(book())),
            ),
            ("maybe", "null".to_owned(), Nested::Maybe(None)),
            ("maybe", object.to_owned(), Nested::Maybe(Some(book()))),
            ("list", format!("[{object}]"), Nested::List(vec![book()])),
            (
                "map",
                format!("{{\"a\": {object}}}"),
                Nested::Map([("a".to_owned(), book())].into()),
            ),
            ("kind", "\"Plain\"".to_owned(), Nested::Kind(Kind::Plain)),
            (
                "kind",
                r#"{"Named": {"name": "n"}}"#.to_owned(),
                Nested::Kind(Kind::Named {
                    name: "n".to_owned(),
                }),
            ),
            (
                "kind",
                r#"{"Placed": [1, 2]}"#.to_owned(),
                Nested::Kind(Kind::Placed(1, 2)),
            ),
            (
                "kind",
                format!("{{\"Held\": {object}}}"),
                Nested::Kind(Kind::Held(book())),
            ),
            ("place", "[1, 2]".to_owned(), Nested::Place(Place(1, 2))),
            (
                "pairs",
                format!("[[1, {object}]]"),
                Nested::Pairs(vec![(1, book())]),
            ),
            ("empty", "{}".to_owned(), Nested::Empty {}),
            ("unit", "null".to_owned(), Nested::Unit),
        ] {
            assert_eq!(nested(message_type, &body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn raw_json_and_numbers_are_read_as_before() {
        #[derive(serde::Deserialize)]
        enum Raw {
            Raw {
                raw: Box<serde_json::value::RawValue>,
                value: serde_json::Value,
            },
        }
        let body = r#"{"raw": [1.50, {"a": [ ]}], "value": [18446744073709551615, -1, 1.5]}"#;
        let Ok(Raw::Raw { raw, value }) = decode::<Raw>("Raw", body) else {
            panic!("not read");
        };
        assert_eq!(raw.get(), r#"[1.50, {"a": [ ]}]"#);
        assert_eq!(value.to_string(), "[18446744073709551615,-1,1.5]");
    }
}
