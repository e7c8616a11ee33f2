//! `--expected-version`: the version that the caller expects of a stream.

use std::fmt;

use reqwest::RequestBuilder;
use reqwest::header;

use quipu::model::{ExpectedVersion, Version};

/// A version, `any`, `no-stream` or `stream-exists`.
#[derive(Debug, Clone, Copy)]
pub struct Expected(ExpectedVersion);

impl std::str::FromStr for Expected {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Ok(Self(match text {
            "any" => ExpectedVersion::Any,
            "no-stream" => ExpectedVersion::NoStream,
            "stream-exists" => ExpectedVersion::StreamExists,
            number => ExpectedVersion::Exact(Version(number.parse().map_err(|_| Unknown)?)),
        }))
    }
}

impl Expected {
    /// The request with this precondition.
    pub fn apply(self, request: RequestBuilder) -> RequestBuilder {
        match self.0 {
            ExpectedVersion::Any => request,
            ExpectedVersion::NoStream => request.header(header::IF_NONE_MATCH, "*"),
            ExpectedVersion::StreamExists => request.header(header::IF_MATCH, "*"),
            ExpectedVersion::Exact(version) => {
                request.header(header::IF_MATCH, format!("\"{version}\""))
            }
        }
    }
}

/// The text is none of these.
#[derive(Debug)]
pub struct Unknown;

impl std::error::Error for Unknown {}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version, any, no-stream or stream-exists")
    }
}
