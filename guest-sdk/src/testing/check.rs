use std::collections::BTreeSet;

use super::answer::at_most;
use crate::message::Describe;
use crate::{Aggregate, Guest, Manifest, MessageType, Upcaster};

/// Panics when a host would refuse the manifest of `G`: a schema version 0, two types under one
/// name, or migrations that do not form a chain. Also panics when the declared codes of rejections
/// are not usable: an empty code, one with white space, one that is declared twice, or more than
/// 4 KiB of them; and when a JSON Schema is longer than 64 KiB or refers to something outside of it.
#[track_caller]
pub fn check_guest<G: Guest>() {
    let manifest = Manifest::of::<G>();
    check_types("command", &manifest.commands);
    check_types("event", &manifest.events);
    if let Err(text) = G::Aggregate::migrations().check(manifest.state_schema_version) {
        panic!("{}: {text}", manifest.name);
    }
    check_rejections(manifest.name, manifest.rejections);
    check_schemas("command", G::COMMAND_SCHEMAS);
    check_schemas("event", G::EVENT_SCHEMAS);
}

/// Panics when a host would refuse the steps of `U`: a schema version 0, two steps from one type
/// and version, one that does not lead its own type to a later version, or a circle.
#[track_caller]
pub fn check_steps<U: Upcaster>() {
    if let Err(text) = U::steps().check() {
        panic!("upcasters of {}: {text}", U::CATEGORY);
    }
}

#[track_caller]
fn check_schemas(kind: &str, describe: Option<Describe>) {
    for (name, schema) in describe.map(|describe| describe()).unwrap_or_default() {
        if let Err(error) = schema {
            panic!("JSON Schema of {kind} {name}: {error}");
        }
    }
}

/// Longest list of codes in a manifest, in bytes.
const CODES_BYTES_MAX: usize = 4 << 10;
/// Longest code, in bytes.
const CODE_BYTES_MAX: usize = 255;

#[track_caller]
fn check_rejections(name: &str, codes: &[&str]) {
    let mut seen = BTreeSet::new();
    for code in codes {
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        assert!(
            (1..=CODE_BYTES_MAX).contains(&code.len()) && !code.contains(is_odd),
            "{name}: the code {code:?} in REJECTIONS is not 1 to {CODE_BYTES_MAX} bytes without \
             white space"
        );
        assert!(
            seen.insert(code),
            "{name}: the code {code} is in REJECTIONS twice"
        );
    }
    let what = format!("bytes of codes in REJECTIONS of {name}");
    at_most(&what, codes.join(" ").len(), CODES_BYTES_MAX);
}

#[track_caller]
fn check_types(kind: &str, types: &[MessageType]) {
    let mut seen = BTreeSet::new();
    for known in types {
        let name = known.name;
        assert!(
            known.schema_version > 0,
            "{kind} {name}: schema versions begin at 1"
        );
        for name in std::iter::once(&name).chain(&known.aliases) {
            assert!(seen.insert(*name), "two {kind}s are called {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[&str], expected: &str) {
        let checked = std::panic::catch_unwind(|| check_rejections("shop", codes));
        let found = checked.err().and_then(|it| it.downcast::<String>().ok());
        assert_eq!(found.as_deref().map_or("", String::as_str), expected);
    }

    #[test]
    fn codes_are_short_distinct_and_without_white_space() {
        check(&[], "");
        check(&["closed", "no-names"], "");
        check(&["a", "b", "a"], "shop: the code a is in REJECTIONS twice");
        let odd = |code: &str| {
            format!(
                "shop: the code {code:?} in REJECTIONS is not 1 to 255 bytes without white space"
            )
        };
        for code in ["", "a b", "a\u{a0}b", "a\n", "\u{7f}"] {
            check(&[code], &odd(code));
        }
        check(&[&"a".repeat(255)], "");
        let long = "a".repeat(256);
        check(&[&long], &odd(&long));
    }

    #[test]
    fn all_codes_together_have_at_most_4_kib() {
        let codes: Vec<_> = (0..16_u8)
            .map(|code| char::from(b'a' + code).to_string().repeat(255))
            .collect();
        let mut codes: Vec<_> = codes.iter().map(String::as_str).collect();
        assert_eq!(codes.join(" ").len(), 4095);
        check(&codes, "");
        codes.push("z");
        let text = "4097 bytes of codes in REJECTIONS of shop, a host accepts at most 4096";
        check(&codes, text);
    }
}
