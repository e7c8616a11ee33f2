use quipu_tests::build::{append, events, stream};
use serde_json::json;

use crate::server::{Server, send};

async fn noted(streams: &[(&str, usize)]) -> Server {
    let server = Server::empty().await;
    for (id, count) in streams {
        server
            .host
            .append(&stream(id), append(events(*count)))
            .await
            .unwrap();
    }
    server
}

fn versions(page: &serde_json::Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["version"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn an_event_has_every_member_of_the_contract() {
    let server = noted(&[("note-1", 1)]).await;
    let event = server.get("/v1/events/1").await.ok();
    let names: Vec<&str> = event
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for name in [
        "id",
        "stream",
        "version",
        "position",
        "type",
        "schema_version",
        "data",
        "metadata",
        "tags",
        "recorded_at",
        "commit",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names.len(), 11);
    assert!(event["recorded_at"].as_str().unwrap().ends_with('Z'));
    server
        .get("/v1/events/2")
        .await
        .problem(404, "event-not-found");
    server
        .get("/v1/events/0")
        .await
        .problem(404, "event-not-found");
}

#[tokio::test]
async fn a_stream_is_read_in_pages_in_both_directions_with_its_version_as_etag() {
    let server = noted(&[("note-1", 5)]).await;
    let first = server.get("/v1/streams/note-1/events?limit=2").await;
    assert_eq!(first.header("etag"), "\"5\"");
    let page = first.ok();
    assert_eq!((versions(&page), &page["next"]), (vec![1, 2], &json!(3)));
    let page = server.get("/v1/streams/note-1/events?from=4").await.ok();
    assert_eq!((versions(&page), &page["next"]), (vec![4, 5], &json!(null)));
    let page = server
        .get("/v1/streams/note-1/events?direction=backward&limit=2")
        .await
        .ok();
    assert_eq!((versions(&page), &page["next"]), (vec![5, 4], &json!(3)));
    server
        .get("/v1/streams/note-2/events")
        .await
        .problem(404, "stream-not-found");
}

#[tokio::test]
async fn the_log_is_filtered_and_reports_its_end() {
    let server = noted(&[("a-1", 2), ("b-1", 1), ("c-1", 1)]).await;
    let read = async |query: &str| {
        let page = server.get(&format!("/v1/events{query}")).await.ok();
        assert_eq!(page["head"], 4);
        let events = page["events"].as_array().unwrap();
        let position = |event: &serde_json::Value| event["position"].as_u64().unwrap();
        events.iter().map(position).collect::<Vec<_>>()
    };
    assert_eq!(read("").await, [1, 2, 3, 4]);
    assert_eq!(read("?after=2").await, [3, 4]);
    assert_eq!(read("?category=a&category=c").await, [1, 2, 4]);
    assert_eq!(read("?type=noted&limit=1").await, [1]);
    assert_eq!(read("?type=other").await, [0; 0]);
    assert_eq!(read("?prefix=b-").await, [3]);
    assert_eq!(read("?direction=backward&limit=2").await, [4, 3]);
    assert_eq!(read("?direction=backward&after=3").await, [2, 1]);
    let page = server.get("/v1/events?limit=3").await.ok();
    assert_eq!(page["next"], 3);
}

#[tokio::test]
async fn a_read_ends_at_a_bound_in_both_directions() {
    let server = noted(&[("note-1", 5), ("other-1", 1)]).await;
    let read = async |query: &str| {
        let path = format!("/v1/streams/note-1/events?{query}");
        let page = server.get(&path).await.ok();
        assert_eq!(page["version"], 5);
        (versions(&page), page["next"].as_u64())
    };
    assert_eq!(read("to=3").await, (vec![1, 2, 3], None));
    assert_eq!(read("to=3&limit=2").await, (vec![1, 2], Some(3)));
    assert_eq!(read("from=2&to=3").await, (vec![2, 3], None));
    assert_eq!(read("from=4&to=3").await, (vec![], None));
    assert_eq!(read("direction=backward&to=3").await, (vec![3, 2, 1], None));
    let newest = read("direction=backward&limit=1").await;
    assert_eq!(newest, (vec![5], Some(4)));
    let log = async |query: &str| {
        let page = server.get(&format!("/v1/events?{query}")).await.ok();
        assert_eq!(page["head"], 6);
        let events = page["events"].as_array().unwrap().iter();
        let found: Vec<u64> = events.map(|it| it["position"].as_u64().unwrap()).collect();
        (found, page["next"].as_u64())
    };
    assert_eq!(log("to=2").await, (vec![1, 2], None));
    assert_eq!(log("to=2&limit=2").await, (vec![1, 2], None));
    assert_eq!(log("to=2&limit=1").await, (vec![1], Some(1)));
    assert_eq!(log("after=2&to=2").await, (vec![], None));
    assert_eq!(log("to=0").await, (vec![], None));
    assert_eq!(log("category=other&to=5").await, (vec![], None));
    assert_eq!(log("direction=backward&to=3").await, (vec![3, 2, 1], None));
    let before = log("direction=backward&to=3&after=3").await;
    assert_eq!(before, (vec![2, 1], None));
    assert_eq!(log("direction=backward&limit=1").await.0, [6]);
}

#[tokio::test]
async fn excluded_events_are_left_out() {
    let server = noted(&[("a-1", 2), ("b-1", 1), ("c-1", 1)]).await;
    let body = r#"{"events":[{"type":"seen","data":1,"tags":["x:1"]}]}"#;
    send(server.post("/v1/streams/c-2/events", body)).await.ok();
    let read = async |query: &str| {
        let page = server.get(&format!("/v1/events?{query}")).await.ok();
        let events = page["events"].as_array().unwrap().iter();
        let position = |event: &serde_json::Value| event["position"].as_u64().unwrap();
        events.map(position).collect::<Vec<_>>()
    };
    assert_eq!(read("not_category=a").await, [3, 4, 5]);
    assert_eq!(read("not_category=a&not_category=b").await, [4, 5]);
    assert_eq!(read("not_type=noted").await, [5]);
    assert_eq!(read("not_prefix=c-2&not_prefix=a").await, [3, 4]);
    assert_eq!(read("not_tag=x:1").await, [1, 2, 3, 4]);
    assert_eq!(read("category=c&not_type=noted").await, [5]);
    assert_eq!(read("not_category=a&direction=backward&limit=1").await, [5]);
}

#[tokio::test]
async fn a_reader_that_has_the_current_version_gets_304() {
    let server = Server::bank().await.opened().await;
    for path in [
        "/v1/streams/account-1/events",
        "/v1/streams/account-1/events?form=stored&direction=backward&limit=1",
        "/v1/streams/account-1/state",
    ] {
        let seen = |tag: &str| send(server.request("GET", path).header("If-None-Match", tag));
        for tag in ["\"1\"", "W/\"1\"", "1", "*", "\"7\", \"1\""] {
            let answer = seen(tag).await;
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (304, ""),
                "{path} {tag}"
            );
            assert_eq!(answer.header("etag"), "\"1\"");
        }
        for tag in ["\"0\"", "\"2\"", "\"abc\"", ""] {
            let answer = seen(tag).await;
            assert_eq!(answer.header("etag"), "\"1\"", "{path} {tag}");
            answer.ok();
        }
    }
    let missing = server.request("GET", "/v1/streams/account-9/events");
    let missing = send(missing.header("If-None-Match", "*")).await;
    missing.problem(404, "stream-not-found");
    let past = server.request("GET", "/v1/streams/account-1/state?at_version=1");
    send(past.header("If-None-Match", "\"1\"")).await.ok();
    let wrong = server.request("GET", "/v1/streams/account-1/events?limit=0");
    let wrong = send(wrong.header("If-None-Match", "\"1\"")).await;
    wrong.problem(400, "bad-request");
}

#[tokio::test]
async fn every_answer_about_a_stream_has_its_version_as_etag() {
    let server = Server::bank().await.opened().await;
    for (path, body) in [
        ("archive", ""),
        ("archive", ""),
        ("restore", ""),
        ("snapshot", ""),
        ("truncate", "{\"before\":0}"),
    ] {
        let answer = send(server.post(&format!("/v1/streams/account-1/{path}"), body)).await;
        assert_eq!(answer.header("etag"), "\"1\"", "{path}: {}", answer.text);
        answer.ok();
    }
    for path in ["events", "state", "state?at_version=1"] {
        let tag = server.get(&format!("/v1/streams/account-1/{path}")).await;
        let of_now = !path.contains("at_version");
        assert_eq!(tag.header("etag") == "\"1\"", of_now, "{path}");
    }
}

#[tokio::test]
async fn a_read_that_begins_after_the_end_is_refused() {
    let server = noted(&[("note-1", 3), ("other-1", 1)]).await;
    let of_log = "position 100 of the log does not exist, the last one is 4";
    let of_stream = "version 99 of stream note-1 does not exist, the last one is 3";
    for (path, said) in [
        ("/v1/events?after=100", of_log),
        ("/v1/events?after=100&category=note&to=200", of_log),
        ("/v1/events?after=100&form=stored", of_log),
        ("/v1/export?after=100", of_log),
        ("/v1/streams/note-1/events?from=100", of_stream),
        ("/v1/streams/note-1/events?from=100&form=stored", of_stream),
    ] {
        let lines = server.request("GET", path);
        let lines = lines.header("Accept", "application/x-ndjson");
        for answer in [server.get(path).await, send(lines).await] {
            let problem = answer.problem(400, "bad-request");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(said), "{path}: {detail}");
        }
    }
    for (path, events) in [
        ("/v1/events?after=4", 0),
        ("/v1/events?after=3&to=100", 1),
        ("/v1/events?after=100&direction=backward", 4),
        ("/v1/streams/note-1/events?from=4", 0),
        ("/v1/streams/note-1/events?from=3&to=100", 1),
        ("/v1/streams/note-1/events?from=100&direction=backward", 3),
    ] {
        let page = server.get(path).await.ok();
        let found = page["events"].as_array().unwrap().len();
        assert_eq!(found, events, "{path}");
        let lines = server.request("GET", path);
        let lines = lines.header("Accept", "application/x-ndjson");
        // The last line is the end.
        assert_eq!(send(lines).await.lines().len(), events + 1, "{path}");
    }
    server
        .get("/v1/streams/note-9/events?from=100")
        .await
        .problem(404, "stream-not-found");
}

