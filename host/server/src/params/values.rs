//! The values of query parameters.

use std::time::Duration;

use axum::http::HeaderMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::failure::{Failure, Result};
use crate::headers;
use quipu::model::{Position, Timestamp};
use quipu::projection::{Freshness, WAIT_MAX};

/// How long a read waits for a projection by default.
const WAIT_MS: u64 = 5_000;
/// How long it may wait at most.
const WAIT_MS_MAX: u64 = WAIT_MAX.as_millis() as u64;
/// How many things are on a page by default.
const PAGE_SIZE: usize = 100;

/// A text without control characters, which no stored text contains and which some databases
/// reject.
#[derive(Debug)]
pub struct Printable(pub String);

impl<'de> Deserialize<'de> for Printable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().any(char::is_control) {
            let why = format!("{text:?} holds a control character");
            return Err(D::Error::custom(why));
        }
        Ok(Self(text))
    }
}

/// A printable text of at least one character.
#[derive(Debug)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Printable(text) = Printable::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(D::Error::custom("is empty; leave it out"));
        }
        Ok(Self(text))
    }
}

/// A time with its offset from UTC. A time before 1970 becomes 1970.
#[derive(Debug)]
pub struct Time(pub Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = text.parse::<jiff::Timestamp>().map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is not a time as 2026-01-31T12:00:00Z or \
                 2026-01-31T14:00:00+02:00 (+ is written %2B in an address)"
            ))
        })?;
        let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
        Ok(Self(Timestamp(micros)))
    }
}

/// `limit` of a page: from 1 to `MAX`, by default 100.
#[derive(Debug)]
pub struct PageSize<const MAX: usize>(pub usize);

impl<const MAX: usize> Default for PageSize<MAX> {
    fn default() -> Self {
        Self(PAGE_SIZE.min(MAX))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for PageSize<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let given = u64::deserialize(deserializer)?;
        page_size(given, MAX).map(Self).map_err(D::Error::custom)
    }
}

/// A number of things on a page, or what is wrong with it.
fn page_size(given: u64, max: usize) -> std::result::Result<usize, String> {
    let size = usize::try_from(given).ok();
    let size = size.filter(|size| (1..=max).contains(size));
    size.ok_or_else(|| format!("{given} is not between 1 and {max}"))
}

/// `limit` of a read that answers with a page of at most `MAX`, or with lines if `Accept` names
/// them.
#[derive(Debug, Default, Deserialize)]
pub struct ReadSize<const MAX: usize>(Option<u64>);

/// The size of a read's answer.
pub enum Limit {
    /// A page with at most this many events.
    Page(usize),
    /// Lines: at most this many events, or all.
    Lines(Option<u64>),
}

impl<const MAX: usize> ReadSize<MAX> {
    /// The limit of the form that the client accepts.
    pub fn limit(&self, headers: &HeaderMap) -> Result<Limit> {
        let limit = match (self.0, headers::accepts_ndjson(headers)) {
            (Some(0), true) => Err("0 is not 1 or more".to_owned()),
            (limit, true) => Ok(Limit::Lines(limit)),
            (None, false) => Ok(Limit::Page(PageSize::<MAX>::default().0)),
            (Some(given), false) => page_size(given, MAX).map(Limit::Page),
        };
        limit.map_err(|why| Failure::bad_request(format!("query: limit {why}")))
    }
}

/// How fresh an answer must be.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Fresh {
    /// Everything up to this position must be in the documents; the answer to a command has the position
    after: Option<u64>,
    /// With `after`: how long to wait, in ms, 0 to 30000, by default 5000; at most nine tenths of
    /// the time limit for a request
    timeout: Option<u64>,
}

impl Fresh {
    /// The position that a projection must have reached before it is read, and how long to wait for
    /// that. The wait is shorter than the time limit of a request.
    pub fn within(&self, request_time_max: Duration) -> Result<Freshness> {
        if self.timeout.is_some() && self.after.is_none() {
            let detail = "query: timeout is given without after, which names what to wait for";
            return Err(Failure::bad_request(detail));
        }
        let wait_ms = self.timeout.unwrap_or(WAIT_MS);
        if wait_ms > WAIT_MS_MAX {
            return Err(Failure::bad_request(format!(
                "query: timeout {wait_ms} is not between 0 and {WAIT_MS_MAX} ms"
            )));
        }
        Ok(Freshness {
            after: Position(self.after.unwrap_or(0)),
            wait: Duration::from_millis(wait_ms).min(request_time_max / 10 * 9),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::query;
    use super::*;

    /// Reads a query with one parameter `at`.
    #[derive(Debug, Deserialize)]
    struct At<T> {
        at: T,
    }

    fn at<T: serde::de::DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
        let read = query::read::<At<T>>(vec![("at".to_owned(), text.to_owned())]);
        read.map(|read| read.at).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wait_is_bounded_and_ends_within_the_request() {
        let freshness = |pairs: &[(&str, &str)], seconds| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let fresh = query::read::<Fresh>(pairs.collect()).ok()?;
            fresh.within(Duration::from_secs(seconds)).ok()
        };
        let wait = |pairs: &[(&str, &str)], seconds| freshness(pairs, seconds).unwrap().wait;
        assert_eq!(freshness(&[], 30).unwrap().after, Position(0));
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
            assert!(freshness(bad, 30).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_has_an_offset() {
        for (text, micros) in [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T02:00:01.5+02:00", 1_500_000),
            ("1970-01-01T00:00:00.0000019Z", 1),
            ("1969-12-31T23:59:59Z", 0),
        ] {
            assert_eq!(at::<Time>(text).unwrap().0, Timestamp(micros), "{text}");
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
            let error = at::<Time>(text).unwrap_err();
            let expected = format!("query: at {text:?} is not a time as 2026-01-31T12:00:00Z");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_text_has_a_character_and_no_control_character() {
        assert_eq!(at::<Text>("é").unwrap().0, "é");
        assert_eq!(at::<Printable>("").unwrap().0, "");
        let error = at::<Text>("").unwrap_err();
        assert_eq!(error, "query: at is empty; leave it out");
        let error = at::<Text>("a\n").unwrap_err();
        assert_eq!(error, "query: at \"a\\n\" holds a control character");
    }

    #[test]
    fn the_size_of_a_page_is_bounded() {
        assert_eq!(PageSize::<1_000>::default().0, 100);
        assert_eq!(PageSize::<10>::default().0, 10);
        for (text, size) in [("1", 1), ("10", 10)] {
            assert_eq!(at::<PageSize<10>>(text).unwrap().0, size);
        }
        for text in ["0", "11"] {
            let error = at::<PageSize<10>>(text).unwrap_err();
            assert_eq!(error, format!("query: at {text} is not between 1 and 10"));
        }
        assert!(at::<PageSize<10>>("-1").is_err());
    }
}
