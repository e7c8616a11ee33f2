//! `/metrics`: requests of all listeners, and the process.

use quipu_tests::Place;

use crate::access::get;
use crate::metrics::{page, until, value};
use crate::server::Server;
use crate::tenants::Tenanted;

const TIMES: &str = "http_server_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";

/// The series of a number of requests.
fn count(method: &str, route: &str, status: &str) -> String {
    format!("{TIMES}_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")
}

#[tokio::test]
async fn requests_are_counted_by_method_route_and_status() {
    let server = Server::bank().await.opened().await;
    server.get("/healthz").await.ok();
    server.get("/healthz").await.ok();
    server.get("/v1/streams/account-1/events").await.ok();
    server.get("/v1/streams/account-2/events").await;
    for path in ["/invented", "/v1/invented/1", "/v1/invented/2"] {
        server.get(path).await.problem(404, "not-found");
    }
    let wrong = server.request("DELETE", "/healthz").send().await.unwrap();
    assert_eq!(wrong.status(), 405);
    let page = page(&server).await;
    for (method, route, status, expected) in [
        ("POST", "/v1/streams/{stream}/commands", "2xx", 1.0),
        ("GET", "/healthz", "2xx", 2.0),
        ("GET", "/v1/streams/{stream}/events", "2xx", 1.0),
        ("GET", "/v1/streams/{stream}/events", "4xx", 1.0),
        ("GET", "unknown", "4xx", 3.0),
        ("DELETE", "unknown", "4xx", 1.0),
    ] {
        let series = count(method, route, status);
        assert_eq!(value(&page, &series), Some(expected), "{series}\n{page}");
    }
    let sum = count("GET", "/healthz", "2xx").replace("_count", "_sum");
    assert!(value(&page, &sum).unwrap() > 0.0);
    for unbounded in ["invented", "account-1"] {
        assert!(!page.contains(unbounded), "{page}");
    }
}

#[tokio::test]
async fn a_subscription_is_counted_at_its_head_and_active_until_it_ends() {
    let server = Server::empty().await;
    let subscribed = count("GET", "/v1/events/subscribe", "2xx");
    // The request for the page is one of them.
    until(&server, ACTIVE, |it| it == 1.0).await;
    let request = server.request("GET", "/v1/events/subscribe");
    let subscription = request.send().await.unwrap();
    assert_eq!(subscription.status(), 200);
    assert_eq!(value(&page(&server).await, &subscribed), Some(1.0));
    until(&server, ACTIVE, |it| it == 2.0).await;
    drop(subscription);
    until(&server, ACTIVE, |it| it == 1.0).await;
    assert_eq!(value(&page(&server).await, &subscribed), Some(1.0));
}

#[tokio::test]
async fn requests_to_tenants_are_on_the_page_of_the_main_store_only() {
    let place = Place::sqlite();
    let host = Tenanted::start(&place, 10).await;
    let beta = host.create("beta").await;
    let tenant = ("beta", &*beta);
    assert_eq!(host.events(tenant).await, 0);
    let own = host.get("/metrics", tenant).await;
    assert_eq!(own.status, 200, "{}", own.text);
    assert!(value(&own.text, "quipu_commands_in_flight").is_some());
    for prefix in ["http_server_", "process_"] {
        assert!(!own.text.contains(prefix), "{}", own.text);
    }
    let main = get(&host.server, "/metrics", &host.root).await.text;
    let read = count("GET", "/v1/events", "2xx");
    assert_eq!(value(&main, &read), Some(1.0), "{main}");
    host.ended().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_measured() {
    let server = Server::empty().await;
    let first = page(&server).await;
    let of = |page: &str, name: &str| value(page, &format!("process_{name}")).unwrap();
    assert!(of(&first, "resident_memory_bytes") > 1e6);
    let open = of(&first, "open_fds");
    assert!((3.0..=of(&first, "max_fds")).contains(&open), "{open}");
    let started = of(&first, "start_time_seconds");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    // The system counts in hundredths.
    assert!((1.7e9..=now.as_secs_f64() + 1.0).contains(&started));
    let cpu = of(&first, "cpu_seconds_total");
    // More pages take time.
    let series = "process_cpu_seconds_total";
    until(&server, series, |it| it > cpu).await;
    let files: Vec<_> = (0..10)
        .map(|_| std::fs::File::open("/proc/self/stat").unwrap())
        .collect();
    assert!(of(&page(&server).await, "open_fds") >= 13.0);
    drop(files);
}
