//! What differs between two JSON values, place by place. Numbers are compared with every digit.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use quipu::model::is_same_json;

/// Most differences of one comparison.
const DIFFERENCES_MAX: usize = 200;
/// Values at deeper levels are compared as a whole.
const DEPTH_MAX: usize = 24;

/// A place at which two values differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// A JSON pointer.
    pub place: String,
    /// None: it is not there.
    pub before: Option<&'a str>,
    /// None: it is not there.
    pub after: Option<&'a str>,
}

/// The differences, and whether there are more.
pub fn differences<'a>(before: &'a RawValue, after: &'a RawValue) -> (Vec<Difference<'a>>, bool) {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), 0, &mut found);
    let has_more = found.len() > DIFFERENCES_MAX;
    found.truncate(DIFFERENCES_MAX);
    (found, has_more)
}

fn compare<'a>(
    place: String,
    before: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
    depth: usize,
    found: &mut Vec<Difference<'a>>,
) {
    if found.len() > DIFFERENCES_MAX {
        return;
    }
    let (one, other) = (before.map(RawValue::get), after.map(RawValue::get));
    if let (Some(one), Some(other)) = (one, other) {
        if one == other || is_same_json(one.as_bytes(), other.as_bytes()) {
            return;
        }
        if depth < DEPTH_MAX && (is(one, other, '{') || is(one, other, '[')) {
            let (one, other) = (members(one), members(other));
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort_by_key(|name| (name.parse::<usize>().ok(), *name));
            names.dedup();
            for name in names {
                let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                let (one, other) = (one.get(name).copied(), other.get(name).copied());
                compare(place, one, other, depth + 1, found);
            }
            return;
        }
    }
    found.push(Difference {
        place,
        before: one,
        after: other,
    });
}

fn is(one: &str, other: &str, begin: char) -> bool {
    one.starts_with(begin) && other.starts_with(begin)
}

/// The members of an object, or the elements of a list by their index.
fn members(json: &str) -> BTreeMap<String, &RawValue> {
    if json.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        let elements = elements.into_iter().enumerate();
        return elements.map(|(at, it)| (at.to_string(), it)).collect();
    }
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn each_place_that_differs_is_named() {
        let before = raw(r#"{"a":1,"b":{"c/d":[1,2],"e":"x"},"f":1.0}"#);
        let after = raw(r#"{"b":{"c/d":[1,3,4],"e":"x"},"f":1.0,"g":null,"a":1}"#);
        let (found, has_more) = differences(&before, &after);
        let found: Vec<_> = found
            .iter()
            .map(|it| (&*it.place, it.before, it.after))
            .collect();
        let expected = [
            ("/b/c~1d/1", Some("2"), Some("3")),
            ("/b/c~1d/2", None, Some("4")),
            ("/g", None, Some("null")),
        ];
        assert_eq!(found, expected);
        assert!(!has_more);
    }

    #[test]
    fn every_digit_of_a_number_counts() {
        let (before, after) = (
            raw("[1234567890123456789012]"),
            raw("[1234567890123456789013]"),
        );
        assert_eq!(differences(&before, &after).0.len(), 1);
    }

    #[test]
    fn the_number_of_differences_is_bounded() {
        let list = |number: usize| raw(&serde_json::to_string(&vec![number; 5_000]).unwrap());
        let (one, other) = (list(1), list(2));
        let (found, has_more) = differences(&one, &other);
        assert_eq!((found.len(), has_more), (DIFFERENCES_MAX, true));
        let deep = |value: &str| raw(&format!("{}{value}{}", "[".repeat(100), "]".repeat(100)));
        let (one, other) = (deep("1"), deep("2"));
        assert_eq!(differences(&one, &other).0.len(), 1);
    }
}
