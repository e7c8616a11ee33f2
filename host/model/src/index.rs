//! Encodes the values by which documents are found as bytes that sort like the values.

use std::fmt;

use serde_json::Value;

use super::Invalid;

/// An index: a value by which a document can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Name that queries use.
    pub name: Box<str>,
    /// JSON pointer into the document. If it points to an array, each element gives an entry.
    pub pointer: Box<str>,
    /// How the values are compared.
    pub kind: Kind,
}

impl Index {
    /// Highest number of entries of one document in one index.
    pub const ENTRIES_MAX: usize = 1_000;
    /// Longest text that an index contains, in bytes.
    pub const TEXT_BYTES_MAX: usize = 1_024;

    /// Returns the entries of a document: each value once, sorted.
    ///
    /// Values of another kind and texts that are too long are left out. The result may have more
    /// than [`ENTRIES_MAX`](Self::ENTRIES_MAX) entries, which the sandbox rejects.
    /// ```
    /// use quipu_model::{Index, Kind};
    /// let index = Index { name: "tag".into(), pointer: "/tags".into(), kind: Kind::Text };
    /// let document = serde_json::json!({"tags": ["b", "a", 1, "b"]});
    /// assert_eq!(index.entries(&document), [b"a", b"b"]);
    /// ```
    pub fn entries(&self, document: &Value) -> Vec<Vec<u8>> {
        let mut entries: Vec<_> = match document.pointer(&self.pointer) {
            None => return Vec::new(),
            Some(Value::Array(elements)) => elements
                .iter()
                .filter_map(|element| self.kind.encode(element))
                .collect(),
            Some(value) => self.kind.encode(value).into_iter().collect(),
        };
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// Returns the entries of a document's text for each index. The text is parsed only if there is
    /// an index.
    ///
    /// # Errors
    /// When the text can't be parsed: it is not JSON, is nested deeper than 127, or contains a
    /// number or an escape that has no value.
    pub fn all_entries(indexes: &[Self], document: &str) -> Result<Vec<Vec<Vec<u8>>>, Invalid> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let document: Value =
            serde_json::from_str(document).map_err(|error| Invalid(error.to_string()))?;
        let entries = indexes.iter().map(|index| index.entries(&document));
        Ok(entries.collect())
    }
}

/// How the values of an index are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON string, by its bytes in UTF-8.
    Text,
    /// A JSON number without fraction and exponent that fits a signed 64-bit integer.
    Integer,
    /// Any JSON number, as a double.
    Number,
    /// False before true.
    Boolean,
}

impl Kind {
    /// The name, as in the WIT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// Encodes a value as bytes that sort like the values. `None` for a value of another kind and
    /// for a text longer than [`Index::TEXT_BYTES_MAX`].
    pub fn encode(self, value: &Value) -> Option<Vec<u8>> {
        match self {
            Self::Text => value
                .as_str()
                .filter(|text| text.len() <= Index::TEXT_BYTES_MAX)
                .map(|text| text.as_bytes().to_vec()),
            Self::Integer => value.as_i64().map(integer),
            Self::Number => value.as_f64().filter(|it| it.is_finite()).map(number),
            Self::Boolean => value.as_bool().map(boolean),
        }
    }

