//! JSON web tokens: from the text to a caller.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use quipu::access::{Caller, Grant, Identified, Role};
use quipu::model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::file::Issuer;
use super::keys::{self, Keys};
use super::verified::Verified;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Longest value of an attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 1_000;

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is none.
    #[error("the token is malformed")]
    Malformed,
    /// It is longer than a token may be.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// No issuer of this host made it.
    #[error("the token is of an issuer that this host does not take")]
    Issuer,
    /// It is signed in a way that the issuer does not use.
    #[error("the token is signed with an algorithm that its issuer may not use here")]
    Algorithm,
    /// The key is not known.
    #[error("the token can't be verified: {0}")]
    Key(#[from] keys::Error),
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It is meant for another service.
    #[error("the token is meant for another service")]
    Audience,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    Early,
    /// It is valid for longer than the host takes.
    #[error("the token is valid for more than {0} s")]
    Lifetime(u64),
    /// A claim is missing or has the wrong form.
    #[error("the claim {0} of the token is missing or malformed")]
    Claim(String),
}

impl Refused {
    /// Whether the caller may be known all the same: the host can't verify tokens now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Key(keys::Error::Unavailable))
    }
}

/// The issuers whose tokens a host takes.
#[derive(Default)]
pub struct Issuers {
    issuers: Vec<(Issuer, Arc<Keys>)>,
    verified: Mutex<Verified>,
}

/// What is read of a token before it is verified.
#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

impl Issuers {
    /// The issuers of a file. Keys that were known before are used on.
    ///
    /// # Errors
    /// When the keys of one can't be read from their file.
    pub fn new(issuers: Vec<Issuer>, before: Option<&Self>) -> Result<Self, String> {
        super::signatures::install();
        let known = |issuer: &Issuer| {
            let mut before = before.into_iter().flat_map(|it| &it.issuers);
            let same = before.find(|(it, _)| it.has_keys_of(issuer));
            same.map(|(_, keys)| Arc::clone(keys))
        };
        let with_keys = |issuer: Issuer| {
            if let Some(keys) = known(&issuer) {
                return Ok((issuer, keys));
            }
            let keys =
                Keys::new(&issuer).map_err(|why| format!("issuer {}: {why}", issuer.name))?;
            Ok((issuer, Arc::new(keys)))
        };
        Ok(Self {
            issuers: issuers
                .into_iter()
                .map(with_keys)
                .collect::<Result<_, String>>()?,
            verified: Mutex::default(),
        })
    }

    /// Whether there is one.
    pub fn are_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The caller of a token that was verified before and is still valid.
    pub fn remembered(&self, token: &str) -> Option<Caller> {
        let digest = Sha256::digest(token).into();
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, keys) = verified.get(&digest, now_s())?;
        drop(verified);
        keys.refresh();
        Some(caller)
    }

    /// Verifies a token and returns its caller.
    ///
    /// # Errors
    /// When the token is refused.
    pub async fn verify(&self, token: &str) -> Result<Caller, Refused> {
        // 1. It has a bounded length, a header, claims and a signature.
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let header = decode_header(token).map_err(|_| Refused::Malformed)?;
        let unverified: Unverified = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_| Refused::Malformed)?;
        // 2. The issuer is one of the host's. It says which algorithms there are, not the token.
        let issuer = self.issuers.iter().find(|it| it.0.issuer == unverified.iss);
        let (issuer, keys) = issuer.ok_or(Refused::Issuer)?;
        if !issuer.algorithms.contains(&header.alg) {
            return Err(Refused::Algorithm);
        }
        check_type(header.typ.as_deref())?;
        // 3. The key is the issuer's, never one that the token brings along or leads to.
        let changes = keys.changes();
        let found = keys.find(header.kid.as_deref(), header.alg, |key| key.key.clone());
        let key = found.await?;
        // 4. The signature, the audience and the times are right.
        let claims = decode::<Map<String, Value>>(token, &key, &validation(issuer, header.alg));
        let claims = claims.map_err(|error| refused(error.kind()))?.claims;
        let expires_s = check_times(issuer, &claims)?;
        // 5. The claims say who calls, and what the caller may do.
        let caller = Caller::identified(identified(issuer, &claims, expires_s)?)
            .map_err(|_| Refused::Claim(issuer.name_claim.clone()))?;
        let digest = Sha256::digest(token).into();
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.put(
            digest,
            caller.clone(),
            expires_s,
            (Arc::clone(keys), changes),
        );
        Ok(caller)
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A token that says what it is must be one for access or for identity, nothing else that is signed
/// with the same key.
fn check_type(given: Option<&str>) -> Result<(), Refused> {
    let is_known = given.is_none_or(|given| {
        let given = given.strip_prefix("application/").unwrap_or(given);
        ["jwt", "at+jwt"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(given))
    });
    is_known.then_some(()).ok_or(Refused::Malformed)
}

