//! Asking a host: `trace`, `top` and `mcp`.

use serde_json::{Value, json};

use crate::program::Served;

/// Opens an account, and fails to withdraw from it.
fn used(host: &Served) {
    let open = [
        "execute",
        "account-1",
        "open",
        "{\"owner\":\"ann\"}",
        "--id",
        "o-1",
    ];
    host.run(&open).ok();
    let withdraw = [
        "execute",
        "account-1",
        "withdraw",
        "{\"amount\":9000}",
        "--id",
        "w-1",
    ];
    assert_eq!(host.run(&withdraw).code, 3);
}

#[test]
fn causes_and_consequences_are_shown_as_a_tree() {
    let host = Served::start();
    used(&host);
    let said = host.run(&["trace", "o-1"]).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "command o-1: 1 event");
    assert!(lines[1].starts_with("account-1 v1 opened *  "), "{said}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let said = host.run(&["trace", "w-1"]).ok();
    assert!(said.contains("account-1 v1 withdraw rejected: "), "{said}");
    let json: Value = serde_json::from_str(&host.run(&["trace", "1", "--json"]).ok()).unwrap();
    assert_eq!(json["entries"][0]["command_id"], "o-1");
    host.run(&["trace", "nothing"]).fails(1, "event-not-found");
    host.run(&["trace", "1", "--limit", "0"]).fails(2, "limit");
}

#[test]
fn a_command_can_be_tried_without_executing_it() {
    let host = Served::start();
    used(&host);
    let deposit = [
        "execute",
        "account-1",
        "deposit",
        "{\"amount\":1200}",
        "--dry-run",
    ];
    let said = host.run(&deposit).ok();
    for part in [
        "account-1 is at version 1; the command would add 1 event",
        "deposited",
        "/balance",
        "1200",
        "nothing was stored",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let said = host.run(&[&deposit[..], &["--json"]].concat()).ok();
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["state_after"]["balance"], 1200);
    let withdraw = [
        "execute",
        "account-1",
        "withdraw",
        "{\"amount\":1}",
        "--dry-run",
    ];
    host.run(&withdraw).fails(3, "rejected");
    let both = [&deposit[..], &["--id", "d-1"]].concat();
    host.run(&both).fails(2, "--dry-run");
    let events = host.run(&["stream", "account-1", "--json"]).ok();
    assert_eq!(events.lines().count(), 1, "{events}");
}

