//! Readers who signed in. A session exists only in the memory of the host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use rand::RngCore;

use super::visitor::Shared;
use crate::failure::{Failure, Result};
use quipu::access::Caller;
use quipu::model::Digest;

/// Sessions of all callers. One more ends the one that has not been used for longest.
const SESSIONS_MAX: usize = 1_024;
/// Sessions of one caller.
const OF_CALLER_MAX: usize = 32;
/// A session that is not used for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The name of the cookie over TLS: a browser takes it only from this host, and only with `Secure`.
const SECURE_NAME: &str = "__Host-quipu";
/// The name without TLS, where no browser takes the other one.
const PLAIN_NAME: &str = "quipu";

/// The open sessions, by the digest of their secret.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Digest, Session>>);

/// A reader who signed in.
#[derive(Clone)]
pub struct Session {
    pub caller: Caller,
    /// How often the rules had changed when it began.
    pub changes: u64,
    used_at: Instant,
}

impl Sessions {
    /// Begins a session, and returns its secret.
    pub fn begin(&self, caller: Caller, changes: u64) -> String {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let secret = Digest(bytes).to_string();
        let used_at = Instant::now();
        let session = Session {
            caller,
            changes,
            used_at,
        };
        let mut open = self.open();
        open.retain(|_, it| used_at.duration_since(it.used_at) < IDLE_MAX);
        let name = session.caller.name();
        if open.values().filter(|it| it.caller.name() == name).count() >= OF_CALLER_MAX {
            remove_oldest(&mut open, |it| it.caller.name() == name);
        }
        if open.len() >= SESSIONS_MAX {
            remove_oldest(&mut open, |_| true);
        }
        open.insert(Digest::of(secret.as_bytes()), session);
        secret
    }

    /// The session of a request.
    pub fn find(&self, headers: &HeaderMap, is_secure: bool) -> Option<Session> {
        let mut open = self.open();
        let now = Instant::now();
        let key = keys(headers, is_secure).find(|key| open.contains_key(key))?;
        let session = open.get_mut(&key)?;
        if now.duration_since(session.used_at) >= IDLE_MAX {
            open.remove(&key);
            return None;
        }
        session.used_at = now;
        Some(session.clone())
    }

    /// Ends the session of a request.
    pub fn end(&self, headers: &HeaderMap, is_secure: bool) {
        let mut open = self.open();
        for key in keys(headers, is_secure) {
            open.remove(&key);
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that an answer without an end depends on. Watching it does not count as use.
pub struct Watched {
    shared: Arc<Shared>,
    key: Digest,
}

impl Watched {
    /// The session of a request.
    pub fn of(shared: &Arc<Shared>, headers: &HeaderMap, is_secure: bool) -> Option<Self> {
        let open = shared.sessions.open();
        let key = keys(headers, is_secure).find(|key| open.contains_key(key))?;
        Some(Self {
            shared: Arc::clone(shared),
            key,
        })
    }

    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        let open = self.shared.sessions.open();
        let session = open.get(&self.key);
        session.is_some_and(|session| session.used_at.elapsed() < IDLE_MAX)
    }
}

fn remove_oldest(open: &mut HashMap<Digest, Session>, is_one: impl Fn(&Session) -> bool) {
    let candidates = open.iter().filter(|(_, session)| is_one(session));
    let oldest = candidates.min_by_key(|(_, session)| session.used_at);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        open.remove(&key);
    }
}

fn name(is_secure: bool) -> &'static str {
    match is_secure {
        true => SECURE_NAME,
        false => PLAIN_NAME,
    }
}

/// The digests of the secrets that a request has.
fn keys(headers: &HeaderMap, is_secure: bool) -> impl Iterator<Item = Digest> {
    let given = headers.get_all(header::COOKIE).iter();
    let cookies = given.filter_map(|value| value.to_str().ok());
    let cookies = cookies.flat_map(|text| text.split(';'));
    let named = cookies.filter_map(move |cookie| {
        let (given, secret) = cookie.trim().split_once('=')?;
        (given == name(is_secure)).then_some(secret)
    });
    // More come only from somebody who tries them.
    named.take(4).map(|secret| Digest::of(secret.as_bytes()))
}

/// The header that gives a browser its session.
pub fn cookie(secret: &str, is_secure: bool) -> Result<HeaderValue> {
    let secure = if is_secure { "; Secure" } else { "" };
    let name = name(is_secure);
    let text = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).map_err(|error| Failure::internal(&error))
}

/// The header that takes it back.
pub fn no_cookie(is_secure: bool) -> Result<HeaderValue> {
    let secure = if is_secure { "; Secure" } else { "" };
    let name = name(is_secure);
    let text = format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}");
    HeaderValue::try_from(text).map_err(|error| Failure::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(name: &str, secret: &str) -> HeaderMap {
        let cookie = format!("other=1; {name}={secret}");
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(cookie).unwrap())])
    }

    #[test]
    fn a_session_is_found_by_its_secret_until_it_ends() {
        let sessions = Sessions::default();
        let secret = sessions.begin(Caller::default(), 0);
        assert_eq!(secret.len(), 64);
        assert!(sessions.find(&sent(PLAIN_NAME, &secret), false).is_some());
        assert!(sessions.find(&sent(PLAIN_NAME, &secret), true).is_none());
        assert!(sessions.find(&sent(SECURE_NAME, &secret), true).is_some());
        assert!(sessions.find(&sent(PLAIN_NAME, "x"), false).is_none());
        assert!(sessions.find(&HeaderMap::new(), false).is_none());
        sessions.end(&sent(PLAIN_NAME, &secret), false);
        assert!(sessions.find(&sent(PLAIN_NAME, &secret), false).is_none());
    }

    #[test]
    fn the_number_of_sessions_of_a_caller_is_bounded() {
        let sessions = Sessions::default();
        let first = sessions.begin(Caller::default(), 0);
        for _ in 0..OF_CALLER_MAX {
            sessions.begin(Caller::default(), 0);
        }
        assert_eq!(sessions.open().len(), OF_CALLER_MAX);
        assert!(sessions.find(&sent(PLAIN_NAME, &first), false).is_none());
    }

    #[test]
    fn a_cookie_has_every_attribute() {
        assert_eq!(
            cookie("ab", true).unwrap(),
            "__Host-quipu=ab; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            cookie("ab", false).unwrap(),
            "quipu=ab; Path=/; HttpOnly; SameSite=Strict"
        );
    }
}
