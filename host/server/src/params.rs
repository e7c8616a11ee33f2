//! The path and query parameters of a request.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::App;
use super::failure::{Failure, Result};
use super::headers;
use quipu::model::{Digest, Position, StreamId, Timestamp};
use quipu::projection::{Freshness, WAIT_MAX};
use quipu::store::{ArchivedStreams, Direction, Role};
use quipu::upcast::Form;
use quipu_api::Code;

/// How long a read waits for a projection by default.
const WAIT_MS: u64 = 5_000;
/// How long it may wait at most.
const WAIT_MS_MAX: u64 = WAIT_MAX.as_millis() as u64;

/// The one parameter of a path, percent-decoded.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(segment)) => Ok(segment),
        Err(rejection) => Err(Failure::bad_request(format!("the path: {rejection}"))),
    }
}

/// `{stream}`.
pub struct StreamPath(pub StreamId);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(StreamId::new(&segment(parts, state).await?)?))
    }
}

/// `{digest}`, complete or its first digits.
pub struct DigestPath(pub Digest);

impl FromRequestParts<App> for DigestPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        Ok(Self(digest(app, &segment(parts, app).await?).await?))
    }
}

/// Minimum number of digits that may name a module.
const DIGEST_DIGITS_MIN: usize = 4;

/// A module's digest: all of its 64 digits, or a prefix of at least 4 digits that is unique among
/// the modules of the store.
pub async fn digest(app: &App, text: &str) -> Result<Digest> {
    let is_prefix = (DIGEST_DIGITS_MIN..64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_prefix {
        return Ok(text.parse()?);
    }
    let prefix = text.to_ascii_lowercase();
    let modules = app.host.modules().await?;
    let digests = modules.iter().map(|module| module.digest.to_string());
    let mut named = digests.filter(|digest| digest.starts_with(&prefix));
    match (named.next(), named.count()) {
        (Some(digest), 0) => Ok(digest.parse()?),
        (Some(_), others) => Err(Failure::bad_request(format!(
            "digest {text:?}: {} modules begin with it; give more of its digits",
            others + 1
        ))),
        (None, _) => {
            let detail = format!("no module of the store has a digest that begins with {text:?}");
            Err(Failure::new(Code::ModuleNotFound, detail))
        }
    }
}

/// `{name}`.
pub struct NamePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(segment(parts, state).await?))
    }
}

/// Two parameters of a path, percent-decoded.
pub struct TwoPath(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for TwoPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(rejection) => Err(Failure::bad_request(format!("the path: {rejection}"))),
        }
    }
}

/// `{position}`.
pub struct PositionPath(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for PositionPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(number("position", &segment(parts, state).await?)?))
    }
}

/// The query: each handler takes the parameters that it knows, then rejects the rest.
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(rejection) => Err(Failure::bad_request(format!("the query: {rejection}"))),
        }
    }
}

/// The size of a read's answer.
pub enum Limit {
    /// A page with at most this many events.
    Page(usize),
    /// Lines: at most this many events, or all.
    Lines(Option<u64>),
}

impl Params {
    /// Every value of a parameter; none when it is not given.
    pub fn all(&mut self, name: &str) -> Option<Vec<String>> {
        let values: Vec<String> = self
            .0
            .extract_if(.., |(given, _)| given == name)
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then_some(values)
    }

    /// The single value of a parameter.
    pub fn one(&mut self, name: &str) -> Result<Option<String>> {
        match self.all(name) {
            None => Ok(None),
            Some(mut values) if values.len() == 1 => Ok(values.pop()),
            Some(_) => Err(Failure::bad_request(format!(
                "query: {name} is given more than once"
            ))),
        }
    }

