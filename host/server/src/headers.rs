//! Headers that qualify a command or an append.

use axum::http::{HeaderMap, header};
use utoipa::IntoParams;

use super::failure::{Failure, Result};
use quipu::access::{Caller, Tenants};
use quipu::model::{CommandId, Context, ExpectedVersion, REASON_BYTES_MAX, Signature, Version};

/// What a request expects of its stream, for the OpenAPI description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub struct Preconditions {
    /// `"n"`: the stream is at version n; `*`: it exists. `W/"n"` and `n` are accepted, too
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: the stream does not exist
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Where a request comes from, for the OpenAPI description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub struct Origin {
    /// Groups messages that belong to one conversation; stored with the commit. By default the
    /// command's id
    #[param(rename = "Quipu-Correlation-Id")]
    correlation_id: Option<String>,
    /// The message that led to this request; stored with the commit
    #[param(rename = "Quipu-Causation-Id")]
    causation_id: Option<String>,
    /// W3C trace context, stored with the commit; ignored if it is not well-formed
    traceparent: Option<String>,
}

/// Why the caller does it, for the OpenAPI description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub struct Reason {
    /// One line of 1 to 1024 bytes for the audit; required of callers with a token
    #[param(rename = "Quipu-Reason")]
    reason: Option<String>,
}

/// `Idempotency-Key`: the command's id.
pub fn command_id(headers: &HeaderMap) -> Result<Option<CommandId>> {
    match one(headers, "idempotency-key")? {
        Some(id) => Ok(Some(CommandId::new(id)?)),
        None => Ok(None),
    }
}

/// What a reader already has of a stream, for the OpenAPI description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub struct CacheHeaders {
    /// `ETag`s of answers that the client has. The answer is 304, without a body, if the stream has
    /// one of these versions; `*` matches any version
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// `If-Match: "n"`, `If-Match: *` and `If-None-Match: *`.
pub fn expected_version(headers: &HeaderMap) -> Result<ExpectedVersion> {
    let matches = one(headers, "if-match")?;
    let matches_none = one(headers, "if-none-match")?;
    match (matches, matches_none) {
        (None, None) => Ok(ExpectedVersion::Any),
        (Some("*"), None) => Ok(ExpectedVersion::StreamExists),
        (None, Some("*")) => Ok(ExpectedVersion::NoStream),
        (Some(tag), None) => version_of(tag).map(ExpectedVersion::Exact).ok_or_else(|| {
            let detail = format!("If-Match: {tag}: a version in quotes (\"4\") or *");
            Failure::bad_request(detail)
        }),
        (None, Some(tag)) => {
            let detail = format!("If-None-Match: {tag}: only * is accepted, for a new stream");
            Err(Failure::bad_request(detail))
        }
        (Some(_), Some(_)) => Err(Failure::bad_request(
            "If-Match and If-None-Match exclude each other",
        )),
    }
}

/// The version in an entity tag: `"4"`, `W/"4"` as proxies rewrite it, or `4`.
fn version_of(tag: &str) -> Option<Version> {
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let digits = match quoted.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None if quoted.len() == tag.len() => tag,
        None => return None,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(Version))?
}

/// Whether `If-None-Match` names this version of a stream, or any. Tags that this host never sends
/// match no version.
pub fn has_seen(headers: &HeaderMap, version: Version) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || version_of(tag) == Some(version))
}

/// Whether `Accept` names NDJSON.
pub fn accepts_ndjson(headers: &HeaderMap) -> bool {
    accepts(headers, "application/x-ndjson")
}

/// Media type of bytes, for clients that know no other one.
pub const BYTES: &str = "application/octet-stream";

/// Whether `Accept` names bytes of no particular type.
pub fn accepts_bytes(headers: &HeaderMap) -> bool {
    accepts(headers, BYTES)
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut ranges = texts.flat_map(|text| text.split(','));
    ranges.any(|range| {
        let (media_type, rest) = range.split_once(';').unwrap_or((range, ""));
        let is_refused = rest.split(';').any(|part| part.trim() == "q=0");
        media_type.trim().eq_ignore_ascii_case(wanted) && !is_refused
    })
}

/// `Quipu-Raw: allow`.
pub fn allows_raw(headers: &HeaderMap) -> Result<bool> {
    match one(headers, "quipu-raw")? {
        None => Ok(false),
        Some("allow") => Ok(true),
        Some(other) => Err(Failure::bad_request(format!(
            "Quipu-Raw: {other}: only `allow` is known"
        ))),
    }
}

