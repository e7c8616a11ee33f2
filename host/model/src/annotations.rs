use std::collections::HashSet;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Context, Invalid};

/// Name and value pairs that a guest sees of a command's metadata.
pub type Annotations = Vec<(String, String)>;

/// Returns the part of a command's metadata that a guest sees.
///
/// These are the members of the JSON object: strings unchanged, other values as JSON text. They are
/// followed by the values that the host vouches for, with names that begin with `quipu.`. Metadata
/// that is not an object yields no members.
///
/// Recorded decisions are replayed with the result of this function, so its result for a given
/// input must never change.
pub fn annotations(metadata: Option<&Bytes>, context: &Context) -> Annotations {
    let members = metadata.map(|bytes| members(bytes).unwrap_or_default());
    let mut annotations = members.unwrap_or_default();
    let vouched = [
        ("quipu.principal", &context.principal),
        ("quipu.correlation-id", &context.correlation_id),
        ("quipu.causation-id", &context.causation_id),
        ("quipu.traceparent", &context.traceparent),
    ];
    for (name, value) in vouched {
        if let Some(value) = value {
            annotations.push((name.to_owned(), value.to_string()));
        }
    }
    annotations
}

/// Checks metadata given by a caller.
///
/// # Errors
/// When the name of a member can't be decoded, or belongs to the host.
pub fn check_metadata(metadata: &[u8]) -> Result<(), Invalid> {
    if !metadata.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    let members = members(metadata).map_err(|error| Invalid(format!("metadata: {error}")))?;
    match members.iter().find(|(name, _)| name.starts_with(RESERVED)) {
        Some((name, _)) => Err(Invalid(format!(
            "metadata {name:?}: names in {RESERVED} belong to the host"
        ))),
        None => Ok(()),
    }
}

/// Adds members to metadata, after the existing ones, whose text is unchanged.
///
/// A name that already exists keeps its value. Names that belong to the host are left out. Metadata
/// that is not an object is unchanged.
pub fn add_members(metadata: &mut Option<Bytes>, added: &[(String, String)]) {
    let object = metadata.as_deref().unwrap_or(b"{}");
    let Ok(own) = members(object) else {
        return;
    };
    let mut names: HashSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    let new = added
        .iter()
        .filter(|(name, _)| !name.starts_with(RESERVED) && names.insert(name))
        .map(|(name, value)| format!("{}:{}", Value::from(&**name), Value::from(&**value)));
    let new: Vec<String> = new.collect();
    let end = object.iter().rposition(|byte| *byte == b'}');
    let (Some(end), false) = (end, new.is_empty()) else {
        return;
    };
    let comma: &[u8] = if own.is_empty() { b"" } else { b"," };
    *metadata = Some(
        [&object[..end], comma, new.join(",").as_bytes(), b"}"]
            .concat()
            .into(),
    );
}

/// Prefix of the annotation names that belong to the host.
const RESERVED: &str = "quipu.";

/// Returns the members of a JSON object in their order.
fn members(metadata: &[u8]) -> serde_json::Result<Annotations> {
    struct Members(Annotations);

    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Visitor)
        }
    }

    struct Visitor;

    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Members;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Annotations::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                let text = serde_json::from_str::<String>(value.get())
                    .unwrap_or_else(|_| value.get().to_owned());
                members.push((name, text));
            }
            Ok(Members(members))
        }
    }

    serde_json::from_slice::<Members>(metadata).map(|members| members.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_strings_as_they_are_and_json_otherwise() {
        let metadata = Bytes::from_static(br#"{"actor":"112","n":1.50,"deep":{"a":[1]}}"#);
        let context = Context {
            principal: Some("ann".into()),
            ..Context::default()
        };
        let expected = [
            ("actor", "112"),
            ("n", "1.50"),
            ("deep", "{\"a\":[1]}"),
            ("quipu.principal", "ann"),
        ];
        let found = annotations(Some(&metadata), &context);
        let found: Vec<_> = found
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn metadata_that_is_no_object_gives_no_annotations() {
        for metadata in ["[1]", "null", "\"text\""] {
            let metadata = Bytes::from_static(metadata.as_bytes());
            assert_eq!(annotations(Some(&metadata), &Context::default()), []);
        }
    }

    #[test]
    fn names_that_are_the_hosts_or_no_text_are_refused() {
        for bad in [
            r#"{"quipu.principal":"x"}"#,
            r#"{"\ud800":1,"quipu.principal":"x"}"#,
        ] {
            assert!(check_metadata(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [r#"{"actor":"x"}"#, "[1]", "{}"] {
            assert_eq!(check_metadata(good.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn members_are_added_after_the_callers_and_replace_none() {
        let added = [
            ("region", "e\"u"),
            ("quipu.principal", "root"),
            ("actor", "host"),
        ];
        let added = added.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cases = [
            (None, r#"{"region":"e\"u","actor":"host"}"#),
            (Some(" { } "), r#" { "region":"e\"u","actor":"host"}"#),
            (
                Some(r#"{ "actor" : 1.50 }"#),
                r#"{ "actor" : 1.50 ,"region":"e\"u"}"#,
            ),
            (
                Some(r#"{"\u0061ctor":"}","region":{}}"#),
                r#"{"\u0061ctor":"}","region":{}}"#,
            ),
            (Some("[1]"), "[1]"),
            (Some(r#"{"\ud800":1}"#), r#"{"\ud800":1}"#),
        ];
        for (given, expected) in cases {
            let mut metadata = given.map(|text| Bytes::from(text.to_owned()));
            add_members(&mut metadata, &added);
            assert_eq!(metadata.as_deref(), Some(expected.as_bytes()));
        }
        let mut none = None;
        add_members(&mut none, &added[1..2]);
        assert_eq!(none, None);
    }
}