    /// A text of at least one character without control characters.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        let text = self.one(name)?;
        if text.as_ref().is_some_and(String::is_empty) {
            let detail = format!("query: {name} is empty; leave it out");
            return Err(Failure::bad_request(detail));
        }
        text.map(|text| printable(name, text)).transpose()
    }

    /// `archived`: whether to include archived streams.
    pub fn archived(&mut self) -> Result<Option<ArchivedStreams>> {
        match self.one("archived")?.as_deref() {
            None => Ok(None),
            Some("without") => Ok(Some(ArchivedStreams::Without)),
            Some("with") => Ok(Some(ArchivedStreams::With)),
            Some("only") => Ok(Some(ArchivedStreams::Only)),
            Some(other) => Err(Failure::bad_request(format!(
                "query: archived {other:?} is neither without nor with nor only"
            ))),
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>> {
        match self.one(name)? {
            Some(text) => number(name, &text).map(Some),
            None => Ok(None),
        }
    }

    /// `limit`, by default 100.
    pub fn limit(&mut self, max: usize) -> Result<usize> {
        let limit = self.number("limit")?.unwrap_or(100);
        match usize::try_from(limit) {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            _ => Err(Failure::bad_request(format!(
                "query: limit {limit} is not between 1 and {max}"
            ))),
        }
    }

    /// `limit` of a read that answers with a page, or with lines if `Accept` names them.
    pub fn limit_for(&mut self, headers: &HeaderMap, max: usize) -> Result<Limit> {
        if !headers::accepts_ndjson(headers) {
            return self.limit(max).map(Limit::Page);
        }
        match self.number("limit")? {
            Some(0) => Err(Failure::bad_request("query: limit 0 is not 1 or more")),
            limit => Ok(Limit::Lines(limit)),
        }
    }

    /// `direction`, by default forward.
    pub fn direction(&mut self) -> Result<Direction> {
        match self.one("direction")?.as_deref() {
            None | Some("forward") => Ok(Direction::Forward),
            Some("backward") => Ok(Direction::Backward),
            Some(other) => Err(Failure::bad_request(format!(
                "query: direction: expected forward or backward, found {other:?}"
            ))),
        }
    }

    /// `form`, by default lifted.
    pub fn form(&mut self) -> Result<Form> {
        match self.one("form")?.as_deref() {
            None | Some("lifted") => Ok(Form::Lifted),
            Some("stored") => Ok(Form::Stored),
            Some(other) => Err(Failure::bad_request(format!(
                "query: form: expected lifted or stored, found {other:?}"
            ))),
        }
    }

    /// A time with its offset from UTC. A time before 1970 becomes 1970.
    pub fn time(&mut self, name: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let time = text.parse::<jiff::Timestamp>().map_err(|_| {
            Failure::bad_request(format!(
                "query: {name} {text:?} is no time as 2026-01-31T12:00:00Z or \
                 2026-01-31T14:00:00+02:00 (+ is written %2B in an address)"
            ))
        })?;
        let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
        Ok(Some(Timestamp(micros)))
    }

    /// `after` and `timeout`: the position that a projection must have reached before it is read,
    /// and how long to wait for that. The wait is shorter than the time limit of a request.
    pub fn freshness(&mut self, request_time_max: Duration) -> Result<Freshness> {
        let after = self.number("after")?;
        let given = self.number("timeout")?;
        if given.is_some() && after.is_none() {
            let detail = "query: timeout is given without after, which names what to wait for";
            return Err(Failure::bad_request(detail));
        }
        let wait_ms = given.unwrap_or(WAIT_MS);
        if wait_ms > WAIT_MS_MAX {
            return Err(Failure::bad_request(format!(
                "query: timeout {wait_ms} is not between 0 and {WAIT_MS_MAX} ms"
            )));
        }
        Ok(Freshness {
            after: Position(after.unwrap_or(0)),
            wait: Duration::from_millis(wait_ms).min(request_time_max / 10 * 9),
        })
    }

    /// `build`, by default the active one.
    pub fn role(&mut self) -> Result<Role> {
        match self.one("build")?.as_deref() {
            None | Some("active") => Ok(Role::Active),
            Some("next") => Ok(Role::Next),
            Some("previous") => Ok(Role::Previous),
            Some(other) => Err(Failure::bad_request(format!(
                "query: build: expected active, next or previous, found {other:?}"
            ))),
        }
    }

    /// Rejects parameters that no handler took.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Failure::bad_request(format!(
                "query: there is no parameter {name:?} here"
            ))),
        }
    }
}

/// Rejects control characters, which no stored text contains and which some databases reject.
pub fn printable(name: &str, text: String) -> Result<String> {
    if text.chars().any(char::is_control) {
        let detail = format!("query: {name} {text:?} holds a control character");
        return Err(Failure::bad_request(detail));
    }
    Ok(text)
}

/// A number that the databases can store.
pub fn number(name: &str, text: &str) -> Result<u64> {
    match u64::from_str(text) {
        // The highest number of the databases.
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(Failure::bad_request(format!(
            "{name} {text:?} is no whole number from 0 to {}",
            i64::MAX
        ))),
    }
}

/// Rejects percent signs that encode nothing, and bytes that are not text.
pub fn check_encoding(part: &str) -> Result<()> {
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let byte = after
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else {
            let detail = "a % in the address is not followed by two hexadecimal digits";
            return Err(Failure::bad_request(detail));
        };
        decoded.push(byte);
        rest = &after[2..];
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::bad_request("the address does not decode to UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_encodes_nothing_is_refused() {
        for good in ["/v1/streams/a%2Fb", "", "q=%C3%A9", "/plain"] {
            assert!(check_encoding(good).is_ok(), "{good}");
        }
        for bad in ["%", "%2", "%zz", "%+1", "%FF", "/a%C3/b"] {
            assert!(check_encoding(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wait_is_bounded_and_ends_within_the_request() {
        let freshness = |pairs: &[(&str, &str)], seconds| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Params(pairs.collect()).freshness(Duration::from_secs(seconds))
        };
        let wait = |pairs: &[(&str, &str)], seconds| freshness(pairs, seconds).ok().unwrap().wait;
        assert_eq!(freshness(&[], 30).ok().unwrap().after, Position(0));
        assert_eq!(wait(&[("after", "7")], 30), Duration::from_secs(5));
        let longest = [("after", "7"), ("timeout", "30000")];
        assert_eq!(wait(&longest, 30), Duration::from_secs(27));
        assert_eq!(wait(&longest, 60), Duration::from_secs(30));
        for bad in [
            &[("timeout", "1")][..],
            &[("after", "7"), ("timeout", "30001")],
            &[("after", "-7")],
            &[("after", "7"), ("timeout", "1.5")],
            &[("after", "7"), ("after", "8")],
        ] {
            assert!(freshness(bad, 30).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_has_an_offset() {
        let time = |text: &str| Params(vec![("at".to_owned(), text.to_owned())]).time("at");
        for (text, micros) in [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T02:00:01.5+02:00", 1_500_000),
            ("1970-01-01T00:00:00.0000019Z", 1),
            ("1969-12-31T23:59:59Z", 0),
        ] {
            assert_eq!(time(text).ok().flatten(), Some(Timestamp(micros)), "{text}");
        }
        for text in [
            "",
            "now",
            "7",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00 02:00",
            "2026-02-30T00:00:00Z",
            "99999-01-01T00:00:00Z",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