/// `Quipu-Signature`: a component's signature.
pub fn signature(headers: &HeaderMap) -> Result<Option<Signature>> {
    let text = one(headers, "quipu-signature")?;
    Ok(text.map(str::parse).transpose()?)
}

/// `Quipu-Correlation-Id`, `Quipu-Causation-Id` and `traceparent`. As its specification requires, a
/// `traceparent` that is not well-formed or occurs twice is ignored. The principal is the caller.
pub fn context(headers: &HeaderMap, caller: &Caller) -> Result<Context> {
    let shared = |name| Ok::<_, Failure>(one(headers, name)?.map(Into::into));
    let context = Context {
        correlation_id: shared("quipu-correlation-id")?,
        causation_id: shared("quipu-causation-id")?,
        principal: caller.name(),
        traceparent: shared("traceparent").unwrap_or_default(),
    };
    Ok(context.checked()?)
}

/// `Quipu-Reason`: why the caller does it.
pub fn reason(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(reason) = one(headers, "quipu-reason")? else {
        return Ok(None);
    };
    let is_line = !reason.trim().is_empty() && !reason.chars().any(char::is_control);
    if reason.len() > REASON_BYTES_MAX || !is_line {
        return Err(Failure::bad_request(format!(
            "Quipu-Reason is one line of 1 to {REASON_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(reason))
}

/// `Quipu-Tenant`: whose store is meant.
pub fn tenant(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(name) = one(headers, "quipu-tenant")? else {
        return Ok(None);
    };
    Tenants::check_name(name)
        .map_err(|invalid| Failure::bad_request(format!("Quipu-Tenant: {}", invalid.0)))?;
    Ok(Some(name))
}

fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let detail = format!("{name} is given more than once");
        return Err(Failure::bad_request(detail));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Failure::bad_request(format!("{name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn preconditions_are_expected_versions() {
        let cases: [(&[(&str, &str)], _); 7] = [
            (&[], ExpectedVersion::Any),
            (&[("if-match", "*")], ExpectedVersion::StreamExists),
            (&[("if-none-match", "*")], ExpectedVersion::NoStream),
            (&[("if-match", "\"0\"")], ExpectedVersion::Exact(Version(0))),
            (
                &[("if-match", "\"17\"")],
                ExpectedVersion::Exact(Version(17)),
            ),
            (
                &[("if-match", "W/\"17\"")],
                ExpectedVersion::Exact(Version(17)),
            ),
            (&[("if-match", "17")], ExpectedVersion::Exact(Version(17))),
        ];
        for (given, expected) in cases {
            let found = expected_version(&headers(given)).unwrap();
            assert_eq!(found, expected);
        }
        for wrong in [
            "-1",
            "\"-1\"",
            "",
            "\"\"",
            "\"1",
            "1\"",
            "\"",
            "W/1",
            "w/\"1\"",
            "W/*",
            "\"1\", \"2\"",
            "\"+1\"",
            "99999999999999999999",
        ] {
            assert!(
                expected_version(&headers(&[("if-match", wrong)])).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_reader_has_seen_the_versions_that_it_names() {
        for (tags, is_seen) in [
            ("\"3\"", true),
            ("W/\"3\"", true),
            ("\"2\", \"3\"", true),
            ("3", true),
            ("*", true),
            ("\"2\"", false),
            ("\"33\"", false),
            ("\"abc\"", false),
            ("", false),
        ] {
            let given = headers(&[("if-none-match", tags)]);
            assert_eq!(has_seen(&given, Version(3)), is_seen, "{tags}");
        }
        assert!(!has_seen(&headers(&[]), Version(3)));
    }

    #[test]
    fn lines_are_for_those_who_name_them() {
        for (accept, are_lines) in [
            ("application/x-ndjson", true),
            ("application/json;q=0.1, Application/X-NDJSON;q=1", true),
            ("application/x-ndjson;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
        ] {
            let given = headers(&[("accept", accept)]);
            assert_eq!(accepts_ndjson(&given), are_lines, "{accept}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_passed_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let nobody = Caller::default();
        let found = context(&headers(&[("traceparent", good)]), &nobody).unwrap();
        assert_eq!(found.traceparent.as_deref(), Some(good));
        let mut twice = headers(&[("traceparent", good)]);
        twice.append("traceparent", good.parse().unwrap());
        for dropped in [headers(&[("traceparent", "00-xyz")]), twice] {
            assert_eq!(context(&dropped, &nobody).unwrap().traceparent, None);
        }
    }
}