fn validation(issuer: &Issuer, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = issuer.leeway_s;
    validation.validate_nbf = true;
    validation.set_audience(&issuer.audience);
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

fn refused(kind: &jsonwebtoken::errors::ErrorKind) -> Refused {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match kind {
        Kind::InvalidSignature => Refused::Signature,
        Kind::InvalidAudience => Refused::Audience,
        Kind::ExpiredSignature => Refused::Expired,
        Kind::ImmatureSignature => Refused::Early,
        Kind::InvalidIssuer => Refused::Issuer,
        Kind::InvalidAlgorithm => Refused::Algorithm,
        Kind::MissingRequiredClaim(claim) | Kind::InvalidClaimFormat(claim) => {
            Refused::Claim(claim.clone())
        }
        _ => Refused::Malformed,
    }
}

/// Checks when a token was issued, and returns from when on it is refused, in seconds.
fn check_times(issuer: &Issuer, claims: &Map<String, Value>) -> Result<u64, Refused> {
    let seconds = |claim: &str| match claims.get(claim) {
        None => Ok::<_, Refused>(None),
        Some(value) => {
            let given = value.as_f64().filter(|it| (0.0..1e11).contains(it));
            let given = given.ok_or_else(|| Refused::Claim(claim.to_owned()))?;
            Ok(Some(given as u64))
        }
    };
    let now = now_s();
    let expires = seconds("exp")?.ok_or_else(|| Refused::Claim("exp".to_owned()))?;
    let issued = seconds("iat")?;
    if issued.is_some_and(|at| at > now + issuer.leeway_s) {
        return Err(Refused::Early);
    }
    if expires.saturating_sub(issued.unwrap_or(now)) > issuer.lifetime_max_s + issuer.leeway_s {
        return Err(Refused::Lifetime(issuer.lifetime_max_s));
    }
    Ok(expires + issuer.leeway_s)
}

/// What the claims say of a caller.
fn identified(
    issuer: &Issuer,
    claims: &Map<String, Value>,
    expires_s: u64,
) -> Result<Identified, Refused> {
    let wrong = |claim: &str| Refused::Claim(claim.to_owned());
    let name = claim(claims, &issuer.name_claim).and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty() && name.trim() == *name);
    let name = name.ok_or_else(|| wrong(&issuer.name_claim))?;
    let listed = |of_all: &[String], at: Option<&String>| match at {
        None => Ok(of_all.to_vec()),
        Some(at) => {
            let given = claim(claims, at).and_then(texts).ok_or_else(|| wrong(at))?;
            let given = given.into_iter().map(str::to_owned);
            let given: Vec<_> = match of_all.is_empty() {
                true => given.collect(),
                false => given.filter(|one| of_all.contains(one)).collect(),
            };
            // An empty list would allow everything.
            match given.is_empty() {
                true => Err(wrong(at)),
                false => Ok(given),
            }
        }
    };
    let grant = Grant {
        categories: listed(&issuer.categories, issuer.categories_claim.as_ref())?,
        projections: listed(&issuer.projections, issuer.projections_claim.as_ref())?,
        ..Grant::of(role(issuer, claims)?)
    };
    let attributes = issuer.attributes.iter();
    let attributes = attributes.filter_map(|at| Some((at.clone(), text(claim(claims, at)?)?)));
    Ok(Identified {
        name: format!("{}:{name}", issuer.name),
        grant,
        attributes: attributes.collect(),
        expires_at: Some(Timestamp(expires_s.saturating_mul(1_000_000))),
    })
}

fn role(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Role, Refused> {
    let at = issuer.roles_claim.as_ref();
    let claimed = match at.and_then(|at| Some((at, claim(claims, at)?))) {
        Some((at, claimed)) => texts(claimed).ok_or_else(|| Refused::Claim(at.clone()))?,
        None => Vec::new(),
    };
    let mut mapped = issuer.roles.iter();
    let mapped = mapped.find(|mapped| claimed.contains(&&*mapped.value));
    Ok(mapped.map_or(issuer.role, |mapped| mapped.role))
}

/// A claim by its name, or by the names of the objects that lead to it, as `realm_access.roles`.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    let mut found = claims.get(first)?;
    for part in rest.split('.') {
        found = found.as_object()?.get(part)?;
    }
    Some(found)
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return None,
    };
    (text.len() <= ATTRIBUTE_BYTES_MAX).then_some(text)
}
