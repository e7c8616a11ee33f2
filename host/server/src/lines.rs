//! `POST /v1/commands`: many commands on one request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::{self, By};
use super::answering::Visit;
use super::budget::{Bodies, BodyHeld};
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::limits::{self, Excess, Key as Sender};
use super::pace::{Paced, Verdict};
use super::params::Params;
use super::request::NdjsonBody;
use super::{App, answer, headers};
use quipu::Host;
use quipu::access::{Action, Caller};
use quipu::engine::{self, Executed};
use quipu::model::{Command, Context, StreamId, without_mark};
use quipu_api::{Code, Lanes, LineAnswer, Lines, Problem, choices, line};

/// How to execute many commands.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinesQuery {
    /// Streams with a command in flight; at most 256, the default
    in_flight: Option<u64>,
}

/// Executes many commands.
///
/// Send one line for each command; `stream` is required, `id` is for files only. The lines of one
/// stream are executed in order, each after the answer to the line before it, whatever that answer
/// is; different streams are executed concurrently. Answers arrive while lines are still being
/// sent. A line waits while the host is
/// overloaded, and while its caller sends more lines than it may (`rate-limited` after 30 s). The next line may take 10 minutes to begin, the
/// rest of a line 20 s; then the last answer is `body-timeout`. If the connection breaks, lines
/// that were sent may have been executed: send them a second time with the same `command_id`. A
/// host that shuts down answers the lines that it has read and ends the response.
#[utoipa::path(
    post, path = "/v1/commands", tag = "commands",
    security(("token" = ["command"])),
    params(LinesQuery, headers::Origin),
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
    By(caller): By,
    visit: Visit,
    Params(query): Params<LinesQuery>,
    headers: HeaderMap,
    body: NdjsonBody,
) -> Result<Response> {
    let in_flight_max = app.options.lines_in_flight_max;
    let in_flight = match query.in_flight {
        None => in_flight_max,
        Some(number) => usize::try_from(number)
            .ok()
            .filter(|number| (1..=in_flight_max).contains(number))
            .ok_or_else(|| {
                let detail = format!("query: in_flight is not between 1 and {in_flight_max}");
                Failure::bad_request(detail)
            })?,
    };
    let context = headers::context(&headers, &caller)?;
    let answers = answers(
        &app,
        in_flight,
        (context, caller, visit.peer()),
        body.with_pauses(&app),
    );
    Ok(answer::ndjson(Body::from_stream(answers)))
}

/// A line that was read: a command, or the problem with the line.
type ParsedLine = std::result::Result<Command, Box<Problem>>;

