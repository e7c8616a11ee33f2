//! Semantics 4.6: events as lifted for their readers, and as stored.

use quipu_tests::build::{append, event, stream};
use quipu_tests::{examples, guest};
use serde_json::{Value, json};

use crate::server::Server;

/// A loan written by the first generation of its guest, read by the second one.
const OLD: [(&str, &str); 4] = [
    ("application-submitted", "{\"amount\": 5000}"),
    ("application-partly-submitted", "{}"),
    ("application-preaccepted", "{}"),
    ("application-approved", "{\"amount\":4000}"),
];

async fn loan() -> Server {
    let server = Server::empty().await;
    let events = OLD.iter().map(|(name, data)| event(name, data)).collect();
    let loan = stream("loan-1");
    server.host.append(&loan, append(events)).await.unwrap();
    examples::deploy(&server.host, examples::loan_v2()).await;
    server
}

/// Notes of a category whose upcaster drops some events and traps at others.
async fn notes(names: &[&str]) -> Server {
    let server = Server::empty().await;
    let upcaster = guest::component_of("note-lifter", "upcaster-guest");
    examples::deploy(&server.host, upcaster).await;
    let events = names.iter().map(|name| event(name, "{}")).collect();
    let note = stream("note-1");
    server.host.append(&note, append(events)).await.unwrap();
    server
}

/// The version, type, schema version, part, and stored form.
fn forms(page: &Value) -> Vec<(u64, String, u64, Value, Value)> {
    let form = |event: &Value| {
        (
            event["version"].as_u64().unwrap(),
            event["type"].as_str().unwrap().to_owned(),
            event["schema_version"].as_u64().unwrap(),
            event["part"].clone(),
            event["stored_as"].clone(),
        )
    };
    page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(form)
        .collect()
}

fn stored(name: &str) -> Value {
    json!({"type": name, "schema_version": 1})
}

#[tokio::test]
async fn a_lifted_event_shows_its_stored_type_and_version() {
    let server = loan().await;
    let approved = "application-approved";
    let lifted = [
        (
            1,
            "application-submitted",
            2,
            json!(null),
            stored("application-submitted"),
        ),
        (
            2,
            "application-checked",
            1,
            json!(null),
            stored("application-partly-submitted"),
        ),
        (
            3,
            "application-shortlisted",
            1,
            json!(null),
            stored("application-preaccepted"),
        ),
        (4, approved, 2, json!(0), stored(approved)),
        (4, "credit-granted", 1, json!(1), stored(approved)),
    ];
    let lifted = lifted
        .map(|(version, name, form, part, stored)| (version, name.to_owned(), form, part, stored));
    for path in [
        "/v1/streams/loan-1/events",
        "/v1/events",
        "/v1/events?form=lifted",
    ] {
        let page = server.get(path).await.ok();
        assert_eq!(forms(&page), lifted, "{path}");
        let events = page["events"].as_array().unwrap();
        let requested = json!({"requested": {"units": 5000, "currency": "EUR"}});
        assert_eq!(events[0]["data"], requested, "{path}");
        assert_eq!(events[3]["id"], events[4]["id"], "{path}");
        assert!(!events[0].as_object().unwrap().contains_key("part"));
    }
}

