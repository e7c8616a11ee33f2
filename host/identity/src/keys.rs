//! The public keys of an issuer, which change while the host runs.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Certificate, Client, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::file::{FILE_BYTES_MAX, Issuer, check_url};

/// After this time the keys are fetched again, while requests go on with the known ones.
const FRESH: Duration = Duration::from_secs(300);
/// After this time without a successful fetch nobody goes on with them.
const STALE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Pause between two fetches. A token with an unknown key does not cause one before.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest time of a fetch.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Largest answer of an issuer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Most keys of an issuer.
const KEYS_MAX: usize = 100;

/// The keys of an issuer.
pub struct Keys {
    source: Source,
    known: RwLock<Option<KeySet>>,
    /// When the last fetch ended.
    fetching: Mutex<Option<Instant>>,
    /// How often other keys were fetched.
    changes: AtomicU64,
}

enum Source {
    /// They do not change before the file is read again.
    File,
    /// The address of the keys.
    Url(Client, Url),
    /// The issuer, whose OpenID configuration has the address of the keys.
    Discovery(Client, String),
}

#[derive(Clone)]
struct KeySet {
    keys: Arc<Vec<Key>>,
    /// Of what the issuer answered.
    digest: [u8; 32],
    read_at: Instant,
}

/// A public key.
pub struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    kind: Kind,
    /// The key itself.
    pub key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why there is no key for a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The issuer has no such key.
    #[error("its issuer has no key for it")]
    Unknown,
    /// The keys could not be fetched.
    #[error("the keys of its issuer are not available now")]
    Unavailable,
}

impl Keys {
    /// The keys of an issuer. Keys of a file are read now, others at the first token.
    ///
    /// # Errors
    /// When a file can't be read, or has no key.
    pub fn new(issuer: &Issuer) -> Result<Self, String> {
        let client = || client(issuer.authorities_file.as_deref());
        let (source, known) = match (&issuer.keys_file, &issuer.keys_url) {
            (Some(path), _) => {
                let known = KeySet::of(&read(path)?);
                let known = known.map_err(|why| format!("{}: {why}", path.display()))?;
                (Source::File, Some(known))
            }
            (None, Some(url)) => {
                let url = check_url(url).map_err(|error| error.0)?;
                (Source::Url(client()?, url), None)
            }
            (None, None) => (Source::Discovery(client()?, issuer.issuer.clone()), None),
        };
        Ok(Self {
            source,
            known: RwLock::new(known),
            fetching: Mutex::default(),
            changes: AtomicU64::new(0),
        })
    }

    /// Finds the key of a token: by its id, or the only one that fits a token without an id.
    ///
    /// # Errors
    /// When there is none, or the keys are not available.
    pub async fn find<T>(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        with: impl Fn(&Key) -> T,
    ) -> Result<T, Error> {
        let keys = self.current().await?;
        if let Some(key) = choose(&keys, id, algorithm) {
            return Ok(with(key));
        }
        if matches!(self.source, Source::File) {
            return Err(Error::Unknown);
        }
        // The issuer may have a new key.
        let keys = self.fetch(Some(keys)).await;
        let key = keys.as_deref().and_then(|keys| choose(keys, id, algorithm));
        key.map(with).ok_or(Error::Unknown)
    }

    async fn current(self: &Arc<Self>) -> Result<Arc<Vec<Key>>, Error> {
        let Some(known) = self.known() else {
            return self.fetch(None).await.ok_or(Error::Unavailable);
        };
        if matches!(self.source, Source::File) || known.read_at.elapsed() < STALE_MAX {
            self.refresh();
            return Ok(known.keys);
        }
        let fetched = self.fetch(Some(known.keys)).await;
        fetched.ok_or(Error::Unavailable)
    }

