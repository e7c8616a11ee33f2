//! Every rule of the semantics is cited by a test, and every cited rule exists.
//!
//! A test cites rules in its doc comment, or its module does: the name of the page with a capital
//! letter, then the numbers, such as "2.10" or "7.1, 7.2 and 7.5", on one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{find, prose, read, root};

/// The number at the beginning of a text: "2" or "2.10".
fn number(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let found = text[..end].trim_end_matches('.');
    (!found.is_empty()).then_some(found)
}

/// The sections of the page and their rules. A section without parts is a rule.
fn sections() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in prose(&read("docs/src/reference/semantics.md")) {
        if let Some(section) = line.strip_prefix("## ").and_then(number) {
            found.insert(section.to_owned(), BTreeSet::new());
        } else if let Some(rule) = line.strip_prefix("### ").and_then(number) {
            let section = rule.split('.').next().unwrap();
            let rules = found.get_mut(section).expect("a rule is in its section");
            assert!(rules.insert(rule.to_owned()), "rule {rule} occurs twice");
        }
    }
    found
}

/// The numbers that a line of a doc comment cites.
fn cited(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    let comment = line
        .strip_prefix("//!")
        .or_else(|| line.strip_prefix("///"));
    let mut found = Vec::new();
    for list in comment.unwrap_or_default().split("Semantics ").skip(1) {
        let mut rest = list;
        while let Some(rule) = number(rest) {
            found.push(rule);
            let after = &rest[rule.len()..];
            let next = after
                .strip_prefix(", ")
                .or_else(|| after.strip_prefix(" and "));
            rest = next.unwrap_or_default();
        }
    }
    found
}

#[test]
fn several_rules_are_cited_in_one_line() {
    assert_eq!(cited("/// Semantics 2.10."), ["2.10"]);
    assert_eq!(
        cited("//! Semantics 7.1, 7.2 and 7.5: snapshots"),
        ["7.1", "7.2", "7.5"]
    );
    assert_eq!(cited("    /// A copy. Semantics 6, twice 3"), ["6"]);
    assert_eq!(cited("// Semantics 2.10"), Vec::<&str>::new());
    assert_eq!(cited("/// Semantics are rules."), Vec::<&str>::new());
}

#[test]
fn every_rule_of_the_semantics_is_cited_by_a_test() {
    let sections = sections();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut sources = Vec::new();
    find(&root().join("tests/tests"), &["rs"], &mut sources);
    sources.retain(|path| !path.ends_with("docs/rules.rs"));
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for rule in text.lines().flat_map(cited) {
            places.insert(rule.to_owned(), path.display().to_string());
        }
    }
    let rules: BTreeSet<&String> = sections.values().flatten().collect();
    for (rule, place) in &places {
        let exists = rules.contains(rule) || sections.contains_key(rule);
        assert!(exists, "{place} cites rule {rule}, which does not exist");
    }

    // The first section defines words.
    let undivided = sections
        .iter()
        .filter(|(section, parts)| parts.is_empty() && section.as_str() != "1");
    let undivided = undivided.map(|(section, _)| section);
    let mut uncited: BTreeSet<&str> = rules
        .into_iter()
        .chain(undivided)
        .map(String::as_str)
        .collect();
    assert!(uncited.len() > 50, "{uncited:?}");
    uncited.retain(|rule| !places.contains_key(*rule));
    assert!(uncited.is_empty(), "no test cites {uncited:?}");
}
