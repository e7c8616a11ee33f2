//! The request that lines of the log belong to.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method};
use quipu::access::Caller;
use quipu::meters::SpanIds;
use tokio::task_local;

/// Longest id or name in a line.
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
    /// The name of the caller, from the moment at which it is known.
    principal: OnceLock<Arc<str>>,
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
            principal: OnceLock::new(),
        }
    }

    /// Lets the lines of a future belong to the request.
    pub async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        CURRENT.scope(self, future).await
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        let traceparent = self.traceparent.as_ref().and_then(|it| it.to_str().ok());
        if let Some(ids) = traceparent.and_then(SpanIds::of_caller) {
            fields.extend([("trace_id", ids.trace()), ("span_id", ids.span())]);
        }
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
        let principal = self.principal.get();
        let principal = principal.filter(|name| name.len() <= ID_BYTES_MAX);
        fields.extend(principal.map(|name| ("principal", name.to_string())));
        fields
    }
}

/// The value of a header that is given once.
fn one(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.clone())
}

/// The context of the request of this task; none outside of a request.
pub(super) fn current() -> Option<LogContext> {
    CURRENT.try_with(LogContext::clone).ok()
}

/// Lets the lines of this task's request name its caller.
pub(super) fn set_caller(caller: &Caller) {
    if let Some(name) = caller.name() {
        // Outside of a request there is nothing to set.
        _ = CURRENT.try_with(|context| context.principal.set(name));
    }
}

/// What a line that is written now says about the command or the request that it belongs to:
/// `trace_id`, `span_id`, `request`, `stream`, `command_id`, `correlation_id`, `principal`, as far as
/// they are known. Empty outside of both.
///
/// A thread that decides for others may be that of a request. The command is what it works for.
pub fn log_fields() -> Vec<(&'static str, String)> {
    match quipu::log_context::current() {
        Some(command) => command.fields(),
        None => CURRENT.try_with(LogContext::fields).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use quipu::access::{Grant, Identified, Role};

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
            ("span_id", "00f067aa0ba902b7".to_owned()),
            ("command_id", "d-1".to_owned()),
        ];
        assert_eq!(fields, expected);
        assert!(log_fields().is_empty());
    }

    #[tokio::test]
    async fn a_line_names_the_caller_once_it_is_known() {
        let request = Request::builder().body(axum::body::Body::empty());
        let context = LogContext::of(&request.unwrap());
        let ann = Caller::identified(Identified {
            name: "corp:ann".to_owned(),
            grant: Grant::of(Role::Viewer),
            attributes: BTreeMap::new(),
            expires_at: None,
        });
        let ann = ann.unwrap();
        let scoped = context.scope(async {
            set_caller(&Caller::default());
            assert!(log_fields().is_empty());
            set_caller(&ann);
            log_fields()
        });
        assert_eq!(scoped.await, [("principal", "corp:ann".to_owned())]);
    }
}
