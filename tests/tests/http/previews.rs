//! Commands that are decided and not executed.

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{get, token};
use crate::server::{Answered, Server, send};

on_every_store!(
    a_preview_has_the_events_and_both_states_and_stores_nothing,
    a_rejection_of_a_preview_is_not_stored,
    a_preview_has_the_errors_of_an_execution,
    a_proposal_is_previewed_on_the_state_of_now,
);

const EVENTS: &str = "/v1/streams/account-1/events";

async fn bank(place: &Place) -> Server {
    let server = Server::start(place.bank().await, Options::default()).await;
    server.opened().await
}

async fn ask(server: &Server, stream: &str, action: &str, command: &Value) -> Answered {
    let path = format!("/v1/streams/{stream}/{action}");
    send(server.post(&path, &command.to_string())).await
}

async fn preview(server: &Server, stream: &str, command: &Value) -> Answered {
    ask(server, stream, "preview", command).await
}

async fn a_preview_has_the_events_and_both_states_and_stores_nothing(place: Place) {
    let server = bank(&place).await;
    let before = server.get(EVENTS).await.ok();
    let deposit = json!({"type": "deposit", "data": {"amount": 7}});
    let shown = preview(&server, "account-1", &deposit).await.ok();
    assert_eq!(shown["stream"], "account-1");
    assert_eq!(
        (&shown["version"], &shown["command"]),
        (&json!(1), &json!("deposit"))
    );
    assert_eq!(shown["module"].as_str().unwrap().len(), 64);
    assert!(shown["fuel"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(shown["state_before"]["balance"], 0);
    assert_eq!(shown["state_after"]["balance"], 7);
    let [event] = &shown["events"].as_array().unwrap()[..] else {
        panic!("{shown}");
    };
    assert_eq!(server.get(EVENTS).await.ok(), before);
    // A second preview is decided on the same state, an execution leads to what was shown.
    assert_eq!(preview(&server, "account-1", &deposit).await.ok(), shown);
    let executed = ask(&server, "account-1", "commands", &deposit).await.ok();
    for member in ["type", "data"] {
        assert_eq!(executed["events"][0][member], event[member]);
    }
    let state = server.get("/v1/streams/account-1/state").await.ok();
    assert_eq!(state["state"], shown["state_after"]);
    // Before the first event of a stream.
    let open = json!({"type": "open", "data": {"owner": "eve"}});
    let shown = preview(&server, "account-2", &open).await.ok();
    assert_eq!(
        (&shown["version"], &shown["events"][0]["type"]),
        (&json!(0), &json!("opened"))
    );
    assert_eq!(shown["state_before"]["status"], "none");
    assert_ne!(shown["state_after"]["status"], "none");
    server
        .get("/v1/streams/account-2/events")
        .await
        .problem(404, "stream-not-found");
}

async fn a_rejection_of_a_preview_is_not_stored(place: Place) {
    let server = bank(&place).await;
    let withdraw = json!({"type": "withdraw", "data": {"amount": 7}});
    let shown = preview(&server, "account-1", &withdraw).await;
    let shown = shown.problem(422, "rejected");
    let none = server.get("/v1/rejections").await.ok();
    assert_eq!(none["rejections"], json!([]));
    let executed = ask(&server, "account-1", "commands", &withdraw).await;
    let executed = executed.problem(422, "rejected");
    assert_eq!(shown["rejection"], executed["rejection"]);
    let one = server.get("/v1/rejections").await.ok();
    assert_eq!(one["rejections"].as_array().unwrap().len(), 1);
}

async fn a_preview_has_the_errors_of_an_execution(place: Place) {
    let server = bank(&place).await;
    let deposit = json!({"type": "deposit", "data": {"amount": 7}});
    let unreadable = json!({"type": "deposit", "data": {"amount": "x"}});
    let unknown = json!({"type": "unknown", "data": {}});
    for (stream, command) in [
        ("other-1", &deposit),
        ("account-1", &unreadable),
        ("account-1", &unknown),
    ] {
        let shown = preview(&server, stream, command).await;
        let executed = ask(&server, stream, "commands", command).await;
        assert!(shown.status >= 400, "{}", shown.text);
        assert_eq!(shown.status, executed.status, "{}", shown.text);
        assert_eq!(shown.json()["code"], executed.json()["code"]);
    }
    // The version is checked before the decider runs.
    let withdraw = json!({"type": "withdraw", "data": {"amount": 7}}).to_string();
    for action in ["preview", "commands"] {
        let request = server.post(&format!("/v1/streams/account-1/{action}"), &withdraw);
        let other = send(request.header("If-Match", "\"9\"")).await;
        other.problem(412, "wrong-expected-version");
    }
    let archive = server.request("POST", "/v1/streams/account-1/archive");
    send(archive).await.ok();
    let archived = preview(&server, "account-1", &deposit).await;
    let executed = ask(&server, "account-1", "commands", &deposit).await;
    assert_eq!(archived.json()["code"], executed.json()["code"]);
    assert_eq!(archived.status, executed.status);
}

async fn a_proposal_is_previewed_on_the_state_of_now(place: Place) {
    let server = bank(&place).await;
    let agent = token(&server, "agent", Grant::of(Role::Proposer)).await;
    let shop = token(&server, "shop", Grant::of(Role::Client)).await;
    let elsewhere = Grant {
        categories: vec!["elsewhere".to_owned()],
        ..Grant::of(Role::Client)
    };
    let elsewhere = token(&server, "elsewhere", elsewhere).await;
    let command = |name: &str, amount: u64| {
        let body = json!({"type": name, "data": {"amount": amount}}).to_string();
        move |server: &Server, action: &str, token: &str| {
            let path = format!("/v1/streams/account-1/{action}");
            send(server.post(&path, &body).bearer_auth(token))
        }
    };
    command("deposit", 10)(&server, "commands", &shop)
        .await
        .ok();
    let proposed = command("withdraw", 7)(&server, "proposals", &agent).await;
    let proposed = proposed.ok();
    let path = format!("/v1/proposals/{}/preview", proposed["number"]);
    let shown = get(&server, &path, &shop).await.ok();
    assert_eq!(shown["events"], proposed["effect"]["events"]);
    assert_eq!(shown["state_before"]["balance"], 10);
    assert_eq!(shown["state_after"]["balance"], 3);
    get(&server, &path, &elsewhere)
        .await
        .problem(403, "forbidden");
    let limited = Grant {
        categories: vec!["account".to_owned()],
        ..Grant::of(Role::Client)
    };
    let limited = token(&server, "limited", limited).await;
    get(&server, &path, &limited).await.ok();
    command("withdraw", 2)(&server, "commands", &shop)
        .await
        .ok();
    let shown = get(&server, &path, &shop).await.ok();
    assert_eq!(
        (&shown["version"], &shown["state_after"]["balance"]),
        (&json!(3), &json!(1))
    );
    command("withdraw", 2)(&server, "commands", &shop)
        .await
        .ok();
    get(&server, &path, &shop).await.problem(422, "rejected");
    get(&server, "/v1/proposals/999/preview", &shop)
        .await
        .problem(404, "proposal-not-found");
    let state = format!("/v1/proposals/{}", proposed["number"]);
    assert_eq!(get(&server, &state, &shop).await.ok(), proposed);
}
