use std::time::Duration;

use futures::StreamExt;
use quipu::Host;
use quipu::subscribe;
use quipu_server::Options;
use quipu_tests::build::{append, event, stream};
use quipu_tests::clock::until;
use quipu_tests::{PATIENCE, Place};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::follow::note;

pub struct Server {
    pub host: Host,
    address: String,
    end: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// A subscription over HTTP.
pub struct Client {
    status: u16,
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

/// An event of the subscription.
#[derive(Debug, PartialEq)]
pub struct Frame {
    pub id: String,
    pub name: String,
    pub data: String,
}

impl Server {
    pub async fn start(options: subscribe::Options, http: Options) -> Self {
        let host = crate::follow::host(&Place::memory(), options).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (end, signal) = oneshot::channel();
        let serving = quipu_server::serve(listener, host.clone(), http, async {
            _ = signal.await;
        });
        let ended = tokio::spawn(serving);
        Self {
            host,
            address,
            end,
            ended,
        }
    }

    pub async fn usual() -> Self {
        Self::start(subscribe::Options::default(), Options::default()).await
    }

    pub async fn get(&self, path: &str, last_id: Option<&str>) -> Client {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("http://{}{path}", self.address));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        if status == 200 {
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        let (bytes, text) = (response.bytes_stream().boxed(), String::new());
        Client {
            status,
            bytes,
            text,
        }
    }

    async fn problem(&self, path: &str, last_id: Option<&str>, code: &str) {
        let mut client = self.get(path, last_id).await;
        while let Some(bytes) = client.bytes.next().await {
            client.text += std::str::from_utf8(&bytes.unwrap()).unwrap();
        }
        let problem: Value = serde_json::from_str(&client.text).unwrap();
        assert_eq!(problem["code"], code, "{path} {last_id:?}: {problem}");
        assert_eq!(problem["status"], client.status);
    }
}

impl Client {
    /// The next block of any kind; none at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let next = tokio::time::timeout(PATIENCE, self.bytes.next());
            let bytes = next.await.expect("nothing came")?.ok()?;
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
    }

    pub async fn frame(&mut self) -> Frame {
        let block = self.block().await.expect("the subscription has ended");
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name));
            values.collect::<Vec<_>>().join("\n")
        };
        Frame {
            id: field("id: "),
            name: field("event: "),
            data: field("data: "),
        }
    }

    /// The ids of the next events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let frame = self.frame().await;
            if frame.name == "event" {
                ids.push(frame.id);
            }
        }
        ids
    }
}

fn frame(id: u64, name: &str, data: &Value) -> Frame {
    Frame {
        id: id.to_string(),
        name: name.to_owned(),
        data: data.to_string(),
    }
}

#[tokio::test]
async fn events_have_their_usual_form_and_their_place_as_id() {
    let server = Server::usual().await;
    let written = "{ \"a\":1,\n\"b\" : [\n\n2 ] }";
    let one = event("noted", written);
    server
        .host
        .append(&stream("note-1"), append(vec![one]))
        .await
        .unwrap();
    for (path, place) in [
        ("/v1/events/subscribe", json!({"position": 1})),
        ("/v1/streams/note-1/subscribe", json!({"version": 1})),
    ] {
        let mut client = server.get(path, None).await;
        let first = client.frame().await;
        assert_eq!((first.id.as_str(), first.name.as_str()), ("1", "event"));
        let page = reqwest::Client::builder().no_proxy().build().unwrap();
        let page = page.get(format!("http://{}/v1/events/1", server.address));
        assert_eq!(first.data, page.send().await.unwrap().text().await.unwrap());
        assert!(first.data.contains(written));
        assert_eq!(client.frame().await, frame(1, "caught-up", &place));
    }
}

#[tokio::test]
async fn the_last_event_id_takes_precedence_over_the_requested_start() {
    let server = Server::usual().await;
    note(&server.host, "note-1", 5).await;
    for (path, last_id, first) in [
        ("/v1/events/subscribe", None, "1"),
        ("/v1/events/subscribe?after=2", None, "3"),
        ("/v1/events/subscribe?after=2", Some(""), "3"),
        ("/v1/events/subscribe?after=2", Some("0"), "1"),
        ("/v1/events/subscribe?after=now", Some("3"), "4"),
        ("/v1/streams/note-1/subscribe", None, "1"),
        ("/v1/streams/note-1/subscribe?from=2", None, "2"),
        ("/v1/streams/note-1/subscribe?from=2", Some("3"), "4"),
        ("/v1/streams/note-1/subscribe", Some("0"), "1"),
    ] {
        let mut client = server.get(path, last_id).await;
        assert_eq!(client.ids(1).await, [first], "{path} {last_id:?}");
    }
    let mut now = server.get("/v1/events/subscribe?after=now", None).await;
    assert_eq!(now.frame().await.name, "caught-up");
    note(&server.host, "note-1", 1).await;
    assert_eq!(now.ids(1).await, ["6"]);
}

