use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::{Answer, Method, Request};

/// A host that answers everything with the same, and records what it was asked.
struct Recorder {
    answer: Result<(u16, String), String>,
    requests: Mutex<Vec<Request>>,
}

impl Recorder {
    fn new(status: u16, body: &str) -> Self {
        Self {
            answer: Ok((status, body.to_owned())),
            requests: Mutex::default(),
        }
    }

    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Host for Recorder {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, String>> {
        self.requests.lock().unwrap().push(request);
        let answer = self.answer.clone().map(|(status, body)| Answer {
            status,
            body: body.into_bytes(),
        });
        async move { answer }.boxed()
    }
}

async fn answer(session: &mut Session, message: &str, host: &Recorder) -> Value {
    let answer = session.answer(message.as_bytes(), host).await;
    answer.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

async fn call(mode: Mode, name: &str, arguments: Value, host: &Recorder) -> Value {
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    });
    let mut session = Session::of_request(mode, "1");
    answer(&mut session, &message.to_string(), host).await
}

#[tokio::test]
async fn a_session_is_initialized_first() {
    let host = Recorder::new(200, "{}");
    let mut session = Session::new(Mode::Read, "1.2.3");
    let list = r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#;
    let refused = answer(&mut session, list, &host).await;
    assert_eq!(refused["error"]["code"], -32600);
    assert_eq!(refused["id"], "a");
    let ping = r#"{"jsonrpc":"2.0","id":-7,"method":"ping"}"#;
    let pong = answer(&mut session, ping, &host).await;
    assert_eq!(pong, json!({"jsonrpc": "2.0", "id": -7, "result": {}}));
    for (version, spoken) in [("2025-06-18", "2025-06-18"), ("1999-01-01", VERSIONS[0])] {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        });
        let answer = answer(&mut session, &message.to_string(), &host).await;
        assert_eq!(answer["result"]["protocolVersion"], spoken);
        assert_eq!(answer["result"]["serverInfo"]["version"], "1.2.3");
    }
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(answer(&mut session, initialized, &host).await, Value::Null);
    let listed = answer(&mut session, list, &host).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), catalog::TOOLS.len());
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn what_is_not_a_message_is_refused() {
    let host = Recorder::new(200, "{}");
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}",
        "[".repeat(5_000)
    );
    let large = format!("\"{}\"", "x".repeat(crate::MESSAGE_BYTES_MAX));
    let long_id = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}",
        "i".repeat(300)
    );
    let cases = [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        (&deep, -32700),
        (&large, -32600),
        (&long_id, -32600),
        ("1", -32600),
        ("null", -32600),
        ("[]", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#,
            -32601,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, -32601),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#,
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop_all"}}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status","arguments":[]}}"#,
            -32602,
        ),
    ];
    for (text, code) in cases {
        let mut session = Session::of_request(Mode::Act, "1");
        let answer = session
            .answer(text.as_bytes(), &Recorder::new(500, "x"))
            .await;
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        let shown: String = text.chars().take(80).collect();
        assert_eq!(answer["error"]["code"], code, "{shown} {answer}");
    }
    // Neither a notification nor an answer is answered, whatever it says.
    let mut session = Session::of_request(Mode::Act, "1");
    for text in [
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"status"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{}}"#,
    ] {
        assert_eq!(
            answer(&mut session, text, &host).await,
            Value::Null,
            "{text}"
        );
    }
    assert!(host.requests().is_empty());
    let invalid = session.answer(b"\xff\xfe", &host).await.unwrap();
    assert!(invalid.contains("-32700"), "{invalid}");
}

