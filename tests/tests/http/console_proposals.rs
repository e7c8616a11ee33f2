//! Pages of the console about proposals, and decisions on them.

use quipu::access::{Grant, Role};
use quipu_server::{Console, ConsoleMode, Options};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::access::token;
use crate::console::{FORM, browser, check_page, page, session};
use crate::server::{Answered, Server, send};

on_every_store!(
    a_proposal_is_shown_and_decided_by_somebody_else,
    metadata_of_a_proposal_are_shown_within_a_bound,
    text_of_a_proposal_is_inert,
    a_console_that_only_reads_offers_no_decision,
);

async fn bank(place: &Place, mode: ConsoleMode) -> Server {
    let console = Console {
        mode,
        ..Console::default()
    };
    let options = Options {
        console,
        ..Options::default()
    };
    let server = Server::start(place.bank().await, options).await;
    server.opened().await
}

async fn propose(server: &Server, token: &str, data: &Value, note: &str) -> Value {
    let body = json!({"type": "deposit", "data": data, "note": note}).to_string();
    let request = server.post("/v1/streams/account-1/proposals", &body);
    send(request.bearer_auth(token)).await.ok()
}

async fn act(server: &Server, cookie: &str, origin: &str, body: &str) -> Answered {
    let request = browser().post(format!("{}/console/act", server.url));
    let request = request
        .header("Content-Type", FORM)
        .header("Cookie", cookie)
        .header("Origin", origin);
    send(request.body(body.to_owned())).await
}

/// Checks that a page is whole and has texts.
async fn says(server: &Server, path: &str, cookie: &str, texts: &[&str]) -> String {
    let answer = page(server, path, cookie).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    check_page(path, &answer);
    for expected in texts {
        assert!(
            answer.text.contains(expected),
            "{path} lacks {expected}: {}",
            answer.text
        );
    }
    answer.text
}

async fn a_proposal_is_shown_and_decided_by_somebody_else(place: Place) {
    let server = bank(&place, ConsoleMode::Full).await;
    let agent = token(&server, "agent", Grant::of(Role::Proposer)).await;
    let shop = token(&server, "shop", Grant::of(Role::Client)).await;
    let (of_agent, of_shop) = (
        session(&server, &agent).await,
        session(&server, &shop).await,
    );
    let empty = "There is no such proposal";
    says(&server, "/console/proposals", &of_shop, &[empty]).await;
    let first = propose(&server, &agent, &json!({"amount": 7}), "order 7").await;
    propose(&server, &agent, &json!({"amount": 8}), "order 8").await;
    let listed = ["deposited", "agent", "order 7", "order 8", "account-1"];
    says(&server, "/console/proposals", &of_shop, &listed).await;
    let path = format!("/console/proposals/{}", first["number"]);
    let shown = [
        "order 7",
        "agent",
        "deposited",
        "version 1",
        "Approve\u{2026}",
        "Deny\u{2026}",
        "quipu proposal show",
        "The same events as when it was proposed.",
        "/balance",
        "quipu proposal preview",
    ];
    let text = says(&server, &path, &of_shop, &shown).await;
    assert!(!text.contains("The stream has changed"), "{text}");
    let text = says(&server, &path, &of_agent, &["You can't decide it"]).await;
    assert!(!text.contains("Approve\u{2026}"), "{text}");
    let approval = format!(
        "/console/act?what=proposal&name={}&action=approve",
        first["number"]
    );
    let texts = [
        "in your name",
        "deposited",
        "quipu proposal approve",
        "curl -X POST",
        "/approve",
    ];
    says(&server, &approval, &of_shop, &texts).await;

    let approve = format!(
        "what=proposal&name={}&action=approve&reason=checked",
        first["number"]
    );
    let foreign = act(&server, &of_shop, "https://evil.example", &approve).await;
    foreign.problem(403, "forbidden");
    let denied = act(&server, &of_agent, &server.url, &approve).await;
    assert_eq!(denied.status, 403, "{}", denied.text);
    let stream = "/v1/streams/account-1/events";
    let version = async || {
        let request = server.request("GET", stream).bearer_auth(&shop);
        send(request).await.ok()["version"].clone()
    };
    assert_eq!(version().await, 1);
    let done = act(&server, &of_shop, &server.url, &approve).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, &*path),
        "{}",
        done.text
    );
    assert_eq!(version().await, 2);
    let texts = ["executed", "is at version 2", "checked", "shop"];
    let text = says(&server, &path, &of_shop, &texts).await;
    assert!(!text.contains("Approve\u{2026}"), "{text}");

    // The second one was decided on an older state, and is denied.
    let second = format!(
        "/console/proposals/{}",
        first["number"].as_u64().unwrap() + 1
    );
    says(&server, &second, &of_shop, &["The stream has changed"]).await;
    let name = second.rsplit('/').next().unwrap();
    let deny = format!("what=proposal&name={name}&action=deny");
    let without = act(&server, &of_shop, &server.url, &deny).await;
    assert_eq!(without.status, 400, "{}", without.text);
    let deny = format!("{deny}&reason=too+late");
    let done = act(&server, &of_shop, &server.url, &deny).await;
    assert_eq!(done.status, 303, "{}", done.text);
    says(&server, &second, &of_shop, &["denied", "too late"]).await;
    assert_eq!(version().await, 2);

    says(&server, "/console/proposals", &of_shop, &[empty]).await;
    let all = "/console/proposals?state=all";
    says(&server, all, &of_shop, &["order 7", "order 8"]).await;
    let one = "/console/proposals?state=denied&category=account";
    let text = says(&server, one, &of_shop, &["order 8"]).await;
    assert!(!text.contains("order 7"), "{text}");
    for (path, status) in [
        ("/console/proposals/999", 404),
        ("/console/proposals/x", 400),
        ("/console/proposals?before=x", 200),
        ("/console/act?what=proposal&name=1&action=delete", 400),
        ("/console/act?what=proposal&name=x&action=deny", 400),
    ] {
        let answer = page(&server, path, &of_shop).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        check_page(path, &answer);
        assert!(answer.text.contains("class=\"problem\""), "{path}");
    }
}

