//! Reads a query into structs, through serde.

use std::fmt;
use std::str::FromStr;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

/// The parameters of a query in order: names and decoded values.
pub type Pairs = Vec<(String, String)>;

/// Reads a query into `T`: a struct with a member for each parameter, a tuple of such structs, or
/// `()` for a query without parameters.
///
/// # Errors
/// When a parameter is unknown, has the wrong form, or is given twice although its member holds one
/// value.
pub fn read<T: DeserializeOwned>(pairs: Pairs) -> Result<T, Error> {
    let mut query = Query(pairs);
    let read = T::deserialize(&mut query)?;
    match query.0.first() {
        None => Ok(read),
        Some((name, _)) => Err(Error::Complete(format!(
            "query: there is no parameter {name:?} here"
        ))),
    }
}

/// Reads a word into an enum.
///
/// # Errors
/// Returns the words that there are.
pub fn choice<T: DeserializeOwned>(word: &str) -> Result<T, String> {
    let word: StrDeserializer<'_, Error> = word.into_deserializer();
    T::deserialize(word).map_err(|error| match error {
        Error::Choice { words, .. } => listed(words),
        other => other.to_string(),
    })
}

/// A whole number that the databases can store.
///
/// # Errors
/// Returns what is wrong, to be written after the name of the number.
pub fn number(text: &str) -> Result<u64, String> {
    match u64::from_str(text) {
        // The highest number of the databases.
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(format!(
            "{text:?} is not a whole number from 0 to {}",
            i64::MAX
        )),
    }
}

/// What is wrong with a query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with a value; the name of its parameter belongs before it.
    #[error("{0}")]
    Value(String),
    /// A word that is not one of those that there are.
    #[error("expected {}, found {found:?}", listed(words))]
    Choice {
        /// The given word.
        found: String,
        /// The words that there are.
        words: &'static [&'static str],
    },
    /// The whole text.
    #[error("{0}")]
    Complete(String),
}

impl Error {
    /// Adds the name of the parameter.
    fn of(self, name: &str) -> Self {
        match self {
            Self::Value(why) => Self::Complete(format!("query: {name} {why}")),
            Self::Choice { .. } => Self::Complete(format!("query: {name}: {self}")),
            Self::Complete(_) => self,
        }
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::Value(why.to_string())
    }

    fn unknown_variant(found: &str, words: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Self::Choice { found, words }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Complete(format!("query: {name} is missing"))
    }
}

/// `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The parameters that nobody has taken. A struct takes those that its members name.
struct Query(Pairs);

impl<'de> Deserializer<'de> for &mut Query {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Members {
            query: self,
            names: names.iter(),
            next: None,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        let why = "a query is read into a struct, a tuple of structs or ()";
        Err(Error::Complete(why.to_owned()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct seq tuple_struct map enum identifier ignored_any
    }
}

/// Each struct of a tuple is read from the same query.
impl<'de> SeqAccess<'de> for &mut Query {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        seed.deserialize(&mut **self).map(Some)
    }
}

/// The given parameters that a struct names, in the order of its members.
struct Members<'a> {
    query: &'a mut Query,
    names: std::slice::Iter<'static, &'static str>,
    next: Option<Values>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for name in self.names.by_ref() {
            let given = self.query.0.extract_if(.., |(given, _)| given == name);
            let values: Vec<String> = given.map(|(_, value)| value).collect();
            if values.is_empty() {
                continue;
            }
            self.next = Some(Values { name, values });
            let name: StrDeserializer<'_, Error> = name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let values = self
            .next
            .take()
            .expect("a value is asked for after its name");
        let name = values.name;
        seed.deserialize(values).map_err(|error| error.of(name))
    }
}

/// All values of one parameter.
struct Values {
    name: &'static str,
    values: Vec<String>,
}

impl Values {
    fn one(mut self) -> Result<String, Error> {
        match self.values.pop() {
            Some(value) if self.values.is_empty() => Ok(value),
            _ => Err(Error::Value("is given more than once".to_owned())),
        }
    }
}

impl<'de> Deserializer<'de> for Values {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.one()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let name = self.name;
        let number = number(&self.one()?);
        visitor.visit_u64(number.map_err(|why| Error::Complete(format!("{name} {why}")))?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements {
            name: self.name,
            values: self.values.into_iter(),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.one()?.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// The values of a parameter that may be repeated.
struct Elements {
    name: &'static str,
    values: std::vec::IntoIter<String>,
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.values.next() else {
            return Ok(None);
        };
        let values = vec![value];
        let name = self.name;
        seed.deserialize(Values { name, values }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use quipu_api::choices;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Range {
        after: Option<u64>,
        #[serde(default)]
        direction: choices::Direction,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Filters {
        r#type: Option<Vec<String>>,
        prefix: Option<String>,
        #[serde(default)]
        skip: Option<u64>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Owner {
        token: u64,
    }

    fn pairs(given: &[(&str, &str)]) -> Pairs {
        let given = given.iter();
        given
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_struct_of_a_tuple_takes_its_parameters() {
        let given = [
            ("type", "a"),
            ("direction", "backward"),
            ("prefix", ""),
            ("type", "b"),
            ("after", "7"),
        ];
        let (range, filters): (Range, Filters) = read(pairs(&given)).unwrap();
        let expected = Range {
            after: Some(7),
            direction: choices::Direction::Backward,
        };
        assert_eq!(range, expected);
        let expected = Filters {
            r#type: Some(vec!["a".to_owned(), "b".to_owned()]),
            prefix: Some(String::new()),
            skip: None,
        };
        assert_eq!(filters, expected);
    }

    #[test]
    fn a_query_without_parameters_is_read_into_defaults() {
        let (range, filters): (Range, Filters) = read(pairs(&[])).unwrap();
        assert_eq!(
            (range.after, range.direction),
            (None, choices::Direction::Forward)
        );
        assert_eq!((filters.r#type, filters.prefix), (None, None));
        assert_eq!(read::<Owner>(pairs(&[("token", "1")])).unwrap().token, 1);
        assert!(read::<()>(pairs(&[])).is_ok());
    }

    #[test]
    fn an_error_names_the_parameter() {
        let of = |given: &[(&str, &str)]| {
            let read = read::<(Range, Filters)>(pairs(given));
            read.unwrap_err().to_string()
        };
        for (given, expected) in [
            (
                &[("Type", "a")][..],
                "query: there is no parameter \"Type\" here",
            ),
            (
                &[("after", "1"), ("after", "1")],
                "query: after is given more than once",
            ),
            (
                &[("direction", "up")],
                "query: direction: expected forward or backward, found \"up\"",
            ),
            (
                &[("after", "-1")],
                "after \"-1\" is not a whole number from 0 to 9223372036854775807",
            ),
            (
                &[("skip", "9223372036854775808")],
                "skip \"9223372036854775808\" is not a whole number from 0 to 9223372036854775807",
            ),
        ] {
            assert_eq!(of(given), expected);
        }
        let missing = read::<Owner>(pairs(&[])).unwrap_err().to_string();
        assert_eq!(missing, "query: token is missing");
        let none = read::<()>(pairs(&[("a", "")])).unwrap_err().to_string();
        assert_eq!(none, "query: there is no parameter \"a\" here");
    }

    #[test]
    fn an_unknown_word_is_answered_with_those_that_there_are() {
        let drop = choice::<choices::ProjectionOrder>("drop");
        assert_eq!(drop, Ok(choices::ProjectionOrder::Drop));
        let words = choice::<choices::BuildRole>("Active").unwrap_err();
        assert_eq!(words, "active, next or previous");
    }
}