#[test]
fn a_command_is_proposed_previewed_and_approved() {
    let host = Served::start();
    used(&host);
    let deposit = ["execute", "account-1", "deposit", "{\"amount\":5}"];
    let options = [
        "--propose",
        "--note",
        "order 7",
        "--expires",
        "2h",
        "--id",
        "p-1",
    ];
    let propose = [&deposit[..], &options].concat();
    let output = host.run(&propose).ok();
    for part in ["open", "order 7", "p-1", "deposited"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let json: Value =
        serde_json::from_str(&host.run(&[&propose[..], &["--json"]].concat()).ok()).unwrap();
    let number = json["number"].to_string();
    let expires = json["expires_at"].as_str().unwrap();
    assert!(expires > json["proposed_at"].as_str().unwrap(), "{json}");
    let output = host.run(&["proposal", "preview", &number]).ok();
    assert!(output.contains("would add 1 event"), "{output}");
    host.run(&["proposal", "preview", "999"])
        .fails(1, "there is no proposal 999");
    let withdraw = [
        "execute",
        "account-1",
        "withdraw",
        "{\"amount\":1000}",
        "--propose",
    ];
    host.run(&withdraw).fails(3, "rejected");
    for (options, message) in [
        (&["--note", "x"][..], "--propose"),
        (&["--propose", "--dry-run"], "--dry-run"),
        (&["--propose", "--expires", "soon"], "neither a time"),
    ] {
        host.run(&[&deposit[..], options].concat())
            .fails(2, message);
    }
    let past = [
        &deposit[..],
        &["--propose", "--expires", "2020-01-01T00:00:00Z"],
    ]
    .concat();
    host.run(&past).fails(2, "expires");
    let output = host.run(&["proposal", "approve", &number]).ok();
    assert!(output.contains("executed; version 2"), "{output}");
}

#[test]
fn top_shows_what_happens_between_two_samples() {
    let host = Served::start();
    used(&host);
    let said = host.run(&["top", "--once", "--interval", "1"]).ok();
    for part in [
        "quipu ", "plan 2", "commands", "commits", "events", "faults",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let said = host
        .run(&["top", "--once", "--json", "--interval", "1"])
        .ok();
    let figures: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(figures["plan"], 2);
    assert!(
        figures["commands_per_second"]["accepted"].is_number(),
        "{said}"
    );
    assert!(figures["seconds"].as_f64().unwrap() > 0.0);
    host.run(&["top", "--interval", "0"]).fails(2, "--interval");
}

/// Messages of a client, each with an id.
fn messages(messages: &[Value]) -> String {
    let lines = messages.iter().enumerate().map(|(id, message)| {
        let mut message = message.clone();
        message["jsonrpc"] = "2.0".into();
        if !message["method"]
            .as_str()
            .unwrap()
            .starts_with("notifications/")
        {
            message["id"] = id.into();
        }
        format!("{message}\n")
    });
    lines.collect()
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn begin() -> [Value; 2] {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    [
        json!({"method": "initialize", "params": params}),
        json!({"method": "notifications/initialized"}),
    ]
}

fn answers(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn agents_read_over_stdin_and_write_only_in_the_mode_act() {
    let host = Served::start();
    used(&host);
    let [initialize, initialized] = begin();
    let deposit = json!({"key": "1", "data": {"amount": 5}});
    let requests = [
        initialize,
        initialized,
        json!({"method": "tools/list"}),
        call("read_stream", &json!({"stream": "account-1"})),
        call("explain_rejection", &json!({"command_id": "w-1"})),
        call("command_account_deposit", &deposit),
    ];
    let text = messages(&requests);
    let said = answers(&host.run_with(&["mcp"], &text).ok());
    assert_eq!(said.len(), 5);
    assert_eq!(said[0]["result"]["serverInfo"]["name"], "quipu");
    for tool in said[1]["result"]["tools"].as_array().unwrap() {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
    }
    let events = &said[2]["result"]["structuredContent"]["events"];
    assert_eq!(events[0]["type"], "opened");
    let met = &said[3]["result"]["structuredContent"]["state_met"];
    assert_eq!(met["version"], 1);
    assert_eq!(said[4]["error"]["code"], -32602);
    let said = answers(&host.run_with(&["mcp", "--mode", "act"], &text).ok());
    let done = &said[4]["result"]["structuredContent"];
    assert_eq!(done["version"], 2, "{done}");
    // The host itself has no tools unless they are configured.
    host.run(&["mcp", "--mode", "write"]).fails(2, "write");
}

#[test]
fn what_is_not_a_message_is_answered_and_the_session_goes_on() {
    let host = Served::start();
    let [initialize, _] = begin();
    let early = messages(&[json!({"method": "tools/list"})]);
    let long = "x".repeat(2 << 20);
    let good = messages(&[initialize, json!({"method": "ping"})]);
    let text = format!("{early}\nnot json\n[]\n{long}\n{good}");
    let said = answers(&host.run_with(&["mcp"], &text).ok());
    let codes: Vec<_> = said.iter().map(|it| it["error"]["code"].as_i64()).collect();
    let expected = [
        Some(-32600),
        Some(-32700),
        Some(-32600),
        Some(-32600),
        None,
        None,
    ];
    assert_eq!(codes, expected);
    assert_eq!(said[5]["result"], json!({}));
}

#[test]
fn tools_have_the_rights_of_the_token_and_say_when_nobody_answers() {
    let host = Served::start();
    let made = host
        .run(&["token", "create", "probe", "--role", "scraper"])
        .ok();
    let token = made
        .split_whitespace()
        .find(|word| word.starts_with("qp_"))
        .unwrap();
    let [initialize, _] = begin();
    let text = messages(&[
        initialize,
        call("status", &json!({})),
        call("read_log", &json!({})),
    ]);
    let said = answers(&host.run_with(&["mcp", "--token", token], &text).ok());
    assert_eq!(said[1]["result"]["isError"], false);
    assert_eq!(said[2]["result"]["structuredContent"]["code"], "forbidden");
    let args = ["mcp", "--url", "http://127.0.0.1:9"];
    let said = answers(&host.run_with(&args, &text).ok());
    assert_eq!(said[1]["result"]["isError"], true);
    let why = said[1]["result"]["content"][0]["text"].as_str().unwrap();
    assert!(why.contains("no host answers"), "{why}");
}
