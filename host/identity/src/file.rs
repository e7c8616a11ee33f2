//! The file of identities: issuers of JSON web tokens, and client certificates.

use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use quipu::access::{Grant, Role};
use quipu::model::Invalid;
use reqwest::Url;
use serde::Deserialize;

/// Most issuers, and most rules for certificates, in a file.
pub const LISTED_MAX: usize = 100;
/// Most claims that an issuer passes on to policies.
const ATTRIBUTES_MAX: usize = 20;
/// Largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest difference between the clocks of an issuer and the host that can be allowed, in seconds.
const LEEWAY_MAX_S: u64 = 300;

/// The file of identities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Whose JSON web tokens the host takes.
    #[serde(default, rename = "issuer")]
    pub issuers: Vec<Issuer>,
    /// Which client certificates it takes.
    #[serde(default, rename = "certificate")]
    pub certificates: Vec<Certificate>,
}

/// An issuer of JSON web tokens, and what its tokens allow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// A short name. Callers are recorded as NAME:SUBJECT.
    pub name: String,
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// Accepted values of the claim `aud`.
    pub audience: Vec<String>,
    /// Accepted algorithms. The header of a token only chooses among them.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Where the keys are. By default the issuer's OpenID configuration says so.
    pub keys_url: Option<String>,
    /// A file with the keys, as a JSON web key set, instead of an address.
    pub keys_file: Option<PathBuf>,
    /// A file with the certificates of the authorities that prove the issuer's address, in PEM.
    pub authorities_file: Option<PathBuf>,
    /// The claim with the caller's name.
    #[serde(default = "subject")]
    pub name_claim: String,
    /// The role of every caller, unless `roles` gives another.
    #[serde(default = "no_role")]
    pub role: Role,
    /// The claim with the caller's groups or roles: a text or a list. A dot leads into an object.
    pub roles_claim: Option<String>,
    /// What a value of that claim means here. The first line that applies counts.
    #[serde(default)]
    pub roles: Vec<Mapped>,
    /// Only streams of these categories.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Only these projections.
    #[serde(default)]
    pub projections: Vec<String>,
    /// The claim with the categories that a caller reaches: a list. A token without it is refused.
    pub categories_claim: Option<String>,
    /// The claim with the projections that a caller reaches: a list. A token without it is refused.
    pub projections_claim: Option<String>,
    /// Claims that policies can ask for.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Longest time between a token's issue and its expiry, in seconds.
    #[serde(default = "lifetime_max_s")]
    pub lifetime_max_s: u64,
    /// How far the clocks of the issuer and the host may differ, in seconds.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
}

/// What a value of the claim with roles means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapped {
    /// The value.
    pub value: String,
    /// The role of a caller who has it.
    pub role: Role,
}

/// A client certificate, by one of its names, and what it allows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The DNS name of the certificate.
    pub dns: Option<String>,
    /// The URI of the certificate, as spiffe://cluster/orders.
    pub uri: Option<String>,
    /// The common name of its subject.
    pub common_name: Option<String>,
    /// The name under which the caller is recorded. By default `certificate:` and the name above.
    pub name: Option<String>,
    /// What the caller may do.
    pub role: Role,
    /// Only streams of these categories.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Only these projections.
    #[serde(default)]
    pub projections: Vec<String>,
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256]
}

fn subject() -> String {
    "sub".to_owned()
}

fn no_role() -> Role {
    Role::Nobody
}

fn lifetime_max_s() -> u64 {
    86_400
}

fn leeway_s() -> u64 {
    30
}

impl File {
    /// Reads a file of identities. Relative paths in it begin at `dir`.
    ///
    /// # Errors
    /// When something in it is wrong; the text names it.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let mut file: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let listed = file.issuers.len().max(file.certificates.len());
        if listed > LISTED_MAX {
            return Err(format!(
                "there are {listed} issuers or certificates, more than {LISTED_MAX}"
            ));
        }
        for (number, issuer) in file.issuers.iter_mut().enumerate() {
            let check = issuer.check().map_err(|why| why.0);
            check.map_err(|why| format!("issuer {}: {why}", number + 1))?;
            for path in [&mut issuer.keys_file, &mut issuer.authorities_file] {
                *path = path.take().map(|path| dir.join(path));
            }
        }
        for (number, rule) in file.certificates.iter().enumerate() {
            let check = rule.check().map_err(|why| why.0);
            check.map_err(|why| format!("certificate {}: {why}", number + 1))?;
        }
        file.check_names()?;
        Ok(file)
    }

    fn check_names(&self) -> Result<(), String> {
        for (number, issuer) in self.issuers.iter().enumerate() {
            let earlier = &self.issuers[..number];
            if earlier.iter().any(|it| it.issuer == issuer.issuer) {
                return Err(format!("{} is listed twice", issuer.issuer));
            }
            if earlier.iter().any(|it| it.name == issuer.name) {
                return Err(format!("two issuers are named {:?}", issuer.name));
            }
        }
        Ok(())
    }
}

impl Issuer {
    /// Whether another entry has the same keys, from an address.
    pub fn has_keys_of(&self, other: &Self) -> bool {
        let of = |it: &Self| {
            let authorities = it.authorities_file.clone();
            (it.issuer.clone(), it.keys_url.clone(), authorities)
        };
        self.keys_file.is_none() && other.keys_file.is_none() && of(self) == of(other)
    }

