//! `[engine.snapshots]`: the snapshot policies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use quipu::engine;
use quipu::model::Category;

/// Policies by category; `others` applies to all categories that are not listed, also to a category
/// of that name.
#[derive(Debug, Default, Clone)]
pub struct Policies {
    others: Policy,
    by_category: BTreeMap<String, Policy>,
}

/// `"off"`, `{ every = 500 }` or `{ load_ms = 50 }`.
#[derive(Debug, Clone, Copy, Default)]
struct Policy(engine::Policy);

impl Policies {
    /// The policies for the engine.
    pub fn options(&self) -> engine::Policies {
        let named = self.by_category.iter();
        engine::Policies {
            others: self.others.0,
            by_category: named.map(|(name, it)| (name.clone(), it.0)).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut by_category: BTreeMap<String, Policy> = BTreeMap::deserialize(deserializer)?;
        let others = by_category.remove("others").unwrap_or_default();
        for name in by_category.keys() {
            Category::new(name)
                .map_err(|error| D::Error::custom(format!("neither `others` nor a {error}")))?;
        }
        Ok(Self {
            others,
            by_category,
        })
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOf)
    }
}

struct OneOf;

impl<'de> Visitor<'de> for OneOf {
    type Value = Policy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"off\", { every = EVENTS } or { load_ms = MILLISECONDS }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Policy, E> {
        match text {
            "off" => Ok(Policy(engine::Policy::Off)),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::invalid_length(0, &self));
        };
        let policy = match key.as_str() {
            "every" => match map.next_value()? {
                0 => return Err(A::Error::custom("every = 0: it begins at 1")),
                events => engine::Policy::Every(events),
            },
            "load_ms" => engine::Policy::SlowerThan(Duration::from_millis(map.next_value()?)),
            other => return Err(A::Error::unknown_field(other, &["every", "load_ms"])),
        };
        match map.next_key::<String>()? {
            None => Ok(Policy(policy)),
            Some(more) => Err(A::Error::custom(format!(
                "{more} and {key}: a policy has one of them"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_off_or_by_events_or_by_time() {
        let text = "others = { every = 500 }\nloan = { load_ms = 50 }\naccount = \"off\"";
        let policies: Policies = toml::from_str(text).unwrap();
        let options = policies.options();
        assert_eq!(options.of("note"), engine::Policy::Every(500));
        let slow = engine::Policy::SlowerThan(Duration::from_millis(50));
        assert_eq!(options.of("loan"), slow);
        assert_eq!(options.of("account"), engine::Policy::Off);
        let none: Policies = toml::from_str("").unwrap();
        assert_eq!(none.options().of("loan"), engine::Policy::Off);
    }

    #[test]
    fn another_policy_is_refused_with_what_is_allowed() {
        for (text, expected) in [
            ("others = \"on\"", "expected \"off\", { every = EVENTS }"),
            ("others = 500", "expected \"off\", { every = EVENTS }"),
            ("others = {}", "expected \"off\", { every = EVENTS }"),
            ("others = { every = 0 }", "begins at 1"),
            ("others = { every = -1 }", "-1"),
            ("others = { every = 1.5 }", "1.5"),
            ("others = { load_s = 1 }", "expected `every` or `load_ms`"),
            ("others = { every = 1, load_ms = 1 }", "load_ms and every"),
            (
                "Loan-1 = \"off\"",
                "neither `others` nor a category \"Loan-1\"",
            ),
            ("\"\" = \"off\"", "neither `others` nor a category \"\""),
            ("loan = \"of\"", "\"of\""),
        ] {
            let error = toml::from_str::<Policies>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
