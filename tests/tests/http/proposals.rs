//! Commands that are proposed, and approved or denied by somebody else.

use quipu::access::{Grant, Role};
use quipu_mcp::Mode;
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{get, token};
use crate::server::{Answered, Server, send};

on_every_store!(
    an_approved_command_is_executed_once_and_the_audit_names_both,
    a_denied_or_expired_proposal_is_never_executed,
    a_command_that_is_rejected_later_has_the_same_result_for_ever,
    who_may_execute_a_command_may_approve_it_and_nobody_its_own,
    an_approval_that_was_not_executed_gives_nobody_else_its_name,
);

async fn bank(place: &Place, options: Options) -> Server {
    let server = Server::start(place.bank().await, options).await;
    server.opened().await
}

async fn role(server: &Server, name: &str, role: Role) -> String {
    token(server, name, Grant::of(role)).await
}

async fn propose(server: &Server, token: &str, name: &str, data: &str, id: &str) -> Answered {
    let body = format!("{{\"type\":\"{name}\",\"data\":{data},\"note\":\"why\"}}");
    let request = server.post("/v1/streams/account-1/proposals", &body);
    let request = request.header("Idempotency-Key", id);
    send(request.bearer_auth(token)).await
}

async fn decide(server: &Server, token: &str, proposal: &Value, action: &str) -> Answered {
    let path = format!("/v1/proposals/{}/{action}", proposal["number"]);
    let request = server.request("POST", &path).bearer_auth(token);
    send(request.header("Quipu-Reason", "checked")).await
}

async fn an_approved_command_is_executed_once_and_the_audit_names_both(place: Place) {
    let server = bank(&place, Options::default()).await;
    let agent = role(&server, "agent", Role::Proposer).await;
    let shop = role(&server, "shop", Role::Client).await;
    let root = role(&server, "root", Role::Admin).await;
    let proposed = propose(&server, &agent, "deposit", "{\"amount\": 7}", "d-1").await;
    let proposed = proposed.ok();
    assert_eq!(proposed["state"], "open");
    assert_eq!(proposed["proposed_by"], "agent");
    assert_eq!(proposed["note"], "why");
    assert_eq!(proposed["effect"]["version"], 1);
    assert_eq!(proposed["effect"]["events"][0]["type"], "deposited");
    assert_eq!(proposed["effect"]["module"].as_str().unwrap().len(), 64);
    let same = propose(&server, &agent, "deposit", "{\"amount\": 7}", "d-1").await;
    assert_eq!(same.ok(), proposed);
    let other = propose(&server, &agent, "deposit", "{\"amount\":8}", "d-1").await;
    other.problem(422, "idempotency-key-reused");
    let stream = "/v1/streams/account-1/events";
    assert_eq!(get(&server, stream, &shop).await.ok()["version"], 1);
    let listed = get(&server, "/v1/proposals?category=account", &shop)
        .await
        .ok();
    assert_eq!(listed["proposals"], json!([proposed]));

    let approved = decide(&server, &shop, &proposed, "approve").await.ok();
    assert_eq!(approved["state"], "executed");
    assert_eq!(approved["result"], json!({"version": 2}));
    assert_eq!(approved["decided_by"], "shop");
    assert_eq!(approved["reason"], "checked");
    for who in [&shop, &root] {
        let repeated = decide(&server, who, &proposed, "approve").await.ok();
        assert_eq!(repeated, approved);
    }
    let events = get(&server, stream, &shop).await.ok();
    assert_eq!(events["version"], 2);
    let commit = &events["events"][1]["commit"];
    assert_eq!(commit["principal"], "shop");
    assert_eq!(commit["command_id"], "d-1");
    let cause = format!("proposal-{}", proposed["number"]);
    assert_eq!(commit["causation_id"], cause);
    decide(&server, &shop, &proposed, "deny")
        .await
        .problem(409, "proposal-closed");
    let open = get(&server, "/v1/proposals", &shop).await.ok();
    assert_eq!(open["proposals"], json!([]));
    let all = get(&server, "/v1/proposals?state=all", &shop).await.ok();
    assert_eq!(all["proposals"], json!([approved]));

    let audit = get(&server, "/v1/audit", &root).await.ok();
    let records = audit["records"].as_array().unwrap();
    let of = |operation: &str| {
        let found = records.iter().find(|it| it["operation"] == operation);
        found.unwrap_or_else(|| panic!("{audit}"))
    };
    assert_eq!(of("propose")["principal"], "agent");
    let approval = of("approve_proposal");
    assert_eq!(approval["principal"], "shop");
    assert_eq!(approval["reason"], "checked");
    let object = approval["object"].as_str().unwrap();
    assert!(
        object.contains("proposed by \"agent\": deposit on account-1"),
        "{object}"
    );
}