#[tokio::test]
async fn subscriptions_take_the_filters_of_the_log_and_heartbeats_move_the_id() {
    let options = subscribe::Options {
        heartbeat: Duration::from_millis(5),
        ..subscribe::Options::default()
    };
    let server = Server::start(options, Options::default()).await;
    let filters = [
        "category=b",
        "type=paid",
        "tag=to:ann",
        "prefix=b-",
        "not_category=a",
        "not_type=noted",
        "not_prefix=a-&not_prefix=c",
        "category=a&category=b&not_prefix=a",
    ];
    let mut clients = Vec::new();
    for filter in filters {
        let path = format!("/v1/events/subscribe?{filter}");
        clients.push(server.get(&path, None).await);
    }
    note(&server.host, "a-1", 7).await;
    let mut other = event("paid", "{}");
    other.tags = vec!["to:ann".into()];
    for client in &mut clients {
        while client.frame().await != frame(7, "heartbeat", &json!({"position": 7})) {}
    }
    server
        .host
        .append(&stream("b-1"), append(vec![other]))
        .await
        .unwrap();
    for client in &mut clients {
        assert_eq!(client.ids(1).await, ["8"]);
    }
}

#[tokio::test]
async fn invalid_parameters_are_refused_by_name() {
    let server = Server::usual().await;
    for path in [
        "/v1/events/subscribe?after=-1",
        "/v1/events/subscribe?after=then",
        "/v1/events/subscribe?after=9223372036854775808",
        "/v1/events/subscribe?category=",
        "/v1/events/subscribe?tag=",
        "/v1/events/subscribe?not_category=",
        "/v1/events/subscribe?not_prefix=",
        "/v1/events/subscribe?to=5",
        "/v1/events/subscribe?archived=with",
        "/v1/events/subscribe?limit=1",
        "/v1/events/subscribe?from=1",
        "/v1/streams/note-1/subscribe?from=0",
        "/v1/events/subscribe?form=new",
        "/v1/streams/note-1/subscribe?form=",
        "/v1/streams/note-1/subscribe?after=0",
    ] {
        server.problem(path, None, "bad-request").await;
    }
    server
        .problem("/v1/events/subscribe", Some("x"), "bad-request")
        .await;
    assert_eq!(server.host.subscriptions(), 0);
}

#[tokio::test]
async fn one_subscription_too_many_gets_overloaded() {
    let options = subscribe::Options {
        subscriptions_max: 1,
        ..subscribe::Options::default()
    };
    let server = Server::start(options, Options::default()).await;
    let mut first = server.get("/v1/events/subscribe", None).await;
    assert_eq!(first.frame().await.name, "caught-up");
    server
        .problem("/v1/events/subscribe", None, "overloaded")
        .await;
    drop(first);
    until(|| server.host.subscriptions() == 0).await;
    let mut second = server.get("/v1/events/subscribe", None).await;
    assert_eq!(second.frame().await.name, "caught-up");
}

#[tokio::test]
async fn a_shutdown_ends_subscriptions_immediately_with_a_comment() {
    let server = Server::usual().await;
    let mut client = server.get("/v1/events/subscribe", None).await;
    assert_eq!(client.frame().await.name, "caught-up");
    server.end.send(()).unwrap();
    assert_eq!(client.block().await.unwrap(), ": the host is shutting down");
    assert_eq!(client.block().await, None);
    server.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_disconnected_and_others_continue() {
    let http = Options {
        slow_reader_max: Duration::from_millis(300),
        ..Options::default()
    };
    let server = Server::start(subscribe::Options::default(), http).await;
    let mut reads = server.get("/v1/events/subscribe", None).await;
    assert_eq!(reads.frame().await.name, "caught-up");
    let mut sleeps = TcpStream::connect(&server.address).await.unwrap();
    let request = format!(
        "GET /v1/events/subscribe HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    sleeps.write_all(request.as_bytes()).await.unwrap();
    until(|| server.host.subscriptions() == 2).await;
    let text = "x".repeat(1_000_000);
    let mut sent = 0;
    // More bytes than the sockets buffer between them.
    while server.host.subscriptions() == 2 {
        assert!(sent < 200, "it is never cut off");
        let large = event("noted", &format!("{{\"text\":\"{text}\"}}"));
        server
            .host
            .append(&stream("note-1"), append(vec![large]))
            .await
            .unwrap();
        sent += 1;
        assert_eq!(reads.ids(1).await, [sent.to_string()]);
        if sent == 24 {
            until(|| server.host.subscriptions() == 1).await;
        }
    }
    let mut rest = Vec::new();
    _ = sleeps.read_to_end(&mut rest).await;
    let last = format!("\nid: {sent}\n");
    assert!(!rest.windows(last.len()).any(|part| part == last.as_bytes()));
    note(&server.host, "note-1", 1).await;
    assert_eq!(reads.ids(1).await, [(sent + 1).to_string()]);
}
