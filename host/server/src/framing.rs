//! The parts of a head that a proxy and this host must read in the same way, so that nobody can
//! hide one request in another.
//!
//! The connection checks them before anything else reads the request. The length of a body is
//! checked by hyper: with `Transfer-Encoding` it ignores `Content-Length`, and closes the
//! connection after the answer, as RFC 9112 (6.1) demands.

use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};
use axum::response::{IntoResponse, Response};

use super::failure::{Failure, Result};
use super::pages;

/// Checks that a request names its host once, in a form that has one reading, and has an encoding
/// that the host reads.
///
/// # Errors
/// `bad-request` with the header that is missing or wrong.
pub(super) fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts == 0 && version == Version::HTTP_11 {
        let detail = "the request has no Host header, which HTTP/1.1 requires";
        return Err(Failure::bad_request(detail));
    }
    if hosts > 1 {
        let detail = format!("the request has {hosts} Host headers; send one");
        return Err(Failure::bad_request(detail));
    }
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    if !host.is_none_or(is_host) {
        let detail = "the Host header is not a name or an address, with or without a port";
        return Err(Failure::bad_request(detail));
    }
    if version == Version::HTTP_2
        && let Some(authority) = uri.authority().map(|it| it.as_str().as_bytes())
        && (!is_host(authority) || host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)))
    {
        let detail = "the request has another `:authority` than its Host header, or one that is \
                      not a name or an address, with or without a port";
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

/// Whether a value of `Host` is a name or an address with an optional port. It may be empty.
fn is_host(value: &[u8]) -> bool {
    let (is_name, name, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                return false;
            };
            (false, &rest[..end], &rest[end + 1..])
        }
        None => {
            let end = value.iter().position(|&byte| byte == b':');
            let end = end.unwrap_or(value.len());
            (true, &value[..end], &value[end..])
        }
    };
    let is_part = |&byte: &u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'%' => true,
        b':' => !is_name,
        byte => byte.is_ascii_alphanumeric(),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    name.iter().all(is_part) && is_port && (is_name || !name.is_empty())
}

/// The answer to a request that is refused before anything else reads it.
pub(super) fn refused(failure: Failure) -> Response {
    let mut response = failure.into_response();
    pages::protect(&mut response, None);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_host_once() {
        let known = |version: Version, hosts: usize| {
            let mut headers = HeaderMap::new();
            for _ in 0..hosts {
                headers.append(header::HOST, HeaderValue::from_static("h"));
            }
            check(version, &Uri::from_static("/"), &headers).is_ok()
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
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in [
            "",
            "h",
            "bank.example",
            "my_service.internal.",
            "h:80",
            "h:",
            "10.0.0.1:7878",
            "[::1]",
            "[::1]:80",
            "[fe80::1%25eth0]:80",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a, b",
            "a b",
            "h:80@evil.example",
            "me@h",
            "h/p",
            "h:80:80",
            "h:x",
            "[::1",
            "[::1]evil.example",
            "[]",
            "[::1]:x",
            "a[::1]",
            "\u{e9}vil.example",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_authority_of_http_2_is_the_host() {
        let known = |version: Version, authority: &str, host: &'static str| {
            let uri: Uri = format!("http://{authority}/").parse().unwrap();
            let mut headers = HeaderMap::new();
            if !host.is_empty() {
                headers.insert(header::HOST, HeaderValue::from_static(host));
            }
            check(version, &uri, &headers).is_ok()
        };
        assert!(known(Version::HTTP_2, "h:80", ""));
        assert!(known(Version::HTTP_2, "h:80", "H:80"));
        assert!(!known(Version::HTTP_2, "h:80", "other:80"));
        assert!(!known(Version::HTTP_2, "h:80@evil.example", ""));
        // HTTP/1.1 has no authority, but proxies are sent whole addresses.
        assert!(known(Version::HTTP_11, "other", "h"));
    }

    #[test]
    fn chunked_is_the_only_encoding() {
        let known = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("h"));
            for &line in lines {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(line));
            }
            check(Version::HTTP_11, &Uri::from_static("/"), &headers).is_ok()
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