#[tokio::test]
async fn events_can_be_read_as_stored() {
    let server = loan().await;
    for path in ["/v1/streams/loan-1/events", "/v1/events"] {
        let answer = server.get(&format!("{path}?form=stored")).await;
        assert!(
            answer.text.contains("{\"amount\": 5000}"),
            "{}",
            answer.text
        );
        let page = answer.ok();
        let names: Vec<String> = forms(&page).into_iter().map(|form| form.1).collect();
        assert_eq!(names, OLD.map(|(name, _)| name), "{path}");
        for event in page["events"].as_array().unwrap() {
            let event = event.as_object().unwrap();
            assert!(!event.contains_key("stored_as") && !event.contains_key("part"));
        }
    }
    for (query, said) in [
        ("form=", "form"),
        ("form=raw", "\"raw\""),
        ("form=stored&form=lifted", "more than once"),
    ] {
        for path in ["/v1/streams/loan-1/events", "/v1/events"] {
            let answer = server.get(&format!("{path}?{query}")).await;
            let problem = answer.problem(400, "bad-request");
            assert!(
                problem["detail"].as_str().unwrap().contains(said),
                "{problem}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_holds_all_parts_of_its_last_event() {
    let server = loan().await;
    let page = server
        .get("/v1/streams/loan-1/events?from=3&limit=2")
        .await
        .ok();
    assert_eq!(forms(&page).len(), 3);
    assert_eq!(page["next"], Value::Null);
    let page = server
        .get("/v1/events?direction=backward&limit=1")
        .await
        .ok();
    assert_eq!(forms(&page).len(), 2);
    assert_eq!(page["next"], 4);
}

#[tokio::test]
async fn a_filter_by_type_includes_older_names() {
    let server = loan().await;
    let versions = async |query: &str| {
        let page = server.get(&format!("/v1/events?{query}")).await.ok();
        let versions = forms(&page).into_iter().map(|form| form.0);
        versions.collect::<Vec<_>>()
    };
    assert_eq!(versions("type=application-checked").await, [2]);
    assert_eq!(versions("type=application-preaccepted").await, [3]);
    assert_eq!(versions("type=credit-granted").await, [4]);
    assert_eq!(versions("type=application-checked&form=stored").await, [2]);
}

#[tokio::test]
async fn one_event_is_shown_as_stored_and_as_lifted() {
    let server = loan().await;
    let approved = server.get("/v1/events/4").await.ok();
    assert_eq!(approved["type"], "application-approved");
    assert_eq!(approved["schema_version"], 1);
    assert_eq!(approved["data"], json!({"amount": 4000}));
    let credit = json!({"credit": {"units": 4000, "currency": "EUR"}});
    let parts = json!([
        {"type": "application-approved", "schema_version": 2, "part": 0, "data": {}},
        {"type": "credit-granted", "schema_version": 1, "part": 1, "data": credit},
    ]);
    assert_eq!(approved["lifted"], parts);
    assert_eq!(approved.get("not_lifted"), None);
    let renamed = server.get("/v1/events/3").await.ok();
    let renamed_to = json!([
        {"type": "application-shortlisted", "schema_version": 1, "data": {}},
    ]);
    assert_eq!(renamed["lifted"], renamed_to);
}

#[tokio::test]
async fn a_dropped_event_is_shown_by_position_and_left_out_of_pages() {
    let server = notes(&["noted", "kept", "noted"]).await;
    let page = server.get("/v1/streams/note-1/events").await.ok();
    let expected = (2, "kept".to_owned(), 1, Value::Null, Value::Null);
    assert_eq!(forms(&page), [expected]);
    assert_eq!((&page["version"], &page["next"]), (&json!(3), &Value::Null));
    let page = server.get("/v1/events?form=stored").await.ok();
    assert_eq!(forms(&page).len(), 3);
    let dropped = server.get("/v1/events/1").await.ok();
    assert_eq!(dropped["lifted"], json!([]));
    let event = server.get("/v1/events/2").await.ok();
    assert_eq!(event.get("lifted"), None);
}

#[tokio::test]
async fn an_event_that_cannot_be_lifted_can_be_read_as_stored() {
    let server = notes(&["kept", "broken"]).await;
    // A page of the log ends before it, and the next page reports why.
    let page = server.get("/v1/events").await.ok();
    assert_eq!((forms(&page).len(), &page["next"]), (1, &json!(1)));
    for path in ["/v1/streams/note-1/events", "/v1/events?after=1"] {
        let problem = server.get(path).await.problem(502, "guest-fault");
        assert_eq!(problem["component"], "notes");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("form=stored"), "{detail}");
    }
    for path in ["/v1/streams/note-1/events", "/v1/events"] {
        let page = server.get(&format!("{path}?form=stored")).await.ok();
        assert_eq!(forms(&page).len(), 2);
    }
    let broken = server.get("/v1/events/2").await.ok();
    assert_eq!(broken["type"], "broken");
    assert_eq!(broken.get("lifted"), None);
    assert!(!broken["not_lifted"].as_str().unwrap().is_empty());
}
