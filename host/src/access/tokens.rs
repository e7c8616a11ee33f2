//! Tokens: who calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cached::Cached;
use super::caller::Caller;
use super::error::Error;
use super::fixed::Fixed;
use super::grant::Grant;
use super::secret::{self, Secret};
use crate::model::{Clock, Context, Invalid, Timestamp};
use crate::store::{self, StoredToken, TOKENS_MAX, TokenStore};

/// Longest name of a token.
pub const NAME_BYTES_MAX: usize = 200;

/// The time of the last use is stored when it is this much later than the stored one.
const USED_EVERY_US: u64 = 60_000_000;

/// The tokens of a store.
pub struct Tokens {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    known: Cached<TokenMap>,
}

/// All tokens by id, as they were read from the store.
type TokenMap = HashMap<Box<str>, Arc<Token>>;

/// A token without its secret, and what it allows.
#[derive(Debug, Clone)]
pub struct Issued {
    /// What the store has of it.
    pub stored: StoredToken,
    /// What it allows.
    pub grant: Grant,
}

/// A token, as it was read from the store.
pub(super) struct Token {
    /// Other than that of any other caller.
    pub number: u64,
    pub issued: Issued,
    pub name: Arc<str>,
    /// Microseconds since 1970 UTC.
    used_at: AtomicU64,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whom it is for. Calls are recorded under this name. No two valid tokens have the same name.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// From when on it is refused; none for never.
    pub expires_at: Option<Timestamp>,
    /// Who makes it.
    pub by: Option<String>,
}

/// Why a caller is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No token was sent.
    #[error("the request has no token; send one as `Authorization: Bearer TOKEN`, or with --token")]
    Missing,
    /// What was sent is not a token that this store has made.
    #[error("the token is not one of this store")]
    Unknown,
    /// It was revoked.
    #[error("the token is revoked")]
    Revoked,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Refused {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            _ => "unauthorized",
        }
    }

    /// One word for logs and the audit.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Store(_) => "store",
        }
    }
}

impl Tokens {
    /// The tokens of a store.
    pub fn new(store: Arc<dyn TokenStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            known: Cached::default(),
        }
    }

    /// The tokens of a store that is closed, as they were before. None can be made or revoked.
    pub fn fixed(tokens: Vec<StoredToken>, clock: Arc<dyn Clock>) -> Self {
        Self::new(Arc::new(Fixed(tokens)), clock)
    }

    /// Makes a token. Its text is known to nobody but the caller of this function: the store has a
    /// hash of it.
    ///
    /// # Errors
    /// When the name, the grant or the expiry is not well-formed, a valid token has the name, the
    /// store has 10,000 tokens, or the store fails.
    pub async fn create(&self, new: NewToken) -> Result<(Issued, Secret), Error> {
        check_name(&new.name)?;
        check_own(&new.name)?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Invalid("the token would have expired already".to_owned()).into());
        }
        let grant = new.grant.checked()?;
        let (secret, parts) = Secret::random();
        let stored = StoredToken {
            id: parts.id,
            name: new.name.into(),
            hash: parts.hash,
            grant: serde_json::to_string(&grant)
                .map_err(|error| Invalid(error.to_string()))?
                .into(),
            created_at: now,
            created_by: new.by.map(Into::into),
            expires_at: new.expires_at,
            revoked_at: None,
            used_at: None,
        };
        if !self.store.add(&stored).await? {
            return Err(Error::NotAdded(format!(
                "a valid token is named {:?} already, or the store has {TOKENS_MAX} tokens; revoke one",
                stored.name
            )));
        }
        self.known.forget();
        Ok((Issued { stored, grant }, secret))
    }

    /// Returns all tokens, in the order in which they were made.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> store::Result<Vec<Issued>> {
        let tokens = self.store.tokens().await?;
        tokens.into_iter().map(Issued::read).collect()
    }

    /// Revokes a token for good, by its id, its name or its whole text. Every host of the store refuses it within
    /// 5 s.
    ///
    /// # Errors
    /// When there is no such token, it is revoked already, or the store fails.
    pub async fn revoke(&self, id_or_name: &str) -> Result<Issued, Error> {
        let not_found = || Error::NotFound(secret::redacted(id_or_name).into_owned());
        let parts = secret::read(id_or_name);
        let id_or_name = parts.as_ref().map_or(id_or_name, |parts| &parts.id);
        let at = self.clock.now();
        let mut tokens = self.store.tokens().await?;
        tokens.retain(|token| {
            token.revoked_at.is_none() && [&*token.id, &*token.name].contains(&id_or_name)
        });
        // Tokens that have expired may have the name of a valid one.
        let found = tokens.into_iter().max_by_key(|token| {
            let is_valid = token.expires_at.is_none_or(|expires_at| expires_at > at);
            (&*token.id == id_or_name, is_valid, token.created_at)
        });
        let mut token = found.ok_or_else(not_found)?;
        if !self.store.revoke(&token.id, at).await? {
            return Err(not_found());
        }
        token.revoked_at = Some(at);
        self.known.forget();
        Ok(Issued::read(token)?)
    }

    /// Returns whether the store ever had a token. Then everybody needs one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn are_used(&self) -> store::Result<bool> {
        Ok(!self.known().await?.is_empty())
    }

    /// Returns who calls with a token.
    ///
    /// # Errors
    /// When the token is unknown, revoked or expired, or the store fails.
    pub async fn authenticate(&self, text: &str) -> Result<Caller, Refused> {
        let parts = secret::read(text).ok_or(Refused::Unknown)?;
        let known = self.known().await?;
        let token = known.get(&parts.id).ok_or(Refused::Unknown)?;
        // Both are hashes of 256 random bits: the time of this comparison helps nobody.
        if token.issued.stored.hash != parts.hash {
            return Err(Refused::Unknown);
        }
        let now = self.check_validity(token)?;
        token.used_at.fetch_max(now.0, Ordering::Relaxed);
        Ok(Caller::with(token))
    }

    /// Returns the caller with the valid token of this name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn named(&self, name: &str) -> store::Result<Option<Caller>> {
        let known = self.known().await?;
        let mut valid = known
            .values()
            .filter(|token| self.check_validity(token).is_ok());
        let found = valid.find(|token| &*token.name == name);
        Ok(found.map(Caller::with))
    }

    /// Returns why a caller who was known before is refused now; `Ok` if it is not.
    ///
    /// # Errors
    /// When its token was revoked or has expired since, or the store fails.
    pub async fn recheck(&self, caller: &Caller) -> Result<(), Refused> {
        let Some(before) = caller.as_token() else {
            return match caller.expires_at() {
                Some(at) if at <= self.clock.now() => Err(Refused::Expired),
                _ => Ok(()),
            };
        };
        let known = self.known().await?;
        let token = known.get(&before.issued.stored.id);
        self.check_validity(token.ok_or(Refused::Revoked)?)?;
        Ok(())
    }

    fn check_validity(&self, token: &Token) -> Result<Timestamp, Refused> {
        let now = self.clock.now();
        let stored = &token.issued.stored;
        if stored.revoked_at.is_some() {
            return Err(Refused::Revoked);
        }
        match stored.expires_at {
            Some(at) if at <= now => Err(Refused::Expired),
            _ => Ok(now),
        }
    }

    /// All tokens, at most some seconds old.
    async fn known(&self) -> store::Result<Arc<TokenMap>> {
        self.known.get(|before| self.read(before)).await
    }

    async fn read(&self, before: Option<Arc<TokenMap>>) -> store::Result<TokenMap> {
        let mut by_id = HashMap::new();
        for stored in self.store.tokens().await? {
            let before = before.as_ref().and_then(|before| before.get(&stored.id));
            let token = Token::new(stored, before.map(|token| &**token))?;
            self.store_use(&token).await;
            by_id.insert(token.issued.stored.id.clone(), Arc::new(token));
        }
        Ok(by_id)
    }

    async fn store_use(&self, token: &Token) {
        let used_at = token.used_at.load(Ordering::Relaxed);
        let stored = token.issued.stored.used_at.unwrap_or_default().0;
        if used_at < stored.saturating_add(USED_EVERY_US) {
            return;
        }
        let storing = self.store.used(&token.issued.stored.id, Timestamp(used_at));
        if let Err(error) = storing.await {
            tracing::debug!(%error, "the time of a token's last use was not stored");
        }
    }
}

