//! The standard variables of OpenTelemetry.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::exit::WrongUse;
use crate::secret::Secret;

/// Where traces are sent, and which.
pub struct Settings {
    pub url: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub timeout: Duration,
    /// Attributes of the host.
    pub resource: Vec<(String, String)>,
    pub sampler: Sampler,
}

/// Which commands are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// A caller that has a trace decides by its flag.
    is_parent_based: bool,
    /// The part of all others.
    ratio: f64,
}

impl Sampler {
    /// Whether a command is traced.
    pub fn wants(&self, traceparent: Option<&str>) -> bool {
        let trace = traceparent.and_then(parts);
        match trace {
            Some((.., flags)) if self.is_parent_based => is_sampled(flags),
            // The same on every host that sees the trace.
            Some((trace, ..)) if self.ratio < 1.0 => {
                let low = trace
                    .get(16..)
                    .and_then(|low| u64::from_str_radix(low, 16).ok());
                let low = low.unwrap_or_default() >> 1;
                (low as f64) < self.ratio * (u64::MAX >> 1) as f64
            }
            _ => self.ratio >= 1.0 || rand::random::<f64>() < self.ratio,
        }
    }
}

fn is_sampled(flags: &str) -> bool {
    u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
}

/// The trace, the span and the flags of a `traceparent`, which was checked.
pub fn parts(traceparent: &str) -> Option<(&str, &str, &str)> {
    let mut parts = traceparent.split('-').skip(1);
    Some((parts.next()?, parts.next()?, parts.next()?))
}

