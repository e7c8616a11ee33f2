//! Requests in progress, and their times by method, route and class of status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use quipu::meters::Histogram;
use utoipa::openapi::OpenApi;

/// Labels of methods. All others share the last one.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "_OTHER",
];
/// Labels of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The route of requests whose path is unknown, or does not take their method.
const UNKNOWN: &str = "unknown";
/// The route of all pages of the console.
const CONSOLE: &str = "/console";
/// Operations without a description.
const NOT_DESCRIBED: [(&str, &str); 5] = [
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
    ("GET", CONSOLE),
    ("HEAD", CONSOLE),
    ("POST", CONSOLE),
];

/// Times by class of status. A class takes memory from its first request on.
type Classes = [OnceLock<Box<Histogram>>; CLASSES.len()];

/// The routes of one method.
#[derive(Default)]
struct OfMethod {
    routes: BTreeMap<String, Classes>,
    unknown: Classes,
}

/// The requests of a server. Callers can't add series: all routes are known from the beginning.
#[derive(Default)]
pub struct RequestMeters {
    methods: [OfMethod; METHODS.len()],
    active: Arc<AtomicUsize>,
}

/// A request that is not completely answered, until this is dropped.
#[derive(Debug)]
pub struct Active(Arc<AtomicUsize>);

impl RequestMeters {
    /// Measures the operations of a description, and the pages of the console.
    pub fn new(description: &OpenApi) -> Self {
        let mut this = Self::default();
        for (path, item) in &description.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("HEAD", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
                ("PATCH", &item.patch),
            ] {
                if operation.is_some() {
                    this.add(method, path);
                }
            }
        }
        for (method, path) in NOT_DESCRIBED {
            this.add(method, path);
        }
        this
    }

    fn add(&mut self, method: &str, path: &str) {
        let routes = &mut self.methods[index(method)].routes;
        routes.insert(path.to_owned(), Classes::default());
    }

    /// A request begins.
    pub fn begin(&self) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(&self.active))
    }

    /// Requests that are not completely answered.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts a request whose answer begins. `route` is the template of its path, if it is known.
    pub fn answered(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
    ) {
        let of_method = &self.methods[index(method.as_str())];
        let route = route.and_then(|route| of_method.routes.get(label(route)));
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let times = &route.unwrap_or(&of_method.unknown)[class];
        let times = times.get_or_init(|| Box::new(Histogram::of_times()));
        times.observe_time(took);
    }

    /// Passes the labels and the times of all requests: method, route and class of status.
    pub fn each(&self, mut show: impl FnMut([&str; 3], &Histogram)) {
        for (method, of_method) in METHODS.iter().zip(&self.methods) {
            let known = of_method.routes.iter();
            let known = known.map(|(route, classes)| (route.as_str(), classes));
            for (route, classes) in known.chain([(UNKNOWN, &of_method.unknown)]) {
                for (class, times) in CLASSES.iter().zip(classes) {
                    if let Some(times) = times.get() {
                        show([*method, route, *class], times.as_ref());
                    }
                }
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The index of a method in [`METHODS`].
fn index(method: &str) -> usize {
    let known = METHODS.iter().position(|known| *known == method);
    known.unwrap_or(METHODS.len() - 1)
}

/// The label of a route.
fn label(route: &str) -> &str {
    match route == "/" || route.starts_with("/console/") {
        true => CONSOLE,
        false => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::paths;

    #[test]
    fn callers_cannot_invent_labels() {
        let (_, description) = paths().split_for_parts();
        let meters = RequestMeters::new(&description);
        let count = |method: &str, route: Option<&str>, status: u16| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            meters.answered(&method, route, status, Duration::ZERO);
        };
        count("GET", Some("/healthz"), 200);
        count("GET", Some("/healthz"), 204);
        count("HEAD", Some("/healthz"), 200);
        count("DELETE", Some("/healthz"), 403);
        count("GET", Some("/invented"), 404);
        count("GET", None, 404);
        count("INVENTED", None, 999);
        count("GET", Some("/"), 303);
        count("GET", Some("/console/streams/{stream}"), 200);
        let mut found = Vec::new();
        meters.each(|[method, route, class], times| {
            found.push(format!("{method} {route} {class} {}", times.read().count));
        });
        let expected = [
            "GET /console 2xx 1",
            "GET /console 3xx 1",
            "GET /healthz 2xx 2",
            "GET unknown 4xx 2",
            "HEAD /healthz 2xx 1",
            "DELETE unknown 4xx 1",
            "_OTHER unknown 5xx 1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_request_is_active_until_it_is_dropped() {
        let meters = RequestMeters::default();
        let (first, second) = (meters.begin(), meters.begin());
        assert_eq!(meters.active(), 2);
        drop(first);
        assert_eq!(meters.active(), 1);
        drop(second);
        assert_eq!(meters.active(), 0);
    }
}