async fn an_approval_that_was_not_executed_gives_nobody_else_its_name(place: Place) {
    let server = bank(&place, Options::default()).await;
    let agent = role(&server, "agent", Role::Proposer).await;
    let shop = role(&server, "shop", Role::Client).await;
    let proposed = propose(&server, &agent, "deposit", "{\"amount\": 7}", "d-1").await;
    let proposed = proposed.ok();
    // Its approval was stored, and then the host ended or was overloaded.
    let number = proposed["number"].as_u64().unwrap();
    let proposals = server.host.proposals();
    proposals.approve(number, Some("gone"), None).await.unwrap();
    let approved = decide(&server, &shop, &proposed, "approve").await.ok();
    assert_eq!(
        (&approved["state"], &approved["decided_by"]),
        (&json!("executed"), &json!("shop"))
    );
    let events = get(&server, "/v1/streams/account-1/events", &shop)
        .await
        .ok();
    let commit = &events["events"][1]["commit"];
    assert_eq!(commit["principal"], "shop", "{events}");
}

async fn a_denied_or_expired_proposal_is_never_executed(place: Place) {
    let server = bank(&place, Options::default()).await;
    let agent = role(&server, "agent", Role::Proposer).await;
    let shop = role(&server, "shop", Role::Client).await;
    let denied = propose(&server, &agent, "deposit", "{\"amount\":7}", "d-1").await;
    let denied = denied.ok();
    let path = format!("/v1/proposals/{}/deny", denied["number"]);
    let without = send(server.request("POST", &path).bearer_auth(&shop)).await;
    without.problem(400, "bad-request");
    for _ in 0..2 {
        let answered = decide(&server, &shop, &denied, "deny").await.ok();
        assert_eq!(answered["state"], "denied");
        assert_eq!(answered["decided_by"], "shop");
        assert_eq!(answered["reason"], "checked");
    }
    let closed = decide(&server, &shop, &denied, "approve").await;
    let closed = closed.problem(409, "proposal-closed");
    assert!(closed["detail"].as_str().unwrap().contains("is denied"));

    let body = r#"{"type":"deposit","data":{"amount":7},"expires_in_s":1}"#;
    let request = server.post("/v1/streams/account-1/proposals", body);
    let brief = send(request.bearer_auth(&agent)).await.ok();
    let path = format!("/v1/proposals/{}", brief["number"]);
    let expired = async { while get(&server, &path, &agent).await.ok()["state"] == "open" {} };
    tokio::time::timeout(PATIENCE, expired).await.unwrap();
    for action in ["approve", "deny"] {
        let closed = decide(&server, &shop, &brief, action).await;
        let closed = closed.problem(409, "proposal-closed");
        assert!(closed["detail"].as_str().unwrap().contains("is expired"));
    }
    assert_eq!(get(&server, &path, &agent).await.ok()["state"], "expired");
    let events = get(&server, "/v1/streams/account-1/events", &shop).await;
    assert_eq!(events.ok()["version"], 1);
    let missing = json!({"number": 999});
    for action in ["approve", "deny"] {
        let answered = decide(&server, &shop, &missing, action).await;
        answered.problem(404, "proposal-not-found");
    }
    for wrong in ["0", "2592001"] {
        let body =
            format!("{{\"type\":\"deposit\",\"data\":{{\"amount\":7}},\"expires_in_s\":{wrong}}}");
        let request = server.post("/v1/streams/account-1/proposals", &body);
        send(request.bearer_auth(&agent))
            .await
            .problem(400, "bad-request");
    }
}

async fn a_command_that_is_rejected_later_has_the_same_result_for_ever(place: Place) {
    let server = bank(&place, Options::default()).await;
    let agent = role(&server, "agent", Role::Proposer).await;
    let shop = role(&server, "shop", Role::Client).await;
    // What is rejected now is not stored.
    let refused = propose(&server, &agent, "withdraw", "{\"amount\":5}", "w-0").await;
    let refused = refused.problem(422, "rejected");
    assert!(refused["rejection"]["code"].is_string(), "{refused}");
    let unknown = server.post("/v1/streams/nobody-1/proposals", r#"{"type":"x"}"#);
    let unknown = send(unknown.bearer_auth(&agent)).await;
    unknown.problem(404, "unknown-category");
    let all = get(&server, "/v1/proposals?state=all", &shop).await.ok();
    assert_eq!(all["proposals"], json!([]));

    let command = async |name: &str, data: &str| {
        send(server.command("account-1", name, data).bearer_auth(&shop))
            .await
            .ok()
    };
    command("deposit", "{\"amount\":5}").await;
    let proposed = propose(&server, &agent, "withdraw", "{\"amount\":5}", "w-1").await;
    let proposed = proposed.ok();
    command("withdraw", "{\"amount\":1}").await;
    let failed = decide(&server, &shop, &proposed, "approve").await.ok();
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["result"]["code"], "rejected");
    command("deposit", "{\"amount\":100}").await;
    let repeated = decide(&server, &shop, &proposed, "approve").await.ok();
    assert_eq!(repeated, failed);

    let body = r#"{"type":"deposit","data":{"amount":7}}"#;
    let expecting = || {
        let request = server.post("/v1/streams/account-1/proposals", body);
        request.bearer_auth(&agent)
    };
    let wrong = send(expecting().header("If-Match", "\"1\"")).await;
    wrong.problem(412, "wrong-expected-version");
    let proposed = send(expecting().header("If-Match", "\"4\"")).await.ok();
    assert_eq!(proposed["expected_version"], 4);
    command("deposit", "{\"amount\":1}").await;
    let failed = decide(&server, &shop, &proposed, "approve").await.ok();
    assert_eq!(failed["result"]["code"], "wrong-expected-version");
}

