//! What clients send: queries, messages of agents and the context of a trace.

use std::future::pending;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use quipu::model::Context;
use quipu_mcp::{Answer, Host, Mode, Request, Session};
use quipu_server::{Options, serve};
use reqwest::{Client, Url};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::{halves, texts};
use crate::Place;

/// Operations whose queries filter. The length of an input chooses one of them.
const FILTERED: &[&str] = &[
    "/v1/events",
    "/v1/streams",
    "/v1/streams/a-1/events",
    "/v1/streams/a-1/state",
    "/v1/rejections",
    "/v1/proposals",
    "/v1/audit",
    "/v1/types",
    "/v1/views/balances",
];

/// A host, and a client of it.
struct Served {
    runtime: Runtime,
    client: Client,
    url: Url,
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let address = runtime.block_on(async {
            let host = Place::memory().host().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener, host, Options::default(), pending()));
            address
        });
        Served {
            runtime,
            client: Client::builder().no_proxy().build().unwrap(),
            url: format!("http://{address}").parse().unwrap(),
        }
    })
}

pub fn queries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let served = served();
    let mut url = served.url.clone();
    url.set_path(FILTERED[bytes.len() % FILTERED.len()]);
    url.set_query(Some(text));
    let answered = served.runtime.block_on(async {
        // A query that is too long closes the connection.
        let response = served.client.get(url).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    });
    if let Some((status, text)) = answered {
        assert_ne!(status, 500, "{text}");
    }
}

pub fn queries_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "category=loan&type=opened&tag=a&prefix=loan-1&not_category=x&not_type=y&not_tag=z&not_prefix=b",
        "after=0&to=9223372036854775807&limit=1000&direction=backward&form=stored&archived=with",
        "from=1&to=2&limit=1&direction=forward",
        "at_version=1&at_time=2026-01-31T00:00:00Z",
        "where=balance%20%3E%3D%203&order=-balance&limit=5&cursor=AAAA&after=0",
        "category=%00&limit=0&limit=1&=&&after=%ff",
    ])
}

/// A host that gives the same answer to each request, and then none.
struct Fixed<'a> {
    body: &'a [u8],
    left: AtomicUsize,
}

impl Host for Fixed<'_> {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Answer, String>> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        let answer = match left {
            0 => Err("the host is gone".to_owned()),
            _ => Ok(Answer {
                status: if left.is_multiple_of(4) { 404 } else { 200 },
                body: self.body.to_vec(),
            }),
        };
        Box::pin(async move { answer })
    }
}

/// A message, and after a zero byte what the host answers.
pub fn messages(bytes: &[u8]) {
    let (message, body) = halves(bytes);
    let host = Fixed {
        body,
        left: AtomicUsize::new(20),
    };
    let runtime = Builder::new_current_thread().build().unwrap();
    for mode in [Mode::Read, Mode::Propose, Mode::Act] {
        let mut session = Session::of_request(mode, "0.0.0");
        if let Some(answer) = runtime.block_on(session.answer(message, &host)) {
            let is_json = serde_json::from_str::<&RawValue>(&answer).is_ok();
            assert!(
                is_json && answer.contains("\"jsonrpc\":\"2.0\""),
                "{answer}"
            );
        }
    }
}

pub fn messages_corpus() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#,
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"cursor":null}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"read_stream\",\"arguments\":{\"stream\":\"a-1\"}}}\0{\"events\":[{\"type\":\"a\",\"data\":{\"n\":1.0}}],\"next\":2}",
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/call\",\"params\":{\"name\":\"find\",\"arguments\":{\"text\":\"a-1\"}}}\0{\"streams\":[],\"next\":\"b\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/call\",\"params\":{\"name\":\"diff_state\",\"arguments\":{\"stream\":\"a-1\",\"from\":1,\"to\":2}}}\0{\"state\":{\"a\":[1,{}]},\"version\":2}",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ])
}

/// The value is stored as it came, or left out.
pub fn traces(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let context = Context {
        traceparent: Some(text.into()),
        ..Context::default()
    };
    if let Some(stored) = context.checked().unwrap().traceparent {
        assert_eq!(&*stored, text);
        assert!((55..=Context::BYTES_MAX).contains(&text.len()), "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    // Every other value is refused or stored.
    let correlated = Context {
        correlation_id: Some(text.into()),
        ..Context::default()
    };
    if let Ok(context) = correlated.checked() {
        assert_eq!(context.correlation_id.as_deref(), Some(text));
    }
}

pub fn traces_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
        "00-00000000000000000000000000000000-0000000000000000-00",
    ])
}