/// The command is executed with its metadata, so whoever approves it sees them.
async fn metadata_of_a_proposal_are_shown_within_a_bound(place: Place) {
    let server = bank(&place, ConsoleMode::Full).await;
    let shop = token(&server, "shop", Grant::of(Role::Client)).await;
    let agent = token(&server, "agent", Grant::of(Role::Proposer)).await;
    let cookie = session(&server, &shop).await;
    let propose = async |metadata: Value| {
        let body = json!({"type": "deposit", "data": {"amount": 7}, "metadata": metadata});
        let request = server.post("/v1/streams/account-1/proposals", &body.to_string());
        let request = request.header("Quipu-Correlation-Id", "talk-7");
        let proposed = send(request.bearer_auth(&agent)).await.ok();
        assert_eq!(proposed["metadata"], metadata);
        assert_eq!(proposed["correlation_id"], "talk-7");
        proposed["number"].as_u64().unwrap()
    };
    let without = propose(json!({})).await;
    let path = format!("/console/proposals/{without}");
    let text = says(&server, &path, &cookie, &["talk-7"]).await;
    assert!(!text.contains("Metadata"), "{text}");
    let short = propose(json!({"ticket": "T-4711"})).await;
    for path in [
        format!("/console/proposals/{short}"),
        format!("/console/act?what=proposal&name={short}&action=approve"),
    ] {
        says(
            &server,
            &path,
            &cookie,
            &["Metadata of the command", "T-4711"],
        )
        .await;
    }
    // Each `[` is a line of its own, so it is longer on the page than as it was sent.
    let nested = (0..60).fold(json!(0), |inner, _| json!([inner, 0]));
    let long = propose(json!({"nested": vec![nested; 100], "end": "T-4712"})).await;
    let path = format!("/console/proposals/{long}");
    let text = says(&server, &path, &cookie, &["more bytes are not shown"]).await;
    assert!(text.len() < 300_000, "{}", text.len());
}

async fn text_of_a_proposal_is_inert(place: Place) {
    let server = bank(&place, ConsoleMode::Full).await;
    let shop = token(&server, "shop", Grant::of(Role::Client)).await;
    let cookie = session(&server, &shop).await;
    let script = "</code><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\u{202e}";
    let body = json!({"type": "open", "data": {"owner": script}, "metadata": {"why": script}, "note": script});
    let request = server.post("/v1/streams/account-9/proposals", &body.to_string());
    let proposed = send(request.bearer_auth(&shop)).await.ok();
    let number = &proposed["number"];
    for path in [
        "/console/proposals".to_owned(),
        format!("/console/proposals/{number}"),
        format!("/console/act?what=proposal&name={number}&action=deny"),
    ] {
        let text = says(&server, &path, &cookie, &[]).await;
        assert_eq!(text.matches("<script").count(), 1, "{path}");
        assert!(!text.contains("<img"), "{path}");
        assert!(!text.contains('\u{202e}'), "{path}");
    }
    // Nobody approves its own.
    let path = format!("/console/proposals/{number}");
    let text = says(&server, &path, &cookie, &["somebody else must approve it"]).await;
    assert!(!text.contains("Approve\u{2026}"), "{text}");
    assert!(text.contains("Deny\u{2026}"), "{text}");
}

async fn a_console_that_only_reads_offers_no_decision(place: Place) {
    let server = bank(&place, ConsoleMode::Read).await;
    let proposed = server.post(
        "/v1/streams/account-1/proposals",
        r#"{"type":"deposit","data":{"amount":7}}"#,
    );
    let proposed = send(proposed).await.ok();
    let path = format!("/console/proposals/{}", proposed["number"]);
    let text = server.get(&path).await.text;
    assert!(text.contains("quipu proposal"), "{text}");
    assert!(!text.contains("/console/act"), "{text}");
}
