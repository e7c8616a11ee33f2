//! Deprecated operations and parameters say so.

use quipu_server::Options;
use quipu_server::deprecation::{DEPRECATED, Date, Deprecation, date};
use quipu_tests::Place;
use serde_json::Value;

use crate::server::{Answered, Server, send};

/// The log takes a parameter that nobody should use, and streams are listed in another way.
const EXAMPLES: &[Deprecation] = &[
    Deprecation {
        method: "GET",
        path: "/v1/events",
        parameter: Some("limit"),
        since: date(2026, 1, 31),
        removal: date(2026, 8, 1),
        link: "/openapi.json",
    },
    Deprecation {
        method: "GET",
        path: "/v1/streams/{stream}/events",
        parameter: None,
        since: date(2026, 2, 1),
        removal: date(2026, 9, 1),
        link: "https://example.com/streams",
    },
];

/// What is missing in an OpenAPI description of the entries of a table.
fn missing(description: &Value, table: &[Deprecation]) -> Vec<String> {
    let is_missing = |entry: &&Deprecation| {
        let operation = &description["paths"][entry.path][entry.method.to_lowercase()];
        match entry.parameter {
            None => operation["deprecated"] != true,
            Some(name) => {
                let mut parameters = operation["parameters"].as_array().into_iter().flatten();
                !parameters
                    .any(|it| it["name"] == name && it["in"] == "query" && it["deprecated"] == true)
            }
        }
    };
    let entries = table.iter().filter(is_missing);
    entries.map(|entry| format!("{entry:?}")).collect()
}

async fn server(deprecated: &'static [Deprecation]) -> Server {
    let options = Options {
        deprecated,
        ..Options::default()
    };
    Server::start(Place::memory().bank().await, options).await
}

fn headers(answered: &Answered) -> [&str; 3] {
    ["deprecation", "sunset", "link"].map(|name| answered.header(name))
}

const OF_STREAMS: [&str; 3] = [
    "@1769904000",
    "Tue, 01 Sep 2026 00:00:00 GMT",
    "<https://example.com/streams>; rel=\"deprecation\"",
];
const OF_LIMIT: [&str; 3] = [
    "@1769817600",
    "Sat, 01 Aug 2026 00:00:00 GMT",
    "</openapi.json>; rel=\"deprecation\"",
];

#[tokio::test]
async fn every_answer_of_a_deprecated_operation_has_the_headers() {
    let server = server(EXAMPLES).await.opened().await;
    let stream = "/v1/streams/account-1/events";
    let answered = server.get(stream).await;
    assert_eq!((answered.status, headers(&answered)), (200, OF_STREAMS));
    let answered = send(server.request("HEAD", stream)).await;
    assert_eq!((answered.status, headers(&answered)), (200, OF_STREAMS));
    // Errors of the handler, and of the guard in front of it.
    let answered = server.get(&format!("{stream}?limit=x")).await;
    answered.problem(400, "bad-request");
    assert_eq!(headers(&answered), OF_STREAMS);
    let strange = server.request("GET", stream).header("Host", "evil.example");
    let answered = send(strange).await;
    answered.problem(403, "forbidden");
    assert_eq!(headers(&answered), OF_STREAMS);
    let other = send(server.post(stream, "{}")).await;
    assert_eq!(headers(&other), [""; 3]);
}

#[tokio::test]
async fn a_deprecated_parameter_is_named_only_where_it_is_used() {
    let server = server(EXAMPLES).await;
    for (path, expected) in [
        ("/v1/events", [""; 3]),
        ("/v1/events?limit=1", OF_LIMIT),
        ("/v1/events?%6cimit=1", OF_LIMIT),
        ("/v1/events?limit=x", OF_LIMIT),
        ("/v1/streams?limit=1", [""; 3]),
        ("/v1/nothing?limit=1", [""; 3]),
    ] {
        assert_eq!(headers(&server.get(path).await), expected, "{path}");
    }
}

#[tokio::test]
async fn the_description_marks_what_is_deprecated() {
    let server = server(EXAMPLES).await;
    let description = server.get("/openapi.json").await.ok();
    assert_eq!(missing(&description, EXAMPLES), [""; 0]);
    let stream = &description["paths"]["/v1/streams/{stream}/events"];
    assert_eq!(stream["head"]["deprecated"], true);
    assert_eq!(stream["post"]["deprecated"], Value::Null);
    let said = stream["get"]["description"].as_str().unwrap();
    let notice = "Deprecated since 2026-02-01, removed on 2026-09-01 or later; \
                  https://example.com/streams describes what replaces it.";
    assert!(said.ends_with(notice), "{said}");
    // What the description does not have is found.
    let wrong = [
        Deprecation {
            path: "/v1/nothing",
            ..EXAMPLES[0]
        },
        Deprecation {
            parameter: Some("nothing"),
            ..EXAMPLES[0]
        },
    ];
    assert_eq!(missing(&description, &wrong).len(), 2);
}

#[test]
fn every_deprecated_operation_and_parameter_exists() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    assert_eq!(missing(&description, DEPRECATED), [""; 0]);
    for entry in DEPRECATED {
        // docs/src/operating/stability.md promises six months.
        let months = |day: Date| i32::from(day.year()) * 12 + i32::from(day.month());
        assert!(months(entry.removal) > months(entry.since) + 6, "{entry:?}");
        assert!(entry.link.bytes().all(|it| it.is_ascii_graphic()));
    }
}
