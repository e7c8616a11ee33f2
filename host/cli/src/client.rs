use std::error::Error as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result, anyhow};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::Connection;
use super::contexts::Chosen;
use super::execute::one_lined;
use super::exit::WrongUse;
use super::secret::Secret;
use super::table::printable;
use super::tls;
use quipu_api::Problem;

/// The header that names the tenant.
const TENANT: &str = "quipu-tenant";

/// A client of a host.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Secret>,
    tenant: Option<HeaderValue>,
}

/// Without user, password and token.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.shown().as_str())
            .finish_non_exhaustive()
    }
}

/// The host answered with a problem.
#[derive(Debug)]
pub struct HostProblem(pub Box<Problem>);

impl std::error::Error for HostProblem {}

impl std::fmt::Display for HostProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem { code, detail, .. } = &*self.0;
        match &self.0.rejection {
            Some(rejection) => {
                write!(f, "rejected as {}: {detail}", rejection.code)?;
                match &rejection.details {
                    Some(details) => write!(f, "; details: {}", one_lined(details.get())),
                    None => Ok(()),
                }
            }
            None => write!(f, "{detail} ({code})"),
        }
    }
}

/// No host answered, or the connection to it failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

impl Client {
    /// A client of the host at an address.
    ///
    /// # Errors
    /// When the address is invalid, or the token can't be sent in a header.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self> {
        Self::trusting(url, token.map(Secret::from), None)
    }

    /// A client that trusts the authorities of a file in place of the public ones.
    fn trusting(url: &str, token: Option<Secret>, ca: Option<&Path>) -> Result<Self> {
        let wrong = || {
            let url = url.rsplit_once('@').map_or(url, |(_, place)| place);
            WrongUse(format!(
                "{url:?} is not an address of a host, as http://127.0.0.1:7878"
            ))
        };
        let parsed = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.cannot_be_a_base() {
            return Err(wrong().into());
        }
        if let Some(token) = &token
            && HeaderValue::from_str(token.reveal()).is_err()
        {
            let why = "the token has a line break or another control character";
            return Err(WrongUse(why.to_owned()).into());
        }
        // The host is usually near; a proxy from the environment is for distant hosts.
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = ca {
            http = http.tls_built_in_root_certs(false);
            for authority in authorities(ca)? {
                http = http.add_root_certificate(authority);
            }
        }
        let http = http.build().context("no client can be made")?;
        Ok(Self {
            http,
            url: parsed,
            token,
            tenant: None,
        })
    }

    pub(super) fn of(connection: &Connection) -> Result<Self> {
        Self::chosen(Chosen::of(connection)?)
    }

    pub(super) fn chosen(chosen: Chosen) -> Result<Self> {
        let Chosen {
            url,
            token,
            ca,
            tenant,
            context: _,
        } = chosen;
        let tenant = tenant.map(HeaderValue::try_from).transpose();
        let tenant = tenant.map_err(|_| {
            let why = "--tenant: a tenant's name has only a-z, 0-9 and -";
            WrongUse(why.to_owned())
        })?;
        let client = Self::trusting(&url, token, ca.as_deref())?;
        Ok(Self { tenant, ..client })
    }

    /// A request for a path, whose segments are percent-encoded here.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT, tenant);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Answered`] when the host answers with a problem; otherwise when it does not
    /// answer at all.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreached(&error))?;
        warn_of_deprecation(&response);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(HostProblem(problem).into()),
            Err(_) => Err(anyhow!(
                "{} answered {status} without a problem document; is it a quipu host?",
                self.shown()
            )),
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let body = self.send(request).await?.bytes().await?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{} sent an unexpected answer", self.shown()))
    }

    /// Whether a host answers at the address.
    pub(super) async fn check(&self) -> Result<()> {
        self.send(self.request(Method::GET, &["readyz"])).await?;
        Ok(())
    }

    /// The address without user and password.
    pub(super) fn shown(&self) -> Url {
        let mut url = self.url.clone();
        // An address of a host may contain both.
        _ = url.set_username("");
        _ = url.set_password(None);
        url
    }

    pub(super) fn unreached(&self, error: &reqwest::Error) -> anyhow::Error {
        let mut causes = String::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes = inner.to_string();
            cause = inner.source();
        }
        let remedy = remedy(self.url.scheme(), &causes);
        if error.is_connect() && remedy.is_none() {
            return NoAnswer(format!(
                "no host answers at {}; is it running? start one with `quipu serve`, or name it with --url",
                self.shown()
            ))
            .into();
        }
        let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
        NoAnswer(format!(
            "the connection to {} failed: {causes}{remedy}",
            self.shown()
        ))
        .into()
    }
}