#[tokio::test]
async fn invalid_limits_and_unknown_parameters_are_refused_by_name() {
    let server = noted(&[("note-1", 1)]).await;
    for (path, said) in [
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=1001", "limit"),
        ("/v1/events?limit=1&limit=2", "limit"),
        ("/v1/events?after=-1", "after"),
        ("/v1/events?after=9223372036854775808", "after"),
        ("/v1/events?direction=up", "direction"),
        ("/v1/events?category=", "category"),
        ("/v1/events?prefix=", "prefix"),
        ("/v1/events?tag=", "tag"),
        ("/v1/events?tag=plain", "name:value"),
        ("/v1/events?tag=a:b%00", "name:value"),
        ("/v1/events?category=a%00", "control character"),
        ("/v1/events?prefix=a%00", "control character"),
        ("/v1/events?not_category=", "not_category"),
        ("/v1/events?not_type=", "not_type"),
        ("/v1/events?not_prefix=", "not_prefix"),
        ("/v1/events?not_tag=plain", "name:value"),
        ("/v1/events?not_category=a%00", "control character"),
        ("/v1/events?to=-1", "to"),
        ("/v1/events?to=1&to=2", "to"),
        ("/v1/streams/note-1/events?to=x", "to"),
        ("/v1/events?archived=only", "archived"),
        ("/v1/events?archived=no", "archived"),
        ("/v1/events/x", "position"),
        ("/v1/streams/note-1/events?from=0", "begin at 1"),
        ("/v1/streams/note-1/events?after=1", "after"),
        ("/v1/modules?x=1", "x"),
        ("/v1/modules/abc", "digest"),
    ] {
        let problem = server.get(path).await.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{path}: {detail}");
    }
}

