//! Types of events: those declared by modules and those in the store.

use quipu::model::NewEvent;
use quipu_tests::build::{append, event, stream};
use quipu_tests::{examples, guest};
use serde_json::{Value, json};

use crate::server::{Server, send};

async fn appended(server: &Server, to: &str, events: Vec<NewEvent>) {
    server
        .host
        .append(&stream(to), append(events))
        .await
        .unwrap();
}

async fn types(server: &Server, query: &str) -> Vec<Value> {
    let list = server.get(&format!("/v1/types{query}")).await.ok();
    list["types"].as_array().unwrap().clone()
}

fn named<'a>(types: &'a [Value], name: &str) -> &'a Value {
    let found = types.iter().find(|known| known["type"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {types:?}"))
}

/// The type, schema version, number of events, and how they are read.
fn stored(known: &Value) -> Vec<(String, u64, u64, String)> {
    let form = |form: &Value| {
        (
            form["type"].as_str().unwrap().to_owned(),
            form["schema_version"].as_u64().unwrap(),
            form["events"].as_u64().unwrap(),
            form["read"].as_str().unwrap().to_owned(),
        )
    };
    known["stored"]
        .as_array()
        .unwrap()
        .iter()
        .map(form)
        .collect()
}

fn form(name: &str, version: u64, events: u64, read: &str) -> Vec<(String, u64, u64, String)> {
    vec![(name.to_owned(), version, events, read.to_owned())]
}

#[tokio::test]
async fn a_type_shows_its_writers_and_its_stored_forms() {
    let server = Server::bank().await.opened().await;
    let types = types(&server, "").await;
    let names: Vec<&str> = types
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["closed", "deposited", "opened", "withdrawn"]);
    let opened = named(&types, "opened");
    assert_eq!(opened["category"], "account");
    assert_eq!(
        (&opened["schema_version"], &opened["known"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        (&opened["aliases"], &opened["steps"]),
        (&json!([]), &json!([]))
    );
    let writer = &opened["written_by"][0];
    assert_eq!(
        (&writer["name"], &writer["version"]),
        (&json!("account"), &json!("0.1.0"))
    );
    assert_eq!(writer["digest"].as_str().unwrap().len(), 64);
    let reader = &opened["read_by"][0];
    assert_eq!(
        (&reader["digest"], &reader["schema_version"]),
        (&writer["digest"], &json!(1))
    );
    assert_eq!(stored(opened), form("opened", 1, 1, "stored"));
    let one = &opened["stored"][0];
    assert_eq!(one["content_type"], "application/json");
    assert_eq!(
        (&one["oldest"]["position"], &one["oldest"]),
        (&json!(1), &one["newest"])
    );
    assert!(
        one["oldest"]["recorded_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(named(&types, "closed")["stored"], json!([]));
}

#[tokio::test]
async fn older_forms_are_listed_under_the_type_they_are_read_as() {
    let server = Server::empty().await;
    let names = [
        "application-submitted",
        "application-partly-submitted",
        "application-preaccepted",
        "application-preaccepted",
    ];
    let mut events: Vec<NewEvent> = names.iter().map(|name| event(name, "{}")).collect();
    events[3].schema_version = 9;
    events.push(event("mystery", "{}"));
    appended(&server, "loan-1", events).await;
    examples::deploy(&server.host, examples::loan_v2()).await;
    let types = types(&server, "?category=loan").await;

    let submitted = named(&types, "application-submitted");
    assert_eq!(submitted["schema_version"], 2);
    assert_eq!(
        stored(submitted),
        form("application-submitted", 1, 1, "lifted")
    );
    let step = &submitted["steps"][0];
    assert_eq!(
        step["from"],
        json!({"type": "application-submitted", "schema_version": 1})
    );
    assert_eq!(
        step["to"],
        json!([{"type": "application-submitted", "schema_version": 2}])
    );
    assert_eq!(step["module"], submitted["written_by"][0]);

    let shortlisted = named(&types, "application-shortlisted");
    assert_eq!(shortlisted["aliases"], json!(["application-preaccepted"]));
    let older = [
        form("application-preaccepted", 1, 1, "renamed"),
        form("application-preaccepted", 9, 1, "too-new"),
    ];
    assert_eq!(stored(shortlisted), older.concat());

    let partly = named(&types, "application-partly-submitted");
    assert_eq!(
        (&partly["schema_version"], &partly["known"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(
        stored(partly),
        form("application-partly-submitted", 1, 1, "lifted")
    );
    assert_eq!(
        named(&types, "application-checked")["steps"],
        partly["steps"]
    );

    let mystery = named(&types, "mystery");
    assert_eq!(
        (&mystery["known"], &mystery["written_by"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(stored(mystery), form("mystery", 1, 1, "unknown"));
}

#[tokio::test]
async fn a_category_without_a_decider_is_listed_as_stored() {
    let server = Server::empty().await;
    assert!(types(&server, "").await.is_empty());
    appended(
        &server,
        "note-1",
        vec![event("noted", "{}"), event("noted", "{}")],
    )
    .await;
    appended(&server, "memo-1", vec![event("noted", "{}")]).await;
    send(server.request("POST", "/v1/streams/memo-1/archive"))
        .await
        .ok();
    let all = types(&server, "").await;
    let known: Vec<_> = all
        .iter()
        .map(|it| (it["category"].as_str().unwrap(), it["known"].clone()))
        .collect();
    let expected = [
        ("$streams", json!(true)),
        ("memo", json!(false)),
        ("note", json!(false)),
    ];
    assert_eq!(known, expected);
    assert_eq!(stored(&all[2]), form("noted", 1, 2, "stored"));

    let upcaster = guest::component_of("note-lifter", "upcaster-guest");
    examples::deploy(&server.host, upcaster).await;
    let notes = types(&server, "?category=note").await;
    let noted = named(&notes, "noted");
    assert_eq!(
        (&noted["known"], &noted["schema_version"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        (&noted["written_by"], &noted["steps"][0]["to"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(stored(noted), form("noted", 1, 2, "lifted"));
    assert_eq!(named(&notes, "broken")["stored"], json!([]));
}

#[tokio::test]
async fn invalid_parameters_of_the_list_of_types_are_refused() {
    let server = Server::bank().await;
    for (query, said) in [
        ("category=", "category"),
        ("category=a%00", "control character"),
        ("category=a&category=b", "more than once"),
        ("type=opened", "type"),
        ("limit=1", "limit"),
    ] {
        let answer = server.get(&format!("/v1/types?{query}")).await;
        let problem = answer.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{query}: {detail}");
    }
    assert!(types(&server, "?category=nobody").await.is_empty());
}