#[tokio::test]
async fn arguments_are_checked_by_name_and_kind() {
    let host = Recorder::new(200, "{}");
    for (tool, arguments) in [
        ("status", json!({"verbose": true})),
        ("read_stream", json!({})),
        ("read_stream", json!({"stream": 7})),
        ("read_stream", json!({"stream": "x".repeat(2_000)})),
        ("read_stream", json!({"stream": "a-1", "limit": 0})),
        ("read_stream", json!({"stream": "a-1", "limit": 10_000})),
        ("read_stream", json!({"stream": "a-1", "from": -1})),
        ("read_stream", json!({"stream": "a-1", "from": 1.5})),
        ("read_stream", json!({"stream": "a-1", "direction": "up"})),
        ("read_log", json!({"category": "account"})),
        ("read_log", json!({"category": vec!["a"; 200]})),
    ] {
        let answer = call(Mode::Read, tool, arguments.clone(), &host).await;
        assert_eq!(answer["error"]["code"], -32602, "{arguments}");
    }
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn a_result_is_the_answer_byte_for_byte() {
    let body =
        r#"{"events":[{"data":{"n":1.50,"big":123456789012345678901234567890}}],"next":null}"#;
    let host = Recorder::new(200, body);
    let arguments = json!({"after": 3, "category": ["a", "b"], "direction": "backward"});
    let message = json!({
        "jsonrpc": "2.0", "id": "x", "method": "tools/call",
        "params": {"name": "read_log", "arguments": arguments, "_meta": {"progressToken": 1}},
    });
    let mut session = Session::of_request(Mode::Read, "1");
    let answer = session
        .answer(message.to_string().as_bytes(), &host)
        .await
        .unwrap();
    assert!(
        answer.contains(&format!("\"structuredContent\":{body}")),
        "{answer}"
    );
    assert!(answer.contains("\"isError\":false"), "{answer}");
    let requests = host.requests();
    assert_eq!(requests[0].path, ["v1", "events"]);
    let query: Vec<_> = requests[0]
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        query,
        [
            "after=3",
            "category=a",
            "category=b",
            "direction=backward",
            "limit=20"
        ]
    );
}

#[tokio::test]
async fn a_problem_is_an_error_of_the_tool() {
    let problem = r#"{"code":"forbidden","detail":"the role client does not allow observe"}"#;
    let host = Recorder::new(403, problem);
    let answer = call(Mode::Read, "status", json!({}), &host).await;
    let result = &answer["result"];
    assert_eq!(result["isError"], true);
    assert_eq!(result["structuredContent"]["code"], "forbidden");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, "the role client does not allow observe (forbidden)");
    let host = Recorder {
        answer: Err("no host answers".to_owned()),
        requests: Mutex::default(),
    };
    let answer = call(Mode::Read, "status", json!({}), &host).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(answer["result"]["content"][0]["text"], "no host answers");
}

#[tokio::test]
async fn only_the_mode_act_has_tools_that_write() {
    let domain = r#"{"paths":{"/v1/domain/account/{key}/open":{"post":{}}}}"#;
    let host = Recorder::new(200, domain);
    let arguments = json!({"key": "1", "data": {"n": 1}, "command_id": "k", "expected_version": 2});
    let answer = call(Mode::Read, "command_account_open", arguments.clone(), &host).await;
    assert_eq!(answer["error"]["code"], -32602);
    assert!(host.requests().is_empty());
    let answer = call(Mode::Act, "command_account_open", arguments, &host).await;
    assert_eq!(answer["result"]["isError"], false);
    let requests = host.requests();
    let executed = requests.last().unwrap();
    assert_eq!(executed.method, Method::Post);
    assert_eq!(executed.path, ["v1", "domain", "account", "1", "open"]);
    assert_eq!(executed.body.as_deref(), Some(r#"{"n":1}"#));
    let expected = [("idempotency-key", "k"), ("if-match", "\"2\"")];
    assert_eq!(
        executed.headers,
        expected.map(|(name, value)| (name, value.to_owned()))
    );
    for wrong in [
        json!({"key": "1"}),
        json!({"data": {}}),
        json!({"key": "1", "data": {}, "command_id": "a\r\nx: y"}),
    ] {
        let answer = call(Mode::Act, "command_account_open", wrong, &host).await;
        assert_eq!(answer["error"]["code"], -32602);
    }
}