    /// Fetches the keys in the background when they are no longer fresh. One fetch at a time.
    pub fn refresh(self: &Arc<Self>) {
        let Some(known) = self.known() else { return };
        let is_due = !matches!(self.source, Source::File) && known.read_at.elapsed() >= FRESH;
        if is_due && self.fetching.try_lock().is_ok_and(|tried| is_over(*tried)) {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.fetch_now(Some(known.keys)).await });
        }
    }

    /// How often the issuer had other keys than before.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn known(&self) -> Option<KeySet> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Fetches the keys, one fetch at a time; none when that fails or was tried just now. Whoever
    /// waited for another fetch gets its keys.
    async fn fetch(self: &Arc<Self>, before: Option<Arc<Vec<Key>>>) -> Option<Arc<Vec<Key>>> {
        // In a task of its own, because a client that leaves must not end it.
        let keys = Arc::clone(self);
        let fetching = tokio::spawn(async move { keys.fetch_now(before).await });
        fetching.await.ok().flatten()
    }

    async fn fetch_now(&self, before: Option<Arc<Vec<Key>>>) -> Option<Arc<Vec<Key>>> {
        let mut tried_at = self.fetching.lock().await;
        let newer = self.known().map(|known| known.keys);
        let is_newer =
            |keys: &Arc<Vec<Key>>| before.as_ref().is_none_or(|it| !Arc::ptr_eq(keys, it));
        let newer = newer.filter(is_newer);
        if newer.is_some() {
            return newer;
        }
        if !is_over(*tried_at) {
            return None;
        }
        let read = self.read().await;
        *tried_at = Some(Instant::now());
        match read.and_then(|answer| KeySet::of(&answer)) {
            Ok(known) => {
                let keys = Arc::clone(&known.keys);
                let mut place = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if place.as_ref().is_some_and(|it| it.digest != known.digest) {
                    self.changes.fetch_add(1, Ordering::Relaxed);
                }
                *place = Some(known);
                Some(keys)
            }
            Err(why) => {
                tracing::warn!(%why, "the keys of an issuer of tokens could not be fetched");
                None
            }
        }
    }

    async fn read(&self) -> Result<Vec<u8>, String> {
        match &self.source {
            Source::File => {
                Err("they come from a file, which is read again by a reload".to_owned())
            }
            Source::Url(client, url) => get(client, url.clone()).await,
            Source::Discovery(client, issuer) => {
                let at = format!(
                    "{}/.well-known/openid-configuration",
                    issuer.trim_end_matches('/')
                );
                let at = check_url(&at).map_err(|error| error.0)?;
                let found = get(client, at.clone()).await?;
                let found: Discovered =
                    serde_json::from_slice(&found).map_err(|error| format!("{at}: {error}"))?;
                if found.issuer != *issuer {
                    return Err(format!("{at} is of the issuer {:?}", found.issuer));
                }
                let url = check_url(&found.jwks_uri).map_err(|error| error.0)?;
                if at.scheme() != url.scheme() {
                    return Err(format!("{at} leads to {url}, which is not https"));
                }
                get(client, url).await
            }
        }
    }
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// Whether the pause after a fetch is over.
fn is_over(tried_at: Option<Instant>) -> bool {
    tried_at.is_none_or(|at| at.elapsed() >= PAUSE)
}

impl KeySet {
    /// The keys in a key set.
    fn of(json: &[u8]) -> Result<Self, String> {
        Ok(Self {
            keys: Arc::new(parse(json)?),
            digest: Sha256::digest(json).into(),
            read_at: Instant::now(),
        })
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let kind = match algorithm {
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => Kind::Rsa,
            ES256 => Kind::P256,
            ES384 => Kind::P384,
            EdDSA => Kind::Ed25519,
            _ => return false,
        };
        self.kind == kind && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

fn choose<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| key.fits(algorithm));
    match id {
        Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
        None => {
            let only = fitting.next()?;
            fitting.next().is_none().then_some(only)
        }
    }
}

/// Reads a JSON web key set. Keys of other kinds and for other uses are left out.
fn parse(json: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("no key set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("the key set has more than {KEYS_MAX} keys"));
    }
    let keys: Vec<_> = set.keys.into_iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err("the key set has no public key that verifies signatures".to_owned()),
        false => Ok(keys),
    }
}

fn key(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let is_for_signatures = match &jwk.common.public_key_use {
        Some(purpose) => *purpose == PublicKeyUse::Signature,
        None => true,
    };
    let verifies = |given: &Vec<KeyOperations>| given.contains(&KeyOperations::Verify);
    if !is_for_signatures || !jwk.common.key_operations.as_ref().is_none_or(verifies) {
        return None;
    }
    let kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Kind::Rsa,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Kind::P256
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => {
            Kind::P384
        }
        AlgorithmParameters::OctetKeyPair(_) => Kind::Ed25519,
        _ => return None,
    };
    let algorithm = match jwk.common.key_algorithm {
        Some(algorithm) => Some(Algorithm::try_from(algorithm).ok()?),
        None => None,
    };
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        kind,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}

fn client(authorities: Option<&Path>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .timeout(FETCH_MAX)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("quipu/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = authorities {
        let given = Certificate::from_pem_bundle(&read(path)?);
        let given = given.map_err(|error| format!("{}: {error}", path.display()))?;
        if given.is_empty() {
            return Err(format!("{} has no certificate in PEM", path.display()));
        }
        for authority in given {
            builder = builder.add_root_certificate(authority);
        }
    }
    builder.build().map_err(|error| error.to_string())
}

async fn get(client: &Client, url: Url) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| {
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        why
    };
    let answer = client.get(url.clone()).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let mut parts = answer.bytes_stream();
    let mut body = Vec::new();
    while let Some(part) = parts.next().await {
        body.extend_from_slice(&part.map_err(failed)?);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!(
                "{url} answers with more than {ANSWER_BYTES_MAX} bytes"
            ));
        }
    }
    Ok(body)
}

/// Reads a small file.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!(
            "{} is larger than {FILE_BYTES_MAX} bytes",
            path.display()
        )),
        false => Ok(bytes),
    }
}