    fn check(&self) -> Result<(), Invalid> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if self.name.is_empty() || self.name.len() > 40 || !self.name.chars().all(is_letter) {
            return Err(Invalid(
                "its name has 1 to 40 letters, digits, hyphens and underscores".to_owned(),
            ));
        }
        if self.name == "certificate" {
            return Err(Invalid(
                "callers with certificates are named certificate:…; take another name".to_owned(),
            ));
        }
        if self.name == "local" {
            return Err(Invalid(
                "the audit names whoever changes the store itself local:operator; take another name"
                    .to_owned(),
            ));
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Err(Invalid(
                "audience is empty; without one, a token that is meant for another service would be taken"
                    .to_owned(),
            ));
        }
        if self.algorithms.is_empty() {
            return Err(Invalid("algorithms is empty".to_owned()));
        }
        if let Some(secret) = self.algorithms.iter().find(|it| is_secret(**it)) {
            return Err(Invalid(format!(
                "{secret:?} signs with a shared secret; take an algorithm with a public key, as RS256 or ES256"
            )));
        }
        self.check_keys()?;
        if self.attributes.len() > ATTRIBUTES_MAX || self.roles.len() > LISTED_MAX {
            return Err(Invalid(format!(
                "at most {ATTRIBUTES_MAX} attributes and {LISTED_MAX} roles are listed"
            )));
        }
        if self.roles.is_empty() != self.roles_claim.is_none() {
            return Err(Invalid(
                "roles_claim and roles belong together; one is missing".to_owned(),
            ));
        }
        if self.leeway_s > LEEWAY_MAX_S || self.lifetime_max_s == 0 {
            return Err(Invalid(format!(
                "leeway_s is at most {LEEWAY_MAX_S}, and lifetime_max_s at least 1"
            )));
        }
        let grant = Grant {
            categories: self.categories.clone(),
            projections: self.projections.clone(),
            ..Grant::of(self.role)
        };
        grant.checked().map(drop)
    }

    fn check_keys(&self) -> Result<(), Invalid> {
        match (&self.keys_url, &self.keys_file) {
            (Some(_), Some(_)) => Err(Invalid(
                "keys_url and keys_file exclude each other".to_owned(),
            )),
            (None, Some(_)) => Ok(()),
            (Some(url), None) => check_url(url).map(drop),
            (None, None) => check_url(&self.issuer).map(drop),
        }
    }
}

impl Certificate {
    fn check(&self) -> Result<(), Invalid> {
        let names = [&self.dns, &self.uri, &self.common_name];
        let given: Vec<_> = names.into_iter().flatten().collect();
        match given.as_slice() {
            [one] if !one.is_empty() => {}
            _ => {
                return Err(Invalid(
                    "it needs one of dns, uri and common_name".to_owned(),
                ));
            }
        }
        if self.name.as_ref().is_some_and(|name| name.contains(':')) {
            return Err(Invalid(
                "its name has a colon, as the callers of issuers have".to_owned(),
            ));
        }
        self.grant().checked().map(drop)
    }

    /// What it allows.
    pub fn grant(&self) -> Grant {
        Grant {
            categories: self.categories.clone(),
            projections: self.projections.clone(),
            ..Grant::of(self.role)
        }
    }
}

fn is_secret(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    )
}

/// The address of keys must be safe from others on the way, except on this machine.
pub fn check_url(text: &str) -> Result<Url, Invalid> {
    let url = Url::parse(text).map_err(|error| Invalid(format!("{text:?}: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Invalid(
            "an address of keys has no user and no password".to_owned(),
        ));
    }
    let host = url.host_str().unwrap_or_default();
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err(Invalid(format!(
            "{text:?} is not https: somebody on the way could replace the keys"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        [[issuer]]
        name = "corp"
        issuer = "https://login.example.com"
        audience = ["quipu"]
    "#;

    fn why(text: &str) -> String {
        File::parse(text, Path::new("/")).unwrap_err()
    }

    #[test]
    fn the_least_issuer_has_safe_defaults() {
        let file = File::parse(LEAST, Path::new("/etc/quipu")).unwrap();
        let issuer = &file.issuers[0];
        assert_eq!(issuer.role, Role::Nobody);
        assert_eq!(issuer.name_claim, "sub");
        assert_eq!(issuer.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (change, expected) in [
            ("audience = [\"quipu\"]\n", "missing field `audience`"),
            ("name = \"corp\"", "missing field `name`"),
        ] {
            let text = LEAST.replace(change, "");
            assert!(why(&text).contains(expected), "{}", why(&text));
        }
        for (more, expected) in [
            ("algorithms = [\"HS256\"]", "shared secret"),
            ("algorithms = [\"none\"]", "unknown variant"),
            ("algorithm = \"RS256\"", "unknown field"),
            ("keys_url = \"http://login.example.com/keys\"", "not https"),
            ("keys_url = \"https://a/b\"\nkeys_file = \"c\"", "exclude"),
            ("roles_claim = \"groups\"", "belong together"),
            ("leeway_s = 3600", "at most 300"),
            ("role = \"root\"", "unknown variant"),
            ("[[certificate]]\nrole = \"client\"", "one of dns"),
        ] {
            let text = format!("{LEAST}\n{more}");
            assert!(why(&text).contains(expected), "{}", why(&text));
        }
        for taken in ["certificate", "local"] {
            let text = LEAST.replace("\"corp\"", &format!("{taken:?}"));
            assert!(why(&text).contains("take another name"), "{}", why(&text));
        }
        let twice = format!("{LEAST}\n{LEAST}");
        assert!(why(&twice).contains("listed twice"), "{}", why(&twice));
    }
}
