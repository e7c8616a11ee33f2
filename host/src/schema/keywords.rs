//! The keywords of JSON Schema 2020-12 that have no influence on a check.

/// Keywords that only describe.
pub const DESCRIPTIONS: &[&str] = &[
    "$schema",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
];

/// Keywords that refuse data and are not checked: no regular expression of a guest is executed, and
/// what other keywords have seen is not remembered.
pub const UNCHECKED: &[&str] = &["pattern", "patternProperties", "unevaluatedProperties"];
