//! Bodies whose length is not declared: each part is charged when it arrives.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{Key, Limiter};

/// How long a part of a body waits for its caller's rate. Then the request fails.
const WAIT_MAX: Duration = Duration::from_secs(10);

type Part = Option<Result<Frame<Bytes>, axum::Error>>;

/// A body that arrives no faster than the caller's rate.
pub struct Charged {
    body: Body,
    limiter: Arc<Limiter>,
    key: Key,
    /// A part that waits, and until when it waits at most.
    waiting: Option<(Frame<Bytes>, Pin<Box<Sleep>>, Instant)>,
}

impl Charged {
    pub fn new(body: Body, limiter: Arc<Limiter>, key: Key) -> Self {
        Self {
            body,
            limiter,
            key,
            waiting: None,
        }
    }

    /// Passes a part on, or lets it wait.
    fn charge(&mut self, frame: Frame<Bytes>, until: Option<Instant>) -> Option<Part> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Err(excess) = self.limiter.take_bytes(&self.key, bytes) else {
            return Some(Some(Ok(frame)));
        };
        let now = Instant::now();
        let until = until.unwrap_or(now + WAIT_MAX);
        if now + excess.wait > until {
            self.body = Body::empty();
            return Some(Some(Err(axum::Error::new(excess))));
        }
        // The bucket has something a moment after it is empty.
        let pause = sleep(excess.wait + Duration::from_millis(1));
        self.waiting = Some((frame, Box::pin(pause), until));
        None
    }
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Part> {
        loop {
            let (frame, until) = match self.waiting.take() {
                Some((frame, mut pause, until)) => {
                    if pause.as_mut().poll(context).is_pending() {
                        self.waiting = Some((frame, pause, until));
                        return Poll::Pending;
                    }
                    (frame, Some(until))
                }
                None => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                    Some(Ok(frame)) => (frame, None),
                    end => return Poll::Ready(end),
                },
            };
            if let Some(part) = self.charge(frame, until) {
                return Poll::Ready(part);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.waiting {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