fn answers(
    app: &App,
    in_flight: usize,
    (context, caller, peer): (Context, Caller, Option<IpAddr>),
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
        move |key: Key, (number, read, held): (u64, ParsedLine, Waiting)| {
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
    let given = LineContext {
        app: app.clone(),
        sender: Sender::of(&caller, peer),
        own_rate: limits::own(&caller),
        context,
        caller,
        peer,
        is_denied: AtomicBool::new(false),
        bodies,
        verdict,
        ending,
        waiting: Arc::default(),
        waiting_max: app.options.bodies_bytes_max / 4,
    };
    futures::stream::unfold(
        (lanes, lines, given),
        |(mut lanes, mut lines, given)| async move {
            let ending = &given.ending;
            let mut chunk = BytesMut::new();
            loop {
                // Answers come first because each answer makes room.
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
                let has_room = is_idle || lanes.has_room() && given.has_room();
                let may_read = !lines.is_done() && !ending.is_cancelled() && has_room;
                if !may_read && is_idle {
                    return None;
                }
                tokio::select! {
                    Some(answer) = lanes.next(), if !is_idle => write(&answer, &mut chunk),
                    // After that nothing more is read.
                    () = ending.cancelled(), if may_read => {}
                    read = lines.next(), if may_read => match read {
                        Ok(Some((number, text))) => {
                            if text.trim_ascii().is_empty() {
                                continue;
                            }
                            let mut held = given.bodies.nothing();
                            // Executing lines makes room.
                            while !held.resize(text.len()) && !lanes.is_idle() {
                                if let Some(answer) = lanes.next().await {
                                    write(&answer, &mut chunk);
                                }
                            }
                            let text = counted(text, &mut held);
                            // Other lines are answered while this one waits for the caller's rate.
                            let until = Instant::now() + given.app.options.request_time_max;
                            let mut turn = given.turn();
                            while let Err(excess) = &turn
                                && Instant::now() < until
                                && !ending.is_cancelled()
                            {
                                let pause = excess.wait.min(PAUSE_MAX);
                                tokio::select! {
                                    Some(answer) = lanes.next(), if !lanes.is_idle() => {
                                        write(&answer, &mut chunk);
                                    }
                                    () = tokio::time::sleep(pause) => turn = given.turn(),
                                }
                            }
                            let (key, read) = match turn {
                                Err(excess) if !ending.is_cancelled() => {
                                    (Key::Line(number), Err(excess.into()))
                                }
                                _ => given.read(number, text.as_deref()),
                            };
                            let bytes = text.as_ref().map_or(0, Bytes::len);
                            let waiting = given.waiting(bytes, held);
                            lanes.push(key, (number, read, waiting));
                        }
                        Ok(None) => {}
                        Err((number, problem)) => {
                            let problem = given.verdict.instead_of(problem);
                            let held = given.bodies.nothing();
                            let waiting = given.waiting(0, held);
                            lanes.push(Key::Line(number), (number, Err(problem), waiting));
                        }
                    },
                }
            }
        },
    )
}

/// The state that all lines of a request share.
struct LineContext {
    app: App,
    context: Context,
    caller: Caller,
    /// The address of the client.
    peer: Option<IpAddr>,
    /// Whose rate each line counts for.
    sender: Sender,
    /// The rate of the caller's token.
    own_rate: Option<u32>,
    /// Whether a line was denied.
    is_denied: AtomicBool,
    bodies: Bodies,
    verdict: Verdict,
    ending: CancellationToken,
    /// Bytes of the lines that are waiting or being executed.
    waiting: Arc<AtomicUsize>,
    /// From this number of bytes on, no further line is read, so that the line that is read
    /// next has memory.
    waiting_max: usize,
}

/// The memory of a line until it is answered.
struct Waiting {
    bytes: usize,
    all: Arc<AtomicUsize>,
    _held: BodyHeld,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl LineContext {
    fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < self.waiting_max
    }

    fn waiting(&self, bytes: usize, held: BodyHeld) -> Waiting {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        Waiting {
            bytes,
            all: Arc::clone(&self.waiting),
            _held: held,
        }
    }

    /// Counts a line as a request of its caller.
    fn turn(&self) -> std::result::Result<(), Excess> {
        let limiter = &self.app.options.limits;
        limiter.take_request(&self.sender, self.own_rate)
    }

    /// Records the first denied line of a request.
    fn record_denial(&self, stream: &StreamId) {
        if self.is_denied.swap(true, Ordering::Relaxed) {
            return;
        }
        let object = format!("/v1/commands {stream}");
        let target = ("execute_lines", &*object);
        let deed = Deed::new(&self.app, target, self.peer, &self.caller, None);
        let app = self.app.clone();
        // The denial was counted and answered. After a panic only this record is missing.
        tokio::spawn(async move { deed.denied(&app, Code::Forbidden.as_str()).await });
    }

    /// Reads a line, for which there may have been no memory.
    fn read(&self, number: u64, text: Option<&[u8]>) -> (Key, ParsedLine) {
        let Some(text) = text else {
            let detail = "there is no memory for the line; try again, with the same command_id";
            let problem = Problem::new(Code::Overloaded, detail);
            return (Key::Line(number), Err(Box::new(problem)));
        };
        let text = match number {
            1 => without_mark(text),
            _ => text,
        };
        match line::read(text, None) {
            Ok((stream, command)) => {
                let may = access::check_stream(&self.app, &self.caller, Action::Command, &stream);
                if let Err(Failure(problem)) = may {
                    self.record_denial(&stream);
                    return (Key::Line(number), Err(problem));
                }
                let context = self.context.clone();
                (Key::Stream(stream), Ok(Command { context, ..command }))
            }
            Err(problem) => (Key::Line(number), Err(problem)),
        }
    }
}

/// The text of a line, if there is memory for it. Nothing is held without being counted, because the
/// line may wait for its caller's rate.
fn counted(text: Bytes, held: &mut BodyHeld) -> Option<Bytes> {
    held.resize(text.len()).then_some(text)
}

/// Longest pause between two checks whether a line that waits for its caller's rate may go on.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A chunk of at least this size is sent.
const CHUNK_BYTES: usize = 64 << 10;

/// The key that keeps lines in order; a line that can't be read has its own key.
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
                let detail = "the command was not answered in time; a request with the same command_id finds out";
                return Err(Failure::new(Code::Timeout, detail));
            }
        }
    }
}

fn answered(number: u64, result: Result<Executed>) -> LineAnswer {
    match result {
        Ok(executed) => LineAnswer::executed(number, &executed),
        Err(Failure(problem)) => LineAnswer::problem(number, problem),
    }
}

fn write(answer: &LineAnswer, chunk: &mut BytesMut) {
    if let Ok(mut text) = serde_json::to_vec(answer) {
        line::one_line(&mut text);
        chunk.extend_from_slice(&text);
        chunk.extend_from_slice(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_which_there_is_no_memory_is_not_held() {
        let bodies = Bodies::new(1 << 20);
        let line = Bytes::from(vec![b'x'; 200 << 10]);
        let mut held = bodies.nothing();
        assert_eq!(counted(line.clone(), &mut held), Some(line.clone()));
        let mut other = bodies.nothing();
        assert!(other.resize(690 << 10));
        assert_eq!(counted(line.clone(), &mut bodies.nothing()), None);
        drop(held);
        assert_eq!(counted(line.clone(), &mut bodies.nothing()), Some(line));
    }
}
