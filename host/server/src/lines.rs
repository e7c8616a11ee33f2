//! `POST /v1/commands`: many commands on one request.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::budget::{Bodies, BodyHeld};
use super::lanes::Lanes;
use super::pace::{Paced, Verdict};
use super::params::Params;
use super::problem::{Code, Problem, Result};
use super::request::NdjsonBody;
use super::{App, answer, choices, headers, line};
use quipu::Host;
use quipu::engine::{self, Executed};
use quipu::model::{Command, Context, StreamId, without_mark};

/// The answer to one line. Answers come in order within a stream, and as they are
/// ready across streams.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LineAnswer {
    /// Number of the line, from 1. Empty lines count and have no answer.
    pub line: u64,
    /// 200, or the status of the problem.
    pub status: u16,
    /// The stream; not with a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The stream's version after the command; not with a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Position of the command's last event; absent without events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Whether the command has made the stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// Whether this is the recorded outcome of an earlier request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The problem's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Code>)]
    pub code: Option<String>,
    /// The whole problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
}

/// Executes many commands.
///
/// One line for each command; `stream` is required, `id` is for files only. The
/// lines of one stream are executed in order, each after the answer to the one
/// before it, whatever that answer is; different streams concurrently. Answers
/// come while lines are still being sent. A line waits while the host is
/// overloaded. The next line may be 10 minutes late, the rest of a line 20 s: then the last
/// answer is `body-timeout`. What has been sent when the connection breaks may have been
/// executed: send it again with the same `command_id`. A host that shuts down
/// answers what it has read and ends the response.
#[utoipa::path(
    post, path = "/v1/commands", tag = "commands",
    params(
        ("in_flight" = Option<u64>, Query, description = "Streams with a command in flight; at most 256, the default"),
        headers::Origin,
    ),
    request_body(description = "One `Line` for each command", content(
        (choices::Binary = "application/x-ndjson"),
        (choices::Binary = "application/octet-stream"),
    )),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "One `LineAnswer` for each line"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn execute_lines(
    State(app): State<App>,
    mut params: Params,
    headers: HeaderMap,
    body: NdjsonBody,
) -> Result<Response> {
    let in_flight_max = app.options.lines_in_flight_max;
    let in_flight = match params.number("in_flight")? {
        None => in_flight_max,
        Some(number) => usize::try_from(number)
            .ok()
            .filter(|number| (1..=in_flight_max).contains(number))
            .ok_or_else(|| {
                let detail = format!("query: in_flight is not between 1 and {in_flight_max}");
                Problem::bad_request(detail)
            })?,
    };
    params.finish()?;
    let context = headers::context(&headers)?;
    let answers = answers(&app, in_flight, context, body.with_pauses(&app));
    Ok(answer::ndjson(Body::from_stream(answers)))
}

/// A line that was read: a command, or what is wrong with it.
type Read = std::result::Result<Command, Box<Problem>>;

fn answers(
    app: &App,
    in_flight: usize,
    context: Context,
    body: Paced<BodyDataStream>,
) -> impl Stream<Item = std::result::Result<Bytes, axum::Error>> + use<> {
    let patience = app.options.request_time_max;
    let verdict = body.verdict();
    let lines = Lines::new(body, app.options.line_bytes_max);
    let host = app.host.clone();
    let ending = app.ending.clone();
    let lanes = Lanes::new(
        in_flight,
        app.options.lines_waiting_max,
        move |key: Key, (number, read, held): (u64, Read, BodyHeld)| {
            let host = host.clone();
            async move {
                let _held = held;
                match (read, key) {
                    (Ok(command), Key::Stream(stream)) => {
                        answered(number, patiently(&host, &stream, command, patience).await)
                    }
                    (Ok(_), Key::Line(_)) => LineAnswer::problem(
                        number,
                        Problem::bad_request("the line names no stream"),
                    ),
                    (Err(problem), _) => LineAnswer::problem(number, problem),
                }
            }
        },
    );
    let bodies = app.bodies.clone();
    let given = Given {
        context,
        bodies,
        verdict,
        ending,
    };
    futures::stream::unfold(
        (lanes, lines, given),
        |(mut lanes, mut lines, given)| async move {
            let ending = &given.ending;
            let mut chunk = BytesMut::new();
            loop {
                // Answers first: what is answered makes room.
                while let Some(Some(answer)) = lanes.next().now_or_never() {
                    write(&answer, &mut chunk);
                    if chunk.len() > CHUNK_BYTES {
                        break;
                    }
                }
                if !chunk.is_empty() {
                    return Some((Ok(chunk.freeze()), (lanes, lines, given)));
                }
                let is_idle = lanes.is_idle();
                let may_read = !lines.is_done() && !ending.is_cancelled() && lanes.has_room();
                if !may_read && is_idle {
                    return None;
                }
                tokio::select! {
                    Some(answer) = lanes.next(), if !is_idle => write(&answer, &mut chunk),
                    // Nothing more is read then.
                    () = ending.cancelled(), if may_read => {}
                    read = lines.next(), if may_read => match read {
                        Ok(Some((number, text))) => {
                            if text.trim_ascii().is_empty() {
                                continue;
                            }
                            let text = match number {
                                1 => without_mark(&text),
                                _ => &text,
                            };
                            let mut held = given.bodies.nothing();
                            // Lines that are executed make room.
                            while !held.resize(text.len()) && !lanes.is_idle() {
                                if let Some(answer) = lanes.next().await {
                                    write(&answer, &mut chunk);
                                }
                            }
                            let has_room = held.resize(text.len());
                            let (key, read) = given.read(number, text, has_room);
                            lanes.push(key, (number, read, held));
                        }
                        Ok(None) => {}
                        Err((number, problem)) => {
                            let problem = given.verdict.instead_of(problem);
                            let held = given.bodies.nothing();
                            lanes.push(Key::Line(number), (number, Err(problem), held));
                        }
                    },
                }
            }
        },
    )
}

