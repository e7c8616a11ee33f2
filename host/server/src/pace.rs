//! Bodies that arrive too slowly.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::access::Ended;
use super::activity::{Activity, Waiting};
use super::answering::Visit;
use super::budget::BodyHeld;
use super::limits::excess_of;
use quipu_api::{Code, Problem};

/// How many bytes have to arrive within the time limit of a body, unless it ends before. Much less
/// than the slowest line transfers.
const BYTES_MIN: usize = 16 << 10;

/// The chunks of a body, with a time limit.
pub struct Paced<S> {
    stream: S,
    wait_max: Duration,
    lines: Option<Between>,
    /// The time spent waiting for the last few bytes.
    waited: Duration,
    /// The number of these bytes.
    bytes: usize,
    /// Since when the host waits for bytes.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
    activity: Option<Arc<Activity>>,
    /// Set while the host waits for bytes, if there is a connection.
    waiting: Option<Waiting>,
    is_done: bool,
}

/// A body of lines.
struct Between {
    /// The time limit for the next line.
    wait_max: Duration,
    /// Bytes of the line that has begun.
    bytes: usize,
    held: BodyHeld,
}

/// Why a body broke off, for code that sees the error only as text.
#[derive(Debug, Clone, Default)]
pub struct Verdict(Arc<OnceLock<Code>>);

impl Verdict {
    /// Replaces a problem by the one that actually ended the body.
    pub fn instead_of(&self, mut problem: Box<Problem>) -> Box<Problem> {
        match self.0.get() {
            Some(code) => Box::new(Problem::new(*code, std::mem::take(&mut problem.detail))),
            None => problem,
        }
    }
}

/// Why a body is no longer read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Connection(axum::Error),
    #[error("too little of it came for {0:?}")]
    Slow(Duration),
    #[error("the bodies of all requests take as much memory as they may; try again")]
    Overloaded,
}

impl Broken {
    fn code(&self) -> Code {
        match self {
            Self::Connection(error) => match cause_of(error) {
                Some(Ended::Refused(_)) => Code::Unauthorized,
                // As for a host that ends: the request may be sent a second time.
                Some(Ended::Changed) => Code::Overloaded,
                None if excess_of(error).is_some() => Code::RateLimited,
                None => Code::BadRequest,
            },
            Self::Slow(_) => Code::BodyTimeout,
            Self::Overloaded => Code::Overloaded,
        }
    }
}

/// Why the caller was refused while the body was read.
fn cause_of(error: &axum::Error) -> Option<&Ended> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(it) = cause {
        if let Some(ended) = it.downcast_ref() {
            return Some(ended);
        }
        cause = it.source();
    }
    None
}

impl From<Broken> for Box<Problem> {
    fn from(broken: Broken) -> Self {
        if let Broken::Connection(error) = &broken
            && let Some(excess) = excess_of(error)
        {
            return excess.clone().into();
        }
        let detail = format!("the body broke off: {broken}");
        Box::new(Problem::new(broken.code(), detail))
    }
}

impl<S> Paced<S> {
    /// A body that has to continue without long pauses.
    pub fn new(stream: S, wait_max: Duration, visit: &Visit) -> Self {
        Self {
            stream,
            wait_max,
            lines: None,
            waited: Duration::ZERO,
            bytes: 0,
            since: None,
            timer: None,
            verdict: Verdict::default(),
            activity: visit.activity(),
            waiting: None,
            is_done: false,
        }
    }