impl Settings {
    /// Reads the variables; none when no collector is named.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_off = given("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"))
            || given("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
        if is_off {
            return Ok(None);
        }
        let of_traces = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let url = match (of_traces, given("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(url), _) => url,
            (None, Some(base)) => format!("{}/v1/traces", base.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        let parsed = Url::parse(&url).ok();
        if !parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
            let why = "OTEL_EXPORTER_OTLP_ENDPOINT is not an address as http://127.0.0.1:4318";
            return Err(why.to_owned());
        }
        let either = |name: &str| {
            given(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| given(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        match either("PROTOCOL").as_deref() {
            None | Some("http/json") => {}
            Some("http/protobuf") => tracing::info!(
                "traces are sent as http/json; collectors take it at the address of http/protobuf"
            ),
            Some(other) => {
                return Err(format!(
                    "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}; this host sends http/json, mostly to port 4318"
                ));
            }
        }
        let timeout_ms = match either("TIMEOUT") {
            None => 10_000,
            Some(text) => text.trim().parse().map_err(|_| {
                format!("OTEL_EXPORTER_OTLP_TIMEOUT is {text:?}, which is not a number of ms")
            })?,
        };
        let resource = resource(
            given("OTEL_RESOURCE_ATTRIBUTES"),
            given("OTEL_SERVICE_NAME"),
        );
        Ok(Some(Self {
            url,
            headers: headers(given_headers(either)?)?,
            timeout: Duration::from_millis(timeout_ms),
            resource,
            sampler: sampler(
                given("OTEL_TRACES_SAMPLER"),
                given("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            )?,
        }))
    }
}

/// `name=value,name=value`, percent-encoded.
fn pairs(text: Option<String>) -> Vec<(String, String)> {
    let text = text.unwrap_or_default();
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_owned(), decoded(value.trim())));
    pairs.filter(|(name, _)| !name.is_empty()).collect()
}

fn decoded(text: &str) -> String {
    // An address that ends with the text as its query decodes it.
    let url = format!(
        "http://localhost/?x={}",
        text.replace('+', "%2B").replace('&', "%26")
    );
    let decoded = Url::parse(&url).ok().and_then(|url| {
        let mut pairs = url.query_pairs();
        pairs.next().map(|(_, value)| value.into_owned())
    });
    decoded.unwrap_or_else(|| text.to_owned())
}

/// The headers, which may be secrets, from their variable or from the file that another one names.
fn given_headers(either: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    match (either("HEADERS"), either("HEADERS_FILE")) {
        (given, None) => Ok(given),
        (None, Some(path)) => match Secret::read(Path::new(&path)) {
            Ok(headers) => Ok(Some(headers.reveal().to_owned())),
            Err(WrongUse(why)) => Err(format!("OTEL_EXPORTER_OTLP_HEADERS_FILE: {why}")),
        },
        (Some(_), Some(_)) => {
            let why = "OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_HEADERS_FILE are both set; \
                       unset one of them";
            Err(why.to_owned())
        }
    }
}

fn headers(text: Option<String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut given = text.as_deref().unwrap_or_default().split(',');
    // One that is left out in silence would be missed at the collector.
    if given.any(|pair| !pair.trim().is_empty() && pair.trim().find('=').is_none_or(|at| at == 0)) {
        return Err(
            "OTEL_EXPORTER_OTLP_HEADERS: expected NAME=VALUE,NAME=VALUE, found a part without a name or ="
                .to_owned(),
        );
    }
    let headers = pairs(text).into_iter().map(|(name, value)| {
        // The value may be a secret.
        let wrong = || format!("OTEL_EXPORTER_OTLP_HEADERS: {name:?} is not a header");
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((name, value))
    });
    headers.collect()
}

fn resource(attributes: Option<String>, service: Option<String>) -> Vec<(String, String)> {
    let mut resource = pairs(attributes);
    if let Some(service) = service {
        resource.retain(|(name, _)| name != "service.name");
        resource.push(("service.name".to_owned(), service));
    }
    for (name, value) in [
        ("service.name", "quipu"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        if !resource.iter().any(|(own, _)| own == name) {
            resource.push((name.to_owned(), value.to_owned()));
        }
    }
    resource
}

fn sampler(name: Option<String>, argument: Option<&str>) -> Result<Sampler, String> {
    let name = name.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let ratio = || match argument {
        None => Ok(1.0),
        Some(text) => {
            let ratio = text.trim().parse().ok();
            let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| {
                format!("OTEL_TRACES_SAMPLER_ARG is {text:?}, which is not a number from 0 to 1")
            })
        }
    };
    let (is_parent_based, of_others) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, &*name),
    };
    let ratio = match of_others {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio()?,
        _ => {
            return Err(format!(
                "OTEL_TRACES_SAMPLER is {name:?}; known are always_on, always_off and traceidratio, \
                 each also after parentbased_"
            ));
        }
    };
    Ok(Sampler {
        is_parent_based,
        ratio,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/");

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
        assert!(
            read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")])
                .unwrap()
                .is_none()
        );
        assert!(
            read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")])
                .unwrap()
                .is_none()
        );
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_standard_variables_are_read() {
        let settings = read(&[
            ENDPOINT,
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20a%3Db, x-n=1",
            ),
            ("OTEL_SERVICE_NAME", "bank"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=no,deployment.environment=test",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.url, "http://localhost:4318/v1/traces");
        assert_eq!(settings.headers[0].1, "Bearer a=b");
        assert_eq!(settings.timeout, Duration::from_millis(250));
        let names: Vec<_> = settings
            .resource
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            names[..2],
            ["deployment.environment=test", "service.name=bank"]
        );
        for wrong in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "=1"),
        ] {
            assert!(read(&[wrong, ENDPOINT]).is_err(), "{wrong:?}");
        }
        let ratio = [
            ENDPOINT,
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ];
        assert!(read(&ratio).is_err());
    }

    #[test]
    fn headers_may_be_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        let file = path.display().to_string();
        std::fs::write(&path, "authorization=Bearer%20s3cret,x-n=1\n").unwrap();
        for name in [
            "OTEL_EXPORTER_OTLP_HEADERS_FILE",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE",
        ] {
            let settings = read(&[ENDPOINT, (name, &*file)]).unwrap().unwrap();
            assert_eq!(settings.headers[0].1, "Bearer s3cret");
            assert_eq!(settings.headers.len(), 2);
            assert!(!format!("{:?}", settings.headers).contains("s3cret"));
        }
        let by_file = ("OTEL_EXPORTER_OTLP_HEADERS_FILE", &*file);
        let both = [ENDPOINT, by_file, ("OTEL_EXPORTER_OTLP_HEADERS", "x-n=1")];
        assert!(read(&both).err().unwrap().contains("both set"));
        std::fs::write(&path, "a b=s3cret\n").unwrap();
        let why = read(&[ENDPOINT, by_file]).err().unwrap();
        assert!(
            why.contains("is not a header") && !why.contains("s3cret"),
            "{why}"
        );
        std::fs::remove_file(&path).unwrap();
        let why = read(&[ENDPOINT, by_file]).err().unwrap();
        assert!(why.contains("can't be read"), "{why}");
    }

    #[test]
    fn a_caller_decides_for_its_trace() {
        let on = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let off = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let named =
            |name: &str, argument: &str| sampler(Some(name.to_owned()), Some(argument)).unwrap();
        let by_default = sampler(None, None).unwrap();
        assert!(
            by_default.wants(None) && by_default.wants(Some(on)) && !by_default.wants(Some(off))
        );
        let never = named("always_off", "");
        assert!(!never.wants(None) && !never.wants(Some(on)));
        let always = named("always_on", "");
        assert!(always.wants(None) && always.wants(Some(off)));
        let few = named("parentbased_traceidratio", "0");
        assert!(!few.wants(None) && few.wants(Some(on)) && !few.wants(Some(off)));
        // 0xa3ce929d0e0e4736 is about 0.64 of the highest number.
        assert!(named("traceidratio", "0.65").wants(Some(off)));
        assert!(!named("traceidratio", "0.63").wants(Some(off)));
    }
}
