//! The path and query parameters of a request.
//!
//! Each is declared once, as a member of a struct that serde reads and the OpenAPI description
//! shows.

mod path;
mod query;
mod values;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

pub use path::{
    DeploymentPath, DigestPath, PositionPath, ProjectionPath, Segments, StreamPath, digest, number,
};
pub use query::choice;
pub use values::{Fresh, Limit, PageSize, Printable, ReadSize, Text, Time};

use super::failure::{Failure, Result};

/// The query, read into `T`: a struct with a member for each parameter, a tuple of such structs, or
/// `()` for a path that has no parameters.
///
/// Unknown parameters are rejected, and so are repeated ones whose member holds one value.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|rejection| Failure::bad_request(format!("the query: {rejection}")))?;
        let read = query::read(pairs);
        let read = read.map_err(|error| Failure::bad_request(error.to_string()))?;
        Ok(Self(read))
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
}
