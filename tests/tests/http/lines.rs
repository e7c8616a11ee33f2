use std::collections::HashMap;

use serde_json::json;

use crate::server::{Server, send};

#[tokio::test]
async fn lines_are_in_order_within_a_stream_and_all_are_answered() {
    let server = Server::bank().await;
    let mut lines = String::new();
    for n in 0..600 {
        let account = n % 30;
        lines += &match n / 30 {
            0 => format!(
                "{{\"stream\":\"account-{account}\",\"type\":\"open\",\"data\":{{\"owner\":\"a\"}}}}\n"
            ),
            amount => format!(
                "{{\"stream\":\"account-{account}\",\"type\":\"deposit\",\"data\":{{\"amount\":{amount}}}}}\n"
            ),
        };
    }
    let answers = server.lines(&lines).await.lines();
    assert_eq!(answers.len(), 600);
    let mut last: HashMap<String, (u64, u64)> = HashMap::new();
    for answer in answers {
        assert_eq!(answer["status"], 200, "{answer}");
        let number = |name: &str| answer[name].as_u64().unwrap();
        let stream = answer["stream"].as_str().unwrap().to_owned();
        let (line, version) = last
            .insert(stream, (number("line"), number("version")))
            .unwrap_or_default();
        assert!(line < number("line"));
        assert_eq!(version + 1, number("version"));
    }
}

#[tokio::test]
async fn each_line_gets_its_own_answer() {
    let server = Server::bank().await;
    let lines = concat!(
        "{\"stream\":\"account-1\",\"type\":\"open\",\"data\":{\"owner\":\"a\"},\"command_id\":\"o\",\"at\":\"2011\",\"actor\":\"7\"}\n",
        "\n",
        "{\"stream\":\"account-1\",\"type\":\"withdraw\",\"data\":{\"amount\":1}}\n",
        "{\"stream\":\"account-1\",\"type\":\"deposit\",\"data\":{\"amount\":1},\"expected_version\":9}\r\n",
        "no json\n",
        "{\"id\":\"1\",\"type\":\"open\",\"data\":{}}\n",
        "{\"stream\":\"account-1\",\"type\":\"open\",\"data\":{\"owner\":\"a\"},\"command_id\":\"o\"}",
    );
    let mut answers = server.lines(lines).await.lines();
    answers.sort_by_key(|answer| answer["line"].as_u64());
    let found: Vec<_> = answers
        .iter()
        .map(|answer| {
            (
                answer["line"].as_u64().unwrap(),
                answer["status"].as_u64().unwrap(),
                answer["code"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, 200, None),
            (3, 422, Some("rejected")),
            (4, 412, Some("wrong-expected-version")),
            (5, 400, Some("bad-request")),
            (6, 400, Some("bad-request")),
            (7, 200, None),
        ]
    );
    assert_eq!(
        answers[1]["problem"]["rejection"]["code"],
        "insufficient-funds"
    );
    assert_eq!(answers[5]["replayed"], true);
    assert_eq!(
        (&answers[0]["created"], &answers[5]["created"]),
        (&json!(true), &json!(true))
    );
    let deposit = "{\"stream\":\"account-1\",\"type\":\"deposit\",\"data\":{\"amount\":1}}";
    let deposited = &server.lines(deposit).await.lines()[0];
    assert_eq!(
        (&deposited["status"], deposited.get("created")),
        (&json!(200), None)
    );
    let event = server.get("/v1/events/1").await.ok();
    assert_eq!(event["metadata"], json!({"at": "2011", "actor": "7"}));
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_request() {
    let server = Server::bank().await;
    let good = "{\"stream\":\"account-1\",\"type\":\"open\",\"data\":{\"owner\":\"a\"}}";
    let lines = format!("{good}\n{}\n{good}\n", "x".repeat((2 << 20) + 1));
    let answers = server.lines(&lines).await.lines();
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer["code"].as_str())
        .collect();
    assert!(
        codes.len() == 2 && codes.contains(&None) && codes.contains(&Some("too-large")),
        "{codes:?}"
    );
}

#[tokio::test]
async fn the_number_of_commands_in_flight_is_bounded() {
    let server = Server::bank().await;
    for wrong in ["0", "257", "x"] {
        let request = server
            .request("POST", &format!("/v1/commands?in_flight={wrong}"))
            .header("Content-Type", "application/x-ndjson");
        send(request).await.problem(400, "bad-request");
    }
    let wrong_type = server.post("/v1/commands", "");
    send(wrong_type).await.problem(415, "bad-request");
    // For clients that know no other content type for lines.
    let bytes = server
        .request("POST", "/v1/commands")
        .header("Content-Type", "application/octet-stream");
    assert!(send(bytes).await.lines().is_empty());
}