/// Warns once in the life of this program if the host has deprecated what it was asked for.
pub(super) fn warn_of_deprecation(response: &Response) {
    static WARNED: Once = Once::new();
    if let Some(warning) = deprecation(response.url().path(), response.headers()) {
        // The reader may be gone.
        WARNED.call_once(|| _ = writeln!(io::stderr(), "warning: {}", printable(&warning)));
    }
}

/// What the headers of an answer say about a deprecation; none without one.
fn deprecation(path: &str, headers: &HeaderMap) -> Option<String> {
    headers.get("deprecation")?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let removal = match text("sunset") {
        Some(day) => format!(" and may be removed on {day}"),
        None => String::new(),
    };
    let link = text("link").and_then(|it| it.strip_prefix('<')?.split('>').next());
    let link = link.map_or_else(String::new, |link| format!("; see {link}"));
    Some(format!(
        "a request to {path} is deprecated{removal}: use a later version of this program{link}"
    ))
}

/// What to do about a failed connection whose innermost cause has this text; none when it is not
/// about TLS.
fn remedy(scheme: &str, cause: &str) -> Option<&'static str> {
    let remedies = [
        (
            scheme == "http",
            "invalid HTTP version",
            "the host may serve https; write https:// in the address",
        ),
        (
            scheme == "https",
            "InvalidContentType",
            "the host does not serve https; write http:// in the address",
        ),
        (
            true,
            "CaUsedAsEndEntity",
            "the host shows the certificate of an authority in place of its own; give the host a \
             certificate that the authority has issued for it, and name the certificate of the \
             authority with --ca",
        ),
        (
            true,
            "not valid for name",
            "write a name of the certificate in the address",
        ),
        (true, "expired", "replace the certificate of the host"),
        (
            true,
            "certificate",
            "name the certificate of its authority with --ca",
        ),
    ];
    let mut fitting = remedies.into_iter();
    let found = fitting.find(|(applies, text, _)| *applies && cause.contains(*text));
    found.map(|(_, _, remedy)| remedy)
}

/// The certificates of a file in PEM.
fn authorities(path: &Path) -> Result<Vec<Certificate>, WrongUse> {
    let bytes = tls::read("--ca", path)?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err(WrongUse(format!(
            "--ca: {}: there is no certificate in PEM",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deprecation_is_named_with_what_the_host_says_about_it() {
        let mut headers = HeaderMap::new();
        assert_eq!(deprecation("/v1/events", &headers), None);
        headers.insert("deprecation", HeaderValue::from_static("@1769817600"));
        assert_eq!(
            deprecation("/v1/events", &headers).unwrap(),
            "a request to /v1/events is deprecated: use a later version of this program"
        );
        let day = HeaderValue::from_static("Sat, 01 Aug 2026 00:00:00 GMT");
        headers.insert("sunset", day);
        let link = HeaderValue::from_static("<https://a.example/b>; rel=\"deprecation\"");
        headers.insert("link", link);
        assert_eq!(
            deprecation("/v1/events", &headers).unwrap(),
            "a request to /v1/events is deprecated and may be removed on Sat, 01 Aug 2026 00:00:00 GMT: \
             use a later version of this program; see https://a.example/b"
        );
    }

    #[test]
    fn the_remedy_depends_on_the_cause() {
        for (scheme, cause, expected) in [
            ("http", "invalid HTTP version parsed", "write https://"),
            (
                "https",
                "received corrupt message of type InvalidContentType",
                "write http://",
            ),
            (
                "https",
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "certificate of an authority in place of its own",
            ),
            (
                "https",
                "invalid peer certificate: certificate not valid for name \"x\"",
                "a name of the certificate",
            ),
            (
                "https",
                "invalid peer certificate: certificate expired",
                "replace the certificate",
            ),
            (
                "https",
                "invalid peer certificate: UnknownIssuer",
                "certificate of its authority with --ca",
            ),
        ] {
            let found = remedy(scheme, cause).unwrap();
            assert!(found.contains(expected), "{cause}: {found}");
        }
        assert_eq!(remedy("https", "invalid HTTP version parsed"), None);
        assert_eq!(remedy("http", "connection refused"), None);
    }
}