#[tokio::test]
async fn the_state_is_rendered_by_the_decider() {
    let server = Server::bank().await.opened().await;
    let state = server.get("/v1/streams/account-1/state").await;
    assert_eq!(state.header("etag"), "\"1\"");
    let state = state.ok();
    assert_eq!(
        state["state"],
        json!({"status": "open", "owner": "ann", "balance": 0})
    );
    assert_eq!(
        (&state["stream"], &state["version"]),
        (&json!("account-1"), &json!(1))
    );
    server
        .get("/v1/streams/account-2/state")
        .await
        .problem(404, "stream-not-found");
    server
        .get("/v1/streams/nobody-1/state")
        .await
        .problem(404, "unknown-category");
}

#[tokio::test]
async fn a_stream_id_is_percent_decoded() {
    let server = noted(&[("dé/p?-a b%", 1)]).await;
    let page = server
        .get("/v1/streams/d%C3%A9%2Fp%3F-a%20b%25/events")
        .await
        .ok();
    assert_eq!(page["stream"], "dé/p?-a b%");
}

#[tokio::test]
async fn an_event_shows_the_command_that_led_to_it() {
    let server = Server::bank().await;
    let open = server
        .command("account-1", "open", "{\"owner\": \"ann\"}")
        .header("Idempotency-Key", "o1")
        .header("Quipu-Correlation-Id", "talk-1");
    send(open).await.ok();
    let event = server.get("/v1/events/1").await;
    assert!(
        event.text.contains("\"data\":{\"owner\": \"ann\"}"),
        "{}",
        event.text
    );
    let event = event.ok();
    let command = &event["command"];
    assert_eq!(
        (&command["id"], &command["type"], &command["schema_version"]),
        (&json!("o1"), &json!("open"), &json!(1))
    );
    assert_eq!(command["data"], json!({"owner": "ann"}));
    assert_eq!(command["metadata"], json!({}));
    assert_eq!(command["correlation_id"], "talk-1");
    assert_eq!(command["seed"].as_str().unwrap().len(), 64);
    let accepted = command["accepted_at"].as_str().unwrap();
    assert!(accepted <= event["recorded_at"].as_str().unwrap());
    assert!(command.get("principal").is_none(), "{command}");
    let append = r#"{"events":[{"type":"noted","data":1}]}"#;
    send(server.post("/v1/streams/note-1/events", append))
        .await
        .ok();
    let event = server.get("/v1/events/2").await.ok();
    assert!(event.get("command").is_none(), "{event}");
}