async fn who_may_execute_a_command_may_approve_it_and_nobody_its_own(place: Place) {
    let server = bank(&place, Options::default()).await;
    let shop = role(&server, "shop", Role::Client).await;
    let own = propose(&server, &shop, "deposit", "{\"amount\":7}", "d-1")
        .await
        .ok();
    let denied = decide(&server, &shop, &own, "approve").await;
    let denied = denied.problem(403, "forbidden");
    assert!(denied["detail"].as_str().unwrap().contains("approve_own"));
    for all in Role::ALL {
        let who = role(&server, all.as_str(), *all).await;
        let path = "/v1/streams/account-1/commands";
        let may = send(server.post(path, "{}").bearer_auth(&who)).await.status != 403;
        let path = format!("/v1/proposals/{}/deny", own["number"]);
        // Without a reason nothing is denied.
        let status = send(server.request("POST", &path).bearer_auth(&who))
            .await
            .status;
        assert_eq!(status, if may { 400 } else { 403 }, "{all}");
    }
    let elsewhere = Grant {
        categories: vec!["elsewhere".to_owned()],
        ..Grant::of(Role::Admin)
    };
    let elsewhere = token(&server, "other", elsewhere).await;
    for action in ["approve", "deny"] {
        let answered = decide(&server, &elsewhere, &own, action).await;
        answered.problem(403, "forbidden");
    }
    let path = format!("/v1/proposals/{}", own["number"]);
    get(&server, &path, &elsewhere)
        .await
        .problem(403, "forbidden");
    get(&server, "/v1/proposals?category=account", &elsewhere)
        .await
        .problem(403, "forbidden");
    let limited = Grant {
        categories: vec!["account".to_owned()],
        ..Grant::of(Role::Client)
    };
    let limited = token(&server, "limited", limited).await;
    let approved = decide(&server, &limited, &own, "approve").await.ok();
    assert_eq!(approved["result"]["version"], 2);
}

#[tokio::test]
async fn the_configuration_can_let_callers_approve_their_own_proposals() {
    let options = Options {
        approve_own_proposals: true,
        mcp: Some(Mode::Propose),
        ..Options::default()
    };
    let server = bank(&Place::memory(), options).await;
    let shop = role(&server, "shop", Role::Client).await;
    let own = propose(&server, &shop, "deposit", "{\"amount\":7}", "d-1")
        .await
        .ok();
    let approved = decide(&server, &shop, &own, "approve").await.ok();
    assert_eq!(approved["state"], "executed");
}

#[tokio::test]
async fn what_is_large_or_malformed_is_not_proposed() {
    let server = bank(&Place::memory(), Options::default()).await;
    let post =
        async |body: String| send(server.post("/v1/streams/account-1/proposals", &body)).await;
    let data = "x".repeat(70_000);
    let large = json!({"type": "deposit", "data": {"amount": 1, "note": data}});
    let answered = post(large.to_string()).await;
    assert!([400, 413].contains(&answered.status), "{}", answered.text);
    for note in ["", "a\nb", &"x".repeat(1_025)] {
        let body = json!({"type": "deposit", "data": {"amount": 1}, "note": note});
        post(body.to_string()).await.problem(400, "bad-request");
    }
    for body in ["{}", "[]", "{\"type\":\"deposit\",\"command_id\":\"x\"}"] {
        post(body.to_owned()).await.problem(400, "bad-request");
    }
    let raw = r#"{"type":"deposit","data":{"amount":1.0000000000000000000000}}"#;
    let answered = post(raw.to_owned()).await;
    if answered.status == 200 {
        assert!(answered.text.contains("1.0000000000000000000000"));
    }
    for path in [
        "/v1/proposals?limit=0",
        "/v1/proposals?state=denied",
        "/v1/proposals/x",
    ] {
        server.get(path).await.problem(400, "bad-request");
    }
}
