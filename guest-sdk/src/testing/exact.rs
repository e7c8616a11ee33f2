use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value with every digit of its numbers, which [`Value`] may hold as doubles.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// 0.DIGITS times ten to the exponent. The first and the last digit are not 0; zero has none.
#[derive(Debug, PartialEq)]
pub(super) struct Number {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Json {
    /// Reads a JSON text.
    #[track_caller]
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim();
        match text.as_bytes().first() {
            Some(b'[') => {
                let elements: Vec<&RawValue> = read(text);
                Self::Array(elements.iter().map(|it| Self::new(it.get())).collect())
            }
            Some(b'{') => {
                let members: BTreeMap<String, &RawValue> = read(text);
                let members = members.into_iter();
                Self::Object(
                    members
                        .map(|(name, it)| (name, Self::new(it.get())))
                        .collect(),
                )
            }
            Some(b'-' | b'0'..=b'9') => {
                let number: &RawValue = read(text);
                Self::Number(Number::new(number.get()))
            }
            _ => match read(text) {
                Value::Bool(value) => Self::Boolean(value),
                Value::String(value) => Self::String(value),
                _ => Self::Null,
            },
        }
    }
}

impl Number {
    #[track_caller]
    fn new(text: &str) -> Self {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Self {
                is_negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let zeros = digits.len() - significant.len();
        let scale = whole.len() as i64 - zeros as i64;
        let exponent = exponent.parse::<i64>().ok();
        let Some(exponent) = exponent.and_then(|it| it.checked_add(scale)) else {
            panic!("the exponent of {text} is out of range")
        };
        Self {
            is_negative,
            digits: significant.trim_end_matches('0').to_owned(),
            exponent,
        }
    }
}

/// Returns a JSON text with one value a line and the members of objects in order of their names.
/// Numbers are written as they were.
#[track_caller]
pub(super) fn pretty(text: &str) -> String {
    let mut pretty = String::new();
    write(text.trim(), 0, &mut pretty);
    pretty
}

#[track_caller]
fn write(text: &str, depth: usize, pretty: &mut String) {
    let line = |pretty: &mut String, depth: usize| {
        pretty.push('\n');
        pretty.push_str(&"  ".repeat(depth));
    };
    let (open, close, elements) = match text.as_bytes().first() {
        Some(b'[') => {
            let elements: Vec<&RawValue> = read(text);
            let elements = elements.into_iter().map(|it| (None, it));
            ('[', ']', elements.collect::<Vec<_>>())
        }
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = read(text);
            let members = members.into_iter().map(|(name, it)| (Some(name), it));
            ('{', '}', members.collect())
        }
        _ => return pretty.push_str(text),
    };
    pretty.push(open);
    let is_empty = elements.is_empty();
    for (index, (name, element)) in elements.into_iter().enumerate() {
        if index > 0 {
            pretty.push(',');
        }
        line(pretty, depth + 1);
        if let Some(name) = name {
            pretty.push_str(&format!("{}: ", Value::from(name)));
        }
        write(element.get(), depth + 1, pretty);
    }
    if !is_empty {
        line(pretty, depth);
    }
    pretty.push(close);
}

#[track_caller]
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{text} is no JSON: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_however_they_are_spelled() {
        let one = Json::new("[1, {\"a\": 2.50, \"b\": 0}]");
        assert_eq!(Json::new(r#"[10e-1,{"b":-0.0,"\u0061":25E-1}]"#), one);
        assert_ne!(Json::new(r#"[1, {"a": 2.5, "b": 1}]"#), one);
    }

    #[test]
    fn every_digit_counts() {
        let json = |text| Json::new(text);
        assert_ne!(json("12345678901234567890"), json("12345678901234567891"));
        assert_ne!(
            json("0.12345678901234567890"),
            json("0.12345678901234567891")
        );
        assert_ne!(json("1e400"), json("1e401"));
        assert_eq!(json("120000000000000000000"), json("1.2e+20"));
    }

    #[test]
    #[should_panic(expected = "is no JSON")]
    fn what_is_not_json_is_named() {
        Json::new("{\"a\":}");
    }
}