impl Issued {
    fn read(stored: StoredToken) -> store::Result<Self> {
        let grant = serde_json::from_str(&stored.grant).map_err(|error| {
            store::Error::Damaged(format!("the grant of token {}: {error}", stored.id))
        })?;
        Ok(Self { stored, grant })
    }
}

impl Token {
    fn new(stored: StoredToken, before: Option<&Self>) -> store::Result<Self> {
        let issued = Issued::read(stored)?;
        let used_at = before.map_or(0, |token| token.used_at.load(Ordering::Relaxed));
        let stored_use = issued.stored.used_at.unwrap_or_default().0;
        Ok(Self {
            number: Caller::number(),
            name: (&*issued.stored.name).into(),
            used_at: AtomicU64::new(used_at.max(stored_use)),
            issued,
        })
    }
}

/// Names of tokens differ from those of other callers: `ISSUER:NAME`, `certificate:NAME`, `role:ROLE`
/// and `me`.
fn check_own(name: &str) -> Result<(), Invalid> {
    match name == "me" || name.contains(':') {
        true => Err(Invalid(format!(
            "a token is not named {name:?}: names with a colon are those of issuers and certificates"
        ))),
        false => Ok(()),
    }
}

/// Whether a character is not seen, or changes the order of others.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A name is stored with commits as their principal.
pub(super) fn check_name(name: &str) -> Result<(), Invalid> {
    let found = name.len();
    if !(1..=NAME_BYTES_MAX).contains(&found) || name.trim() != name {
        return Err(Invalid(format!(
            "a token's name has 1 to {NAME_BYTES_MAX} bytes and no space at its ends"
        )));
    }
    if name.contains(is_hidden) {
        return Err(Invalid(
            "a caller's name has no characters that are not seen".to_owned(),
        ));
    }
    let context = Context {
        principal: Some(name.into()),
        ..Context::default()
    };
    context.checked()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_named_as_another_caller() {
        for name in ["me", "corp:ann", "certificate:orders", "role:admin"] {
            assert!(check_own(name).is_err(), "{name}");
            assert!(name == "me" || check_name(name).is_ok(), "{name}");
        }
        for name in ["a\u{200b}nn", "\u{202e}nna", "ann\u{feff}"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_own("ann").is_ok() && check_name("Zoë 💥").is_ok());
    }
}
