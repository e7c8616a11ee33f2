//! The memory that requests hold together.

use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, build};

use crate::connections::{
    APPEND, NOTE, SHORT, ask, bounded, head, raw, rest, server, unreading, until,
};
use crate::server::{Answered, Server, send};

fn large(bytes: usize) -> String {
    let frame = "{\"events\":[{\"type\":\"n\",\"data\":\"\"}]}".len();
    let text = "x".repeat(bytes - frame);
    format!("{{\"events\":[{{\"type\":\"n\",\"data\":\"{text}\"}}]}}")
}

/// Sends a body until the answer has this status.
async fn until_answered(server: &Server, body: &str, status: u16) -> Answered {
    bounded(async {
        loop {
            let answer = send(server.post(APPEND, body)).await;
            if answer.status == status {
                return answer;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_all_bodies_is_bounded_and_small_ones_are_still_accepted() {
    let options = Options {
        body_bytes_max: 1 << 20,
        bodies_bytes_max: 2 << 20,
        // However slow the machine is, a half body stays.
        body_wait_max: PATIENCE,
        ..Options::default()
    };
    let server = server(options).await;
    let body = large(700_000);
    send(server.post(APPEND, &body)).await.ok();
    // All bytes except the last one.
    let mut halves = Vec::new();
    for _ in 0..3 {
        let said = head(APPEND, "application/json", body.len()) + &body[1..];
        halves.push(raw(&server, &said).await);
    }
    let answer = until_answered(&server, &body, 503).await;
    answer.problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    send(server.post(APPEND, NOTE)).await.ok();
    drop(halves);
    until_answered(&server, &body, 200).await;
}

#[tokio::test]
async fn lines_count_as_bodies_until_they_are_executed() {
    let options = Options {
        bodies_bytes_max: 1 << 20,
        body_wait_max: PATIENCE,
        ..Options::default()
    };
    let server = server(options).await;
    let said = head("/v1/commands", "application/x-ndjson", 5_000_000);
    let part = |bytes: usize| said.clone() + &"x".repeat(bytes);
    // An unfinished line leaves less than 100,000 bytes. While it arrives, a body may take the rest of
    // the memory from it: then it is begun a second time.
    let begun = bounded(async {
        loop {
            let begun = raw(&server, &part(800 << 10)).await;
            for _ in 0..50 {
                let answer = send(server.post(APPEND, &large(100_000))).await;
                if answer.status == 503 {
                    return begun;
                }
            }
        }
    })
    .await;
    let answer = rest(&mut raw(&server, &part(100_000)).await).await;
    assert!(answer.contains("\"line\":1,\"status\":503"), "{answer}");
    assert!(answer.contains("\"code\":\"overloaded\""), "{answer}");
    drop(begun);
    until_answered(&server, &large(150_000), 200).await;
    // Many lines that fit, one after the other.
    let line = format!(
        "{{\"stream\":\"note-1\",\"type\":\"n\",\"data\":\"{}\"}}\n",
        "x".repeat(300_000)
    );
    let answers = server.lines(&line.repeat(12)).await.lines();
    assert_eq!(answers.len(), 12);
    for answer in answers {
        assert_eq!(answer["code"], "unknown-category", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_all_unread_pages_is_bounded() {
    let options = Options {
        answers_bytes_max: 12 << 20,
        request_time_max: SHORT * 5,
        ..Options::default()
    };
    let server = server(options).await;
    let text = format!("\"{}\"", "x".repeat(900_000));
    for _ in 0..12 {
        let append = build::append(vec![build::event("n", &text)]);
        let stream = build::stream("note-1");
        server.host.append(&stream, append).await.unwrap();
    }
    let lines = "application/x-ndjson";
    for (path, accept) in [
        ("/v1/events?limit=1000", "application/json"),
        ("/v1/events", lines),
        ("/v1/streams/note-1/events", lines),
    ] {
        let (requests, connected) = unreading(&server).await;
        let page = ask(requests, &server, (path, accept)).await.unwrap();
        assert_eq!(page.status(), 200);
        // There is no memory left for another page.
        let preview = server.post("/v1/streams/note-1/preview", r#"{"type":"n"}"#);
        for request in [
            server.request("GET", "/v1/rejections"),
            server.request("GET", "/v1/proposals"),
            preview,
        ] {
            send(request).await.problem(503, "overloaded");
        }
        for path in ["/v1/events?limit=1", "/v1/streams/note-1/events"] {
            for accept in ["application/json", lines] {
                let answer = send(server.request("GET", path).header("accept", accept)).await;
                answer.problem(503, "overloaded");
                assert_eq!(answer.header("retry-after"), "1");
            }
        }
        server.get("/healthz").await.ok();
        send(server.post(APPEND, NOTE)).await.ok();
        drop(page);
        connected.abort();
        bounded(async { while server.get("/v1/events?limit=1").await.status != 200 {} }).await;
    }
    // Each page of a long read waits until the one before it is sent.
    let read = server.request("GET", "/v1/events").header("accept", lines);
    assert!(send(read).await.text.contains("\"end\":"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_at_once_are_all_answered() {
    let server = Server::start(Place::memory().host().await, Options::default()).await;
    let event = "{\"type\":\"n\",\"data\":1},";
    let events = event.repeat(100_000);
    let body = format!("{{\"events\":[{}]}}", events.trim_end_matches(','));
    let sending: Vec<_> = (0..12)
        .map(|_| tokio::spawn(send(server.post(APPEND, &body))))
        .collect();
    // Others are answered while the bodies arrive and are read, until the last of them is answered.
    let mut asked = 0;
    while asked == 0 || sending.iter().any(|it| !it.is_finished()) {
        bounded(server.get("/healthz")).await.ok();
        asked += 1;
    }
    for answer in futures::future::join_all(sending).await {
        answer.unwrap().problem(413, "too-large");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_clients_that_send_or_read_nothing() {
    let host = Place::memory().host().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ending) = tokio::sync::oneshot::channel::<()>();
    let options = Options {
        body_wait_max: SHORT * 10,
        slow_reader_max: SHORT * 10,
        ..Options::default()
    };
    let serving = tokio::spawn(quipu_server::serve(listener, host, options, async {
        _ = ending.await;
    }));
    let ndjson = "application/x-ndjson";
    let mut clients = Vec::new();
    for said in [
        String::new(),
        "GET /heal".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "GET /v1/events/subscribe HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        head(APPEND, "application/json", 500) + "{",
        head("/v1/import", ndjson, 500),
        head("/v1/import", ndjson, 500) + "{",
        head("/v1/commands", ndjson, 500),
        head("/v1/commands", ndjson, 500) + "{",
    ] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let said = said.as_bytes();
        tokio::io::AsyncWriteExt::write_all(&mut socket, said)
            .await
            .unwrap();
        clients.push(socket);
    }
    until(&mut clients[3], "event: caught-up").await;
    end.send(()).unwrap();
    bounded(serving).await.unwrap().unwrap();
    for client in &mut clients {
        rest(client).await;
    }
}
