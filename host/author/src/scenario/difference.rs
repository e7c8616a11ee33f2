use std::fmt;

use super::json::{ANY, elements, members};

/// Most differences that are listed of one value.
const LISTED_MAX: usize = 20;
/// Longest text of a value in a difference.
const VALUE_CHARS_MAX: usize = 200;
/// What is there if nothing is found.
pub(super) const NULL: &str = "null";

/// Something that is not as a scenario expects it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Where: `state /balance`, `event 2 deposited /amount`. Empty: the scenario as a whole.
    pub place: String,
    /// What is expected.
    pub expected: Option<String>,
    /// What was found, or the problem.
    pub found: String,
}

impl Difference {
    /// The scenario can't be played.
    pub(super) fn problem(text: String) -> Self {
        Self {
            place: String::new(),
            expected: None,
            found: text,
        }
    }

    pub(super) fn new(place: &str, expected: &str, found: &str) -> Self {
        Self {
            place: place.to_owned(),
            expected: Some(shortened(expected)),
            found: shortened(found),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            expected,
            found,
        } = self;
        match expected {
            Some(expected) => write!(f, "{place}: expected {expected}, found {found}"),
            None => f.write_str(found),
        }
    }
}

/// Compares a JSON text with what is expected, where `"$any"` fits every value. Every digit of a
/// number counts, the order of an object's members makes no difference.
pub(super) fn compare(place: &str, expected: &str, found: &str) -> Vec<Difference> {
    let mut differences = Vec::new();
    collect(place, expected, found, &mut differences);
    if differences.len() > LISTED_MAX {
        let more = differences.len() - LISTED_MAX;
        differences.truncate(LISTED_MAX);
        differences.push(Difference::problem(format!(
            "{place}: {more} more differences"
        )));
    }
    differences
}

fn collect(place: &str, expected: &str, found: &str, differences: &mut Vec<Difference>) {
    if expected == ANY {
        return;
    }
    if let (Some(wanted), Some(got)) = (members(expected), members(found)) {
        for (name, wanted) in &wanted {
            let place = member(place, name);
            match got.get(name) {
                Some(got) => collect(&place, wanted, got, differences),
                None => differences.push(Difference::new(&place, wanted, "nothing")),
            }
        }
        for (name, got) in got.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
            let place = member(place, name);
            differences.push(Difference::new(&place, "nothing", got));
        }
        return;
    }
    if let (Some(wanted), Some(got)) = (elements(expected), elements(found)) {
        if wanted.len() != got.len() {
            let wanted = format!("{} elements", wanted.len());
            differences.push(Difference::new(place, &wanted, found));
            return;
        }
        for (number, (wanted, got)) in wanted.iter().zip(got).enumerate() {
            let place = member(place, &number.to_string());
            collect(&place, wanted, got, differences);
        }
        return;
    }
    if !quipu::model::is_same_json(expected.as_bytes(), found.as_bytes()) {
        differences.push(Difference::new(place, expected, found));
    }
}

/// The place of a member: `state`, `/balance` is `state /balance`.
fn member(place: &str, name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    match place.contains(" /") {
        true => format!("{place}/{name}"),
        false => format!("{place} /{name}"),
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_owned();
    }
    let begin: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(expected: &Value, found: &Value, lines: &[&str]) {
        let differences = compare("state", &expected.to_string(), &found.to_string());
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(texts, lines);
    }

    #[test]
    fn equal_values_have_no_difference() {
        check(
            &json!({"a": 1, "b": [1, 2]}),
            &json!({"b": [1, 2], "a": 1}),
            &[],
        );
        check(&json!({"a": 1}), &json!({"a": 1.0}), &[]);
        check(&json!({"a": "$any"}), &json!({"a": {"b": 1}}), &[]);
    }

    #[test]
    fn each_difference_names_its_place() {
        let (expected, found) = (
            json!({"a": {"b": [1, 2]}, "c": 1}),
            json!({"a": {"b": [1, 3]}}),
        );
        check(
            &expected,
            &found,
            &[
                "state /a/b/1: expected 2, found 3",
                "state /c: expected 1, found nothing",
            ],
        );
        check(
            &json!({}),
            &json!({"x/y": "more"}),
            &["state /x~1y: expected nothing, found \"more\""],
        );
    }

    #[test]
    fn a_difference_in_the_last_of_many_digits_counts() {
        let differences = compare(
            "state",
            r#"{"wei":12345678901234567890123}"#,
            r#"{"wei":12345678901234567890124}"#,
        );
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["state /wei: expected 12345678901234567890123, found 12345678901234567890124"]
        );
    }
}