    /// Encodes a value given in a query.
    ///
    /// # Errors
    /// When the text is not a value of this kind, or is longer than any text in an index.
    pub fn parse(self, text: &str) -> Result<Vec<u8>, Invalid> {
        let parsed = match self {
            Self::Text if text.len() > Index::TEXT_BYTES_MAX => {
                return Err(Invalid(format!(
                    "a text of {} bytes is in no index, which holds at most {}",
                    text.len(),
                    Index::TEXT_BYTES_MAX
                )));
            }
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Integer => text.parse().ok().map(integer),
            Self::Number => text
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .map(number),
            Self::Boolean => text.parse().ok().map(boolean),
        };
        parsed.ok_or_else(|| Invalid(format!("{text:?} is no {self}")))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn integer(value: i64) -> Vec<u8> {
    (value.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec()
}

/// Flips all bits of negative numbers and the sign bit of others, so that greater numbers have
/// greater bits.
fn number(value: f64) -> Vec<u8> {
    const SIGN: u64 = 1 << 63;
    // Both zeros are the same value.
    let bits = (value + 0.0).to_bits();
    let turned = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    turned.to_be_bytes().to_vec()
}

fn boolean(value: bool) -> Vec<u8> {
    vec![value.into()]
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use serde_json::json;

    use super::*;

    const KINDS: [Kind; 4] = [Kind::Text, Kind::Integer, Kind::Number, Kind::Boolean];

    fn index(pointer: &str, kind: Kind) -> Index {
        Index {
            name: "it".into(),
            pointer: pointer.into(),
            kind,
        }
    }

    fn random() -> StdRng {
        let seed = std::env::var("QUIPU_SEED").ok();
        let seed = seed.map_or_else(rand::random, |seed| {
            seed.parse().expect("QUIPU_SEED is a number")
        });
        eprintln!("replay with QUIPU_SEED={seed}");
        StdRng::seed_from_u64(seed)
    }

    /// Returns values near each other, near the bounds, and anywhere.
    fn any_integer(random: &mut StdRng) -> i64 {
        match random.random_range(0..4) {
            0 => random.random_range(-3..=3),
            1 => i64::MIN + random.random_range(0..3),
            2 => i64::MAX - random.random_range(0..3),
            _ => random.random(),
        }
    }

    fn any_number(random: &mut StdRng) -> f64 {
        match random.random_range(0..4) {
            0 => f64::from(random.random_range(-3..=3)),
            1 => [0.0, -0.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, -5e-324]
                [random.random_range(0..6)],
            2 => random.random_range(-1.0..1.0),
            _ => Some(f64::from_bits(random.random()))
                .filter(|it| it.is_finite())
                .unwrap_or(1.5),
        }
    }

    fn any_text(random: &mut StdRng) -> String {
        let letters = ['\0', 'a', 'b', 'z', 'é', '\u{ffff}', '\u{10000}'];
        let len = random.random_range(0..4);
        (0..len)
            .map(|_| letters[random.random_range(0..letters.len())])
            .collect()
    }

    #[test]
    fn bytes_are_in_the_order_of_the_values() {
        let mut random = random();
        for _ in 0..20_000 {
            let (a, b) = (any_integer(&mut random), any_integer(&mut random));
            assert_eq!(integer(a).cmp(&integer(b)), a.cmp(&b), "{a} {b}");
            let (a, b) = (any_number(&mut random), any_number(&mut random));
            let expected = a.partial_cmp(&b).expect("both are finite");
            assert_eq!(number(a).cmp(&number(b)), expected, "{a} {b}");
            let (a, b) = (any_text(&mut random), any_text(&mut random));
            let encoded = |text: &str| Kind::Text.encode(&text.into());
            assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b), "{a:?} {b:?}");
        }
        assert!(boolean(false) < boolean(true));
    }

    #[test]
    fn a_querys_text_is_encoded_as_the_documents_value() {
        let mut random = random();
        for _ in 0..5_000 {
            let (integer, number) = (any_integer(&mut random), any_number(&mut random));
            let text = any_text(&mut random);
            let cases = [
                (Kind::Integer, json!(integer), integer.to_string()),
                (Kind::Number, json!(number), format!("{number:e}")),
                (Kind::Number, json!(integer), integer.to_string()),
                (Kind::Text, json!(text), text),
                (Kind::Boolean, json!(true), "true".to_owned()),
            ];
            for (kind, value, text) in cases {
                assert_eq!(
                    kind.encode(&value),
                    kind.parse(&text).ok(),
                    "{kind} {value}"
                );
            }
        }
    }

    #[test]
    fn a_value_of_another_kind_is_not_in_the_index() {
        let cases = [
            (json!("1"), Some(Kind::Text)),
            (json!(true), Some(Kind::Boolean)),
            (json!(1.5), Some(Kind::Number)),
            (json!(1.0), Some(Kind::Number)),
            (json!(u64::MAX), Some(Kind::Number)),
            (json!(null), None),
            (json!({"a": 1}), None),
        ];
        for (value, kind) in cases {
            let found = KINDS.into_iter().filter(|it| it.encode(&value).is_some());
            assert!(found.eq(kind), "{value}");
        }
        let both = KINDS.map(|kind| kind.encode(&json!(7)).is_some());
        assert_eq!(both, [false, true, true, false]);
    }

    #[test]
    fn an_array_gives_each_fitting_element_once() {
        let document = json!({"a": [3, "x", 1, 3], "b": 2, "c/d": {"e": [[4]]}, "": 5});
        let entries = |pointer| index(pointer, Kind::Integer).entries(&document);
        assert_eq!(entries("/a"), [integer(1), integer(3)]);
        assert_eq!(entries("/a/2"), [integer(1)]);
        assert_eq!(entries("/b"), [integer(2)]);
        assert_eq!(entries("/c~1d/e/0"), [integer(4)]);
        assert_eq!(entries("/"), [integer(5)]);
        for nothing in ["", "/c~1d/e", "/a/9", "/z"] {
            assert!(entries(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(index("", Kind::Number).entries(&json!([1, 2])).len(), 2);
    }

    #[test]
    fn long_texts_are_in_no_index() {
        for (len, is_in) in [(1_024, true), (1_025, false)] {
            let text = "x".repeat(len);
            assert_eq!(Kind::Text.encode(&json!(text)).is_some(), is_in);
            assert_eq!(Kind::Text.parse(&text).is_ok(), is_in);
        }
    }

    #[test]
    fn a_text_that_is_no_value_is_refused() {
        for (kind, texts) in [
            (Kind::Integer, &["", "1.0", "x", "9223372036854775808"][..]),
            (Kind::Number, &["", "x", "NaN", "inf", "1e400"]),
            (Kind::Boolean, &["", "True", "1"]),
        ] {
            for text in texts {
                assert!(kind.parse(text).is_err(), "{kind} {text}");
            }
        }
    }

    #[test]
    fn without_an_index_no_document_is_read() {
        assert_eq!(Index::all_entries(&[], "{").ok(), Some(Vec::new()));
        let indexes = [index("/n", Kind::Number), index("/t", Kind::Text)];
        let found = Index::all_entries(&indexes, r#"{"n":1,"t":"x"}"#).ok();
        assert_eq!(found, Some(vec![vec![number(1.0)], vec![b"x".to_vec()]]));
        for bad in ["{", "{\"n\":1e400}", "\"\\ud800\""] {
            assert!(Index::all_entries(&indexes, bad).is_err(), "{bad}");
        }
    }
}
