//! Answers on their way to the client, and the memory that they use.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::activity::{Activity, InFlight};
use super::budget::Reservation;
use super::failure::{Failure, Result};
use super::request::away;
use quipu::model::RecordedEvent;
use quipu::store::PAGE_BYTES_MAX;
use quipu_api::Code;
use quipu_identity::Names;

/// Bodies are given to the connection in parts of this size. This shows whether the client reads.
pub const PART_BYTES: usize = 64 << 10;

/// Where a request comes from, and when it arrived.
#[derive(Debug, Clone)]
pub struct Visit {
    pub arrived: Instant,
    activity: Option<Arc<Activity>>,
}

impl Visit {
    pub fn new(activity: &Arc<Activity>) -> Self {
        Self {
            arrived: Instant::now(),
            activity: Some(Arc::clone(activity)),
        }
    }

    /// The origin of a request.
    pub fn of(request: &Request) -> Self {
        let visit = request.extensions().get::<Self>();
        visit.map_or_else(Self::unknown, Self::clone)
    }

    /// The activity of its connection.
    pub fn activity(&self) -> Option<Arc<Activity>> {
        self.activity.clone()
    }

    /// The names in the certificate of the client.
    pub fn names(&self) -> Option<Arc<Names>> {
        let activity = self.activity.as_ref()?;
        activity.names.get().cloned()
    }

    /// The address of the client.
    pub fn peer(&self) -> Option<IpAddr> {
        self.activity.as_ref().and_then(|activity| activity.peer)
    }

    /// The origin of a request that arrived without a connection of this server.
    pub fn unknown() -> Self {
        Self {
            arrived: Instant::now(),
            activity: None,
        }
    }

    /// Waits until there is memory for an answer with a page.
    pub async fn room(&self, app: &App) -> Result<Room> {
        let making = async {
            let of_connection = match &self.activity {
                Some(activity) => Some(activity.answers.hold(PAGE_BYTES_MAX).await),
                None => None,
            };
            let of_all = app.answers.hold(PAGE_BYTES_MAX).await;
            Room {
                of_connection,
                of_all,
            }
        };
        // The answer may use the rest of the request's time.
        let until = self.arrived + app.options.request_time_max / 2;
        timeout_at(until, making).await.map_err(|_| {
            let detail = "unread answers use all of their memory; try again";
            Failure::new(Code::Overloaded, detail)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> std::result::Result<Self, Self::Rejection> {
        let visit = parts.extensions.get::<Self>();
        Ok(visit.map_or_else(Self::unknown, Self::clone))
    }
}

/// Memory that is reserved for an answer. The answer releases the part that it does not need.
pub struct Room {
    of_connection: Option<Reservation>,
    of_all: Reservation,
}

impl Room {
    /// The answer with a page of events, which holds the memory until it is sent.
    pub fn with(
        self,
        events: &[RecordedEvent],
        answer: impl FnOnce() -> Result<Response>,
    ) -> Result<Response> {
        let bytes = events.iter().map(|event| event.body.len()).sum();
        Ok(self.of(away(bytes, answer)?))
    }

    /// Holds as much as is needed. What is longer than expected is sent nevertheless.
    pub fn resize(&mut self, bytes: usize) {
        _ = self.of_all.resize(bytes);
        if let Some(held) = &mut self.of_connection {
            _ = held.resize(bytes);
        }
    }

    /// The answer, which holds the memory until it is sent.
    pub fn of(mut self, response: Response) -> Response {
        if let Some(bytes) = response.body().size_hint().exact() {
            self.resize(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        response.map(|body| Body::new(Roomy { body, _room: self }))
    }
}

/// A body with its reserved memory.
struct Roomy {
    body: Body,
    _room: Room,
}

impl HttpBody for Roomy {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body on its connection. While a part of it is ready and the client does not take it, the
/// connection's idle time runs.
pub struct Answering {
    body: Body,
    rest: Bytes,
    is_offered: bool,
    in_flight: InFlight,
}

impl Answering {
    pub fn new(body: Body, in_flight: InFlight) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            is_offered: false,
            in_flight,
        }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_offered) {
            this.in_flight.offer(false);
        }
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let part = this.rest.split_to(this.rest.len().min(PART_BYTES));
        this.in_flight.offer(true);
        this.is_offered = true;
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::activity::{Overdue, Patience};
    use super::*;

    #[tokio::test]
    async fn a_body_comes_in_parts_and_the_time_runs_until_each_is_taken() {
        let second = std::time::Duration::from_secs(1);
        let patience = Patience {
            head: second,
            idle: second,
            unread: second,
        };
        let activity = Activity::new(1 << 20, None);
        let body = Body::from(vec![7; PART_BYTES + 1]);
        let mut answering = Answering::new(body, activity.begin(true));
        let mut sizes = Vec::new();
        while !answering.is_end_stream() {
            assert_eq!(
                answering.size_hint().exact(),
                Some((PART_BYTES + 1 - sizes.iter().sum::<usize>()) as u64)
            );
            let frame = poll_fn(|context| Pin::new(&mut answering).poll_frame(context)).await;
            sizes.push(frame.unwrap().unwrap().into_data().unwrap().len());
            let due = activity.due(&patience).map(|(_, overdue)| overdue);
            assert_eq!(due, Some(Overdue::Unread));
        }
        assert_eq!(sizes, [PART_BYTES, 1]);
        drop(answering);
        let due = activity.due(&patience).map(|(_, overdue)| overdue);
        assert_eq!(due, Some(Overdue::Idle));
    }
}
