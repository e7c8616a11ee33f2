//! Commands over HTTP: each connection carries one long request of many lines.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::Stream;
use reqwest::{Body, Method, header};
use tokio::sync::{mpsc, oneshot};

use super::target::{Answer, Passing};
use crate::Client;
use quipu::model::{Command, StreamId};
use quipu_api::Lines;
use quipu_api::{LineAnswer, line};

/// Commands in flight that one connection carries.
const LINES_PER_CONNECTION: usize = 128;
const CONNECTIONS_MAX: usize = 8;
/// Lines that are sent as one chunk.
const LINES_PER_CHUNK: usize = 64;
/// Longest answer to a line.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A host in another process.
pub struct HttpTarget {
    connections: Vec<Connection>,
    next: AtomicUsize,
}

struct Connection {
    client: Client,
    /// The request on which lines are sent; none before the first one and after it broke.
    open: Mutex<Option<Open>>,
}

struct Open {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    /// Lines sent.
    sent: u64,
    waiting: Arc<Mutex<Waiting>>,
}

/// The callers that wait for an answer, by line.
#[derive(Default)]
struct Waiting {
    lines: HashMap<u64, oneshot::Sender<LineAnswer>>,
    /// Why the request ended.
    ended: Option<String>,
}

impl HttpTarget {
    pub(super) fn new(client: &Client, in_flight: usize) -> Self {
        let count = in_flight
            .div_ceil(LINES_PER_CONNECTION)
            .clamp(1, CONNECTIONS_MAX);
        let connection = || Connection {
            client: client.clone(),
            open: Mutex::default(),
        };
        Self {
            connections: std::iter::repeat_with(connection).take(count).collect(),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) async fn execute(
        &self,
        stream: &StreamId,
        command: &Command,
    ) -> Result<Answer, Passing> {
        let text = match line::write(stream, command) {
            Ok(text) => text,
            Err(why) => {
                let code = "bad-request".to_owned();
                return Ok(Answer::Failed { code, message: why });
            }
        };
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let (answer, waiting) = self.connections[next].send(text);
        match answer.await {
            Ok(LineAnswer {
                problem: Some(problem),
                ..
            }) => Answer::or_passing(*problem),
            Ok(LineAnswer { replayed: true, .. }) => Ok(Answer::Replayed),
            Ok(_) => Ok(Answer::Accepted),
            Err(_) => {
                let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let why = waiting.ended.clone();
                let why = why.unwrap_or_else(|| "the connection ended".to_owned());
                Err(why.into())
            }
        }
    }
}

impl Connection {
    fn send(&self, text: Vec<u8>) -> (oneshot::Receiver<LineAnswer>, Arc<Mutex<Waiting>>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *open {
            Some(open) if !open.lines.is_closed() => open,
            place => place.insert(Open::start(self.client.clone())),
        };
        open.sent += 1;
        let (sender, receiver) = oneshot::channel();
        let mut waiting = open.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Without this, nobody would drop the sender after the end; now the caller is notified at
        // once.
        if waiting.ended.is_none() {
            waiting.lines.insert(open.sent, sender);
            _ = open.lines.send(text);
        }
        drop(waiting);
        (receiver, Arc::clone(&open.waiting))
    }
}

impl Open {
    fn start(client: Client) -> Self {
        let (lines, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let answers = Arc::clone(&waiting);
        tokio::spawn(async move {
            let why = match carry(&client, receiver, &answers).await {
                Ok(()) => "the host ended the request".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            let mut waiting = answers.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.ended = Some(why);
            waiting.lines.clear();
        });
        Self {
            lines,
            sent: 0,
            waiting,
        }
    }
}

/// One request: lines out, answers in, until both end.
async fn carry(
    client: &Client,
    lines: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: &Mutex<Waiting>,
) -> anyhow::Result<()> {
    let request = client
        .request(Method::POST, &["v1", "commands"])
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .body(Body::wrap_stream(chunks(lines)));
    let response = client.send(request).await?;
    let mut answers = Lines::new(response.bytes_stream(), ANSWER_BYTES_MAX);
    loop {
        match answers.next().await {
            Ok(Some((_, text))) => {
                let answer: LineAnswer = serde_json::from_slice(&text)?;
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = waiting.lines.remove(&answer.line) {
                    _ = sender.send(answer);
                }
            }
            Ok(None) => return Ok(()),
            Err((_, problem)) => anyhow::bail!(problem.detail),
        }
    }
}

/// Lines that are available are sent as one chunk.
fn chunks(
    lines: mpsc::UnboundedReceiver<Vec<u8>>,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures::stream::unfold((lines, Vec::new()), |(mut lines, mut batch)| async move {
        match lines.recv_many(&mut batch, LINES_PER_CHUNK).await {
            0 => None,
            _ => {
                let chunk = Bytes::from(batch.concat());
                batch.clear();
                Some((Ok(chunk), (lines, batch)))
            }
        }
    })
}