    /// A body of lines, with a longer time limit between lines. A line that has begun counts in the
    /// budget of all bodies.
    pub fn with_lines(self, wait_max: Duration, held: BodyHeld) -> Self {
        let lines = Some(Between {
            wait_max,
            bytes: 0,
            held,
        });
        Self { lines, ..self }
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// The remaining time to wait for the body.
    fn rest(&self) -> Duration {
        match &self.lines {
            Some(lines) if lines.bytes == 0 => lines.wait_max,
            Some(_) => self.wait_max,
            None => self.wait_max.saturating_sub(self.waited),
        }
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), Broken> {
        let waited = self.since.take().map(|since| since.elapsed());
        self.waited += waited.unwrap_or_default();
        self.bytes += chunk.len();
        if self.bytes >= BYTES_MIN {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let end = chunk.iter().rposition(|byte| *byte == b'\n');
        lines.bytes = match end {
            Some(end) => chunk.len() - end - 1,
            None => lines.bytes + chunk.len(),
        };
        match lines.held.resize(lines.bytes) {
            true => Ok(()),
            false => Err(Broken::Overloaded),
        }
    }

    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Broken> {
        if let Some(activity) = self.activity.as_ref().filter(|_| self.waiting.is_none()) {
            self.waiting = Some(activity.wait());
        }
        let rest = self.rest();
        let due = *self.since.get_or_insert_with(Instant::now) + rest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        let is_up = timer.as_mut().poll(context);
        is_up.map(|()| Broken::Slow(rest.max(self.wait_max)))
    }
}

impl<S: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Stream for Paced<S> {
    type Item = Result<Bytes, Broken>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_done {
            return Poll::Ready(None);
        }
        let next = match this.stream.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => Some(this.take(&chunk).map(|()| chunk)),
            Poll::Ready(Some(Err(error))) => Some(Err(Broken::Connection(error))),
            Poll::Ready(None) => None,
            Poll::Pending => match this.wait(context) {
                Poll::Ready(broken) => Some(Err(broken)),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.waiting = None;
        this.is_done = !matches!(next, Some(Ok(_)));
        if let Some(Err(broken)) = &next {
            _ = this.verdict.0.set(broken.code());
        }
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

    use super::super::budget::Bodies;
    use super::*;

    type Sender = UnboundedSender<Result<Bytes, axum::Error>>;

    fn paced(max: Duration) -> (Sender, Paced<UnboundedReceiver<Result<Bytes, axum::Error>>>) {
        let (send, chunks) = unbounded();
        (send, Paced::new(chunks, max, &Visit::unknown()))
    }

    fn send(sender: &Sender, bytes: &'static [u8]) {
        sender
            .unbounded_send(Ok(Bytes::from_static(bytes)))
            .unwrap();
    }

    #[tokio::test]
    async fn a_body_of_which_nothing_comes_is_given_up() {
        let (_sender, mut paced) = paced(Duration::from_millis(20));
        let verdict = paced.verdict();
        let problem = verdict.instead_of(Problem::bad_request("the body broke off"));
        assert_eq!(problem.status, 400);
        let next = paced.next().await;
        assert!(matches!(next, Some(Err(Broken::Slow(_)))), "{next:?}");
        assert!(paced.next().await.is_none());
        assert_eq!(verdict.instead_of(problem).code, "body-timeout");
    }

    #[tokio::test]
    async fn a_byte_now_and_then_buys_no_time_and_a_steady_body_does() {
        let second = Duration::from_secs(1);
        let (sender, mut paced) = paced(20 * second);
        paced.waited = 18 * second;
        send(&sender, b"x");
        paced.next().await.unwrap().unwrap();
        assert_eq!(paced.rest(), 2 * second);
        send(&sender, &[b'x'; BYTES_MIN]);
        paced.next().await.unwrap().unwrap();
        assert_eq!(paced.rest(), 20 * second);
    }

    #[tokio::test]
    async fn between_lines_it_is_waited_for_longer_than_within_one() {
        let second = Duration::from_secs(1);
        let (sender, lines) = paced(20 * second);
        let mut lines = lines.with_lines(600 * second, Bodies::new(1 << 20).nothing());
        for (chunk, rest) in [("a line\n", 600), ("a li", 20), ("ne\nan", 20), ("\n", 600)] {
            send(&sender, chunk.as_bytes());
            lines.next().await.unwrap().unwrap();
            assert_eq!(lines.rest(), rest * second, "{chunk}");
        }
    }

    #[tokio::test]
    async fn a_line_that_has_begun_counts_as_a_body() {
        let (sender, lines) = paced(Duration::from_secs(20));
        let bodies = Bodies::new(1 << 20);
        let mut other = bodies.nothing();
        assert!(other.resize(800 << 10));
        let mut lines = lines.with_lines(Duration::from_secs(600), bodies.nothing());
        send(&sender, &[b'x'; 90 << 10]);
        lines.next().await.unwrap().unwrap();
        send(&sender, &[b'x'; 90 << 10]);
        let next = lines.next().await;
        assert!(matches!(next, Some(Err(Broken::Overloaded))), "{next:?}");
    }
}