/// What all lines of a request share.
struct Given {
    context: Context,
    bodies: Bodies,
    verdict: Verdict,
    ending: CancellationToken,
}

impl Given {
    fn read(&self, number: u64, text: &[u8], has_room: bool) -> (Key, Read) {
        if !has_room {
            let detail = "there is no memory for the line; try again, with the same command_id";
            let problem = Problem::new(Code::Overloaded, detail);
            return (Key::Line(number), Err(Box::new(problem)));
        }
        match line::read(text, None) {
            Ok((stream, command)) => {
                let context = self.context.clone();
                (Key::Stream(stream), Ok(Command { context, ..command }))
            }
            Err(problem) => (Key::Line(number), Err(problem)),
        }
    }
}

/// From this size on a chunk is sent.
const CHUNK_BYTES: usize = 64 << 10;

/// What keeps lines in order; a line that can't be read stands by itself.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Stream(StreamId),
    Line(u64),
}

/// Executes a command, waiting while the host is overloaded.
async fn patiently(
    host: &Host,
    stream: &StreamId,
    command: Command,
    patience: Duration,
) -> Result<Executed> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(5);
    loop {
        let executing = host.execute(stream, command.clone());
        match tokio::time::timeout_at(deadline, executing).await {
            Ok(Err(engine::Error::Overloaded)) => {
                if Instant::now() + pause >= deadline {
                    return Err(engine::Error::Overloaded.into());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(200));
            }
            Ok(Ok(executed)) => return Ok(executed),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let detail = "the command was not answered in time; the same command_id tells";
                return Err(Box::new(Problem::new(Code::Timeout, detail)));
            }
        }
    }
}

fn answered(number: u64, result: Result<Executed>) -> LineAnswer {
    match result {
        Ok(executed) => LineAnswer {
            line: number,
            status: 200,
            stream: Some(executed.stream.as_str().to_owned()),
            version: Some(executed.version.0),
            position: executed.position.map(|position| position.0),
            created: executed.has_created(),
            replayed: executed.replayed,
            code: None,
            problem: None,
        },
        Err(problem) => LineAnswer::problem(number, problem),
    }
}

impl LineAnswer {
    fn problem(line: u64, problem: Box<Problem>) -> Self {
        Self {
            line,
            status: problem.status,
            stream: None,
            version: None,
            position: None,
            created: false,
            replayed: false,
            code: Some(problem.code.clone()),
            problem: Some(problem),
        }
    }
}

fn write(answer: &LineAnswer, chunk: &mut BytesMut) {
    if let Ok(mut text) = serde_json::to_vec(answer) {
        line::one_line(&mut text);
        chunk.extend_from_slice(&text);
        chunk.extend_from_slice(b"\n");
    }
}

/// The lines of a body, each bounded.
pub struct Lines<S> {
    stream: Pin<Box<S>>,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line break.
    scanned: usize,
    number: u64,
    line_bytes_max: usize,
    is_done: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = std::result::Result<Bytes, E>>,
    E: std::fmt::Display,
{
    /// The lines of a stream of bytes.
    pub fn new(stream: S, line_bytes_max: usize) -> Self {
        Self {
            stream: Box::pin(stream),
            buffer: BytesMut::new(),
            scanned: 0,
            number: 0,
            line_bytes_max,
            is_done: false,
        }
    }

    /// Whether there are no more.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next line with its number; none at the end. After an error there are no
    /// more. May be dropped and called again.
    pub async fn next(&mut self) -> std::result::Result<Option<(u64, Bytes)>, (u64, Box<Problem>)> {
        loop {
            if let Some(found) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + found + 1).freeze();
                self.scanned = 0;
                line.truncate(line.len() - 1);
                return self.take(line).map(Some);
            }
            self.scanned = self.buffer.len();
            if self.scanned > self.line_bytes_max {
                let line = self.buffer.split().freeze();
                return self.take(line).map(Some);
            }
            match self.stream.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.is_done = true;
                    let detail = format!("the body broke off: {error}");
                    return Err((self.number + 1, Problem::bad_request(detail)));
                }
                None => {
                    self.is_done = true;
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    let line = self.buffer.split().freeze();
                    return self.take(line).map(Some);
                }
            }
        }
    }

    fn take(&mut self, line: Bytes) -> std::result::Result<(u64, Bytes), (u64, Box<Problem>)> {
        self.number += 1;
        if line.len() > self.line_bytes_max {
            self.is_done = true;
            let max = self.line_bytes_max;
            let detail = format!("the line has more than {max} bytes; what follows is not read");
            return Err((self.number, Box::new(Problem::new(Code::TooLarge, detail))));
        }
        Ok((self.number, line))
    }
}
