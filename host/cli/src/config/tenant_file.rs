//! The limits of one tenant: a file in the folder with its rules.

use std::path::Path;

use toml::Value as Toml;
use toml::de::DeTable;

use super::key::Key;
use super::{keys, nearest, section, sources};
use quipu_server::TenantLimits;

/// The keys of the configuration that a tenant can have a value of its own for.
const PATHS: [&str; 4] = [
    "limits.tenant_requests_per_second",
    "limits.tenant_bytes_per_second",
    "limits.tenant_subscriptions",
    "tenants.share",
];

/// The limits of one tenant. What is missing is as in the configuration.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TenantFile {
    /// What all of its callers may use together.
    pub limits: TenantLimits,
    /// It may use one part of this many of the host's bounds.
    pub share: Option<usize>,
}

impl TenantFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The mistakes, each with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<String>> {
        let parsed = DeTable::parse(text).and_then(|table| Ok((table, toml::from_str(text)?)));
        let (spans, values): (_, toml::Table) = parsed.map_err(|error| {
            let why = sources::shown(text, &error);
            vec![format!("{}:{why}", path.display())]
        })?;
        let keys = own_keys();
        let mut file = Self::default();
        let mut problems = Vec::new();
        for (spanned, _) in spans.get_ref() {
            let name: &str = spanned.get_ref();
            let set = match values.get(name) {
                Some(value) => file.set(&keys, name, value),
                None => continue,
            };
            if let Err(why) = set {
                problems.push((sources::line(text, spanned.span().start), why));
            }
        }
        if problems.is_empty() {
            return Ok(file);
        }
        // In the order of the file, not of the names.
        problems.sort();
        let problems = problems.into_iter();
        let named = problems.map(|(line, why)| format!("{}:{line}: {why}", path.display()));
        Err(named.collect())
    }

    fn set(&mut self, keys: &[Key], name: &str, value: &Toml) -> Result<(), String> {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let nearest = nearest::among(keys, name);
            return Err(sources::unknown(name, nearest.map(|key| key.name)));
        };
        let limits = &mut self.limits;
        match key.name {
            "tenant_requests_per_second" => {
                limits.requests_per_second = Some(section::parse(key, value)?);
            }
            "tenant_bytes_per_second" => {
                limits.bytes_per_second = Some(section::parse(key, value)?);
            }
            "tenant_subscriptions" => limits.subscriptions = Some(section::parse(key, value)?),
            _ => self.share = Some(section::parse(key, value)?),
        }
        Ok(())
    }
}

/// The keys of the file, which has no sections.
fn own_keys() -> Vec<Key> {
    let own = keys().filter(|key| PATHS.contains(&key.path().as_str()));
    let own = own.map(|key| Key {
        section: "",
        ..key.clone()
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TenantFile, String> {
        let parsed = TenantFile::parse(Path::new("limits.toml"), text);
        parsed.map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn a_file_has_every_limit_that_a_tenant_can_have() {
        assert_eq!(own_keys().len(), PATHS.len());
        assert_eq!(parse("# nothing\n"), Ok(TenantFile::default()));
        let text = "tenant_requests_per_second = 0\ntenant_bytes_per_second = 2\n\
                    tenant_subscriptions = 3\nshare = 4\n";
        let limits = TenantLimits {
            requests_per_second: Some(0),
            bytes_per_second: Some(2),
            subscriptions: Some(3),
        };
        let share = Some(4);
        assert_eq!(parse(text), Ok(TenantFile { limits, share }));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_the_nearest_key() {
        for (text, expected) in [
            (
                "share = 2\nrequests_per_second = 3",
                "limits.toml:2: there is no key requests_per_second; the nearest is \
                 tenant_requests_per_second",
            ),
            (
                "shares = 2\nshare = 0",
                "limits.toml:1: there is no key shares; the nearest is share\n\
                 limits.toml:2: share is 0; it must be 1 to 1024",
            ),
            (
                "share = 1025",
                "limits.toml:1: share is 1025; it must be 1 to 1024",
            ),
            (
                "tenant_requests_per_second = 1000001",
                "limits.toml:1: tenant_requests_per_second is 1000001; it must be 0 to 1000000",
            ),
            (
                "tenant_subscriptions = -1",
                "limits.toml:1: tenant_subscriptions: -1 is not a number from 0 to 4294967295",
            ),
            (
                "tenant_bytes_per_second = \"9\"",
                "limits.toml:1: tenant_bytes_per_second: expected a whole number, found a text",
            ),
            (
                "[limits]\ntenant_subscriptions = 1",
                "limits.toml:1: there is no key limits; the nearest is ",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = parse("share = 2\nshare 3").unwrap_err();
        assert!(error.starts_with("limits.toml:2: "), "{error}");
    }
}
