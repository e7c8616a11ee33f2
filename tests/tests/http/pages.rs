//! Web pages, and names that lead to the host.

use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use reqwest::{Method, header};

use crate::server::{Server, send};

on_every_store!(
    a_page_of_another_origin_changes_nothing,
    a_name_that_was_made_to_lead_here_is_refused,
    a_listed_page_may_call,
);

const COMMAND: &str = r#"{"type":"measured","data":{}}"#;

async fn server(place: &Place, options: Options) -> Server {
    Server::start(place.host().await, options).await
}

async fn a_page_of_another_origin_changes_nothing(place: Place) {
    let server = server(&place, Options::default()).await;
    let own = server.url.clone();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let append = format!(r#"{{"events":[{COMMAND}]}}"#);
        let request = server.post("/v1/streams/sensor-1/events", &append);
        send(request.header(name, value))
            .await
            .problem(403, "forbidden");
        for path in ["/v1/status", "/openapi.json", "/v1/export"] {
            let request = server.request("GET", path).header(name, value);
            send(request).await.problem(403, "forbidden");
        }
    }
    // A browser that asks first gets no permission either.
    let request = server.request("OPTIONS", "/v1/streams/sensor-1/events");
    let request = request.header("origin", "https://evil.example");
    let request = request.header("access-control-request-method", "POST");
    send(request).await.problem(403, "forbidden");
    assert_eq!(server.host.log_head().await.unwrap().0, 0);
    // The host's own pages, and an address that a person typed.
    for (name, value) in [("origin", own.as_str()), ("sec-fetch-site", "none")] {
        let request = server.request("GET", "/v1/status").header(name, value);
        send(request).await.ok();
    }
}

async fn a_name_that_was_made_to_lead_here_is_refused(place: Place) {
    let options = Options {
        hosts: vec!["quipu.example".to_owned()],
        ..Options::default()
    };
    let server = server(&place, options).await;
    for name in [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example.",
    ] {
        let request = server.request("GET", "/v1/status").header("host", name);
        send(request).await.problem(403, "forbidden");
    }
    for name in [
        "localhost",
        "localhost:7878",
        "app.localhost",
        "127.0.0.1",
        "[::1]:7878",
        "192.168.1.7:7878",
        "quipu",
        "QUIPU.example:443",
    ] {
        let request = server.request("GET", "/v1/status").header("host", name);
        send(request).await.ok();
    }
}

async fn a_listed_page_may_call(place: Place) {
    let page = "https://shop.example";
    let options = Options {
        origins: vec![page.to_owned()],
        ..Options::default()
    };
    let server = server(&place, options).await;
    let request = server.request("OPTIONS", "/v1/streams/sensor-1/events");
    let request = request
        .header("origin", page)
        .header("access-control-request-method", "POST");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], page);
    let methods = answer.headers()[header::ACCESS_CONTROL_ALLOW_METHODS]
        .to_str()
        .unwrap();
    assert!(methods.contains(Method::POST.as_str()), "{methods}");
    let append = format!(r#"{{"events":[{COMMAND}]}}"#);
    let request = server.post("/v1/streams/sensor-1/events", &append);
    let answer = request.header("origin", page).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], page);
    assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    // A problem is for the page, too.
    let request = server
        .request("GET", "/v1/streams/none-1/events")
        .header("origin", page);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], page);
    // Also one that no handler answered.
    let request = server.request("GET", "/v1/streams/%ff/events");
    let answer = request.header("origin", page).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], page);
    // Also one to a request that names a tenant of a host without tenants.
    let request = server.request("GET", "/v1/status");
    let request = request.header("origin", page).header("quipu-tenant", "any");
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_client_error(), "{}", answer.status());
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], page);
    assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    // A page that is not listed is refused, and its browser guesses no type of the answer.
    let request = server
        .request("GET", "/v1/status")
        .header("origin", "https://shop.example.evil");
    let answer = request.try_clone().unwrap().send().await.unwrap();
    assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    send(request).await.problem(403, "forbidden");
}
