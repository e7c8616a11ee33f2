//! The parts of a head that a proxy and this host must read in the same way, so that nobody can
//! hide one request in another.
//!
//! The connection checks them before anything else reads the request. The length of a body is
//! checked by hyper: with `Transfer-Encoding` it ignores `Content-Length`, and closes the
//! connection after the answer, as RFC 9112 (6.1) demands.

use axum::http::{HeaderMap, Version, header};
use axum::response::{IntoResponse, Response};

use super::failure::{Failure, Result};
use super::pages;

/// Checks that a request names its host once and has an encoding that the host reads.
///
/// # Errors
/// `bad-request` with the header that is missing or wrong.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<()> {
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts == 0 && version == Version::HTTP_11 {
        let detail = "the request has no Host header, which HTTP/1.1 requires";
        return Err(Failure::bad_request(detail));
    }
    if hosts > 1 {
        let detail = format!("the request has {hosts} Host headers; send one");
        return Err(Failure::bad_request(detail));
    }
    let encodings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let is_known = match encodings[..] {
        [] => true,
        [only] => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if !is_known {
        let detail = "the request has a Transfer-Encoding other than a single `chunked`";
        return Err(Failure::bad_request(detail));
    }
    Ok(())
}

/// The answer to a request that is refused before anything else reads it.
pub(super) fn refused(failure: Failure) -> Response {
    let mut response = failure.into_response();
    pages::protect(&mut response, None);
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_names_its_host_once() {
        let known = |version: Version, hosts: usize| {
            let mut headers = HeaderMap::new();
            for _ in 0..hosts {
                headers.append(header::HOST, HeaderValue::from_static("h"));
            }
            check(version, &headers).is_ok()
        };
        for (version, without) in [
            (Version::HTTP_10, true),
            (Version::HTTP_11, false),
            (Version::HTTP_2, true),
        ] {
            assert_eq!(known(version, 0), without, "{version:?}");
            assert!(known(version, 1), "{version:?}");
            assert!(!known(version, 2), "{version:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_encoding() {
        let known = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("h"));
            for &line in lines {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(line));
            }
            check(Version::HTTP_11, &headers).is_ok()
        };
        assert!(known(&[]) && known(&["chunked"]) && known(&["Chunked"]));
        for lines in [
            &["gzip, chunked"][..],
            &["identity, chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["gzip", "chunked"],
            &["xchunked"],
        ] {
            assert!(!known(lines), "{lines:?}");
        }
    }
}
