//! The request that lines of the log belong to.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method};
use tokio::task_local;

/// Longest id in a line.
const ID_BYTES_MAX: usize = 255;

task_local! {
    static CURRENT: LogContext;
}

/// What lines of the log say about their request. It is read only when there is a line, so a request
/// pays for a few reference counts.
#[derive(Clone)]
pub(super) struct LogContext {
    method: Method,
    path: Option<MatchedPath>,
    traceparent: Option<HeaderValue>,
    command_id: Option<HeaderValue>,
    correlation_id: Option<HeaderValue>,
}

impl LogContext {
    /// The context of a request.
    pub fn of(request: &Request) -> Self {
        let one = |name| one(request.headers(), name);
        Self {
            method: request.method().clone(),
            path: request.extensions().get().cloned(),
            traceparent: one("traceparent"),
            command_id: one("idempotency-key"),
            correlation_id: one("quipu-correlation-id"),
        }
    }

    /// Lets the lines of a future belong to the request.
    pub async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        CURRENT.scope(self, future).await
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        let trace_id = self.traceparent.as_ref().and_then(trace_id);
        fields.extend(trace_id.map(|id| ("trace_id", id)));
        let path = self.path.as_ref();
        fields.extend(path.map(|path| ("request", format!("{} {}", self.method, path.as_str()))));
        for (name, value) in [
            ("command_id", &self.command_id),
            ("correlation_id", &self.correlation_id),
        ] {
            let text = value
                .as_ref()
                .and_then(|it| std::str::from_utf8(it.as_bytes()).ok());
            let text = text.filter(|text| text.len() <= ID_BYTES_MAX);
            fields.extend(text.map(|text| (name, text.to_owned())));
        }
        fields
    }
}

/// The value of a header that is given once.
fn one(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.clone())
}

/// The trace of a W3C trace context: 32 digits.
fn trace_id(traceparent: &HeaderValue) -> Option<String> {
    let text = traceparent.to_str().ok()?;
    let id = text.split('-').nth(1)?;
    let is_id = id.len() == 32
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && id.bytes().any(|byte| byte != b'0');
    is_id.then(|| id.to_owned())
}

/// The context of the request of this task; none outside of a request.
pub(super) fn current() -> Option<LogContext> {
    CURRENT.try_with(LogContext::clone).ok()
}

/// What a line that is written now says about its request: `trace_id`, `request`, `command_id`,
/// `correlation_id`, as far as they are known. Empty outside of a request.
pub fn log_fields() -> Vec<(&'static str, String)> {
    CURRENT.try_with(LogContext::fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_says_to_which_request_it_belongs() {
        assert!(log_fields().is_empty());
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let request = Request::builder()
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .header("Idempotency-Key", "d-1")
            .body(axum::body::Body::empty());
        let context = LogContext::of(&request.unwrap());
        let fields = context.clone().scope(async { log_fields() }).await;
        let expected = [
            ("trace_id", trace.to_owned()),
            ("command_id", "d-1".to_owned()),
        ];
        assert_eq!(fields, expected);
        assert!(log_fields().is_empty());
    }

    #[test]
    fn only_a_trace_id_is_one() {
        let id = |text: &str| trace_id(&HeaderValue::from_str(text).unwrap());
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(id(good).is_some());
        for bad in [
            "",
            "00",
            "00-xyz-1-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-1-1",
        ] {
            assert_eq!(id(bad), None, "{bad}");
        }
        assert_eq!(id(&format!("00-{}-1-1", "0".repeat(32))), None);
    }
}
