use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::board::Look;
use super::hub::Seat;
use super::page::Page;
use super::wants::Wants;
use super::{Error, Message, Place};
use crate::model::{Position, Version};

/// A subscription: first what is in the store already, in pages, then what is
/// committed, from the ring that all subscriptions share; no event is missed or comes
/// twice. It reads only while it is polled, and holds no more than one page. After an
/// error, and when the host ends, it is over.
pub struct Subscription {
    seat: Seat,
    wants: Arc<Wants>,
    /// Everything up to here has been told, or does not pass.
    at: Position,
    /// The version of its stream that was told last.
    seen: Version,
    state: State,
    /// Whether it has come to the ring since it last read pages.
    is_live: bool,
    /// It has caught up when it comes there; none when that has been told.
    target: Option<Position>,
    page_events: usize,
    heartbeat: Heartbeat,
}

enum State {
    Ring,
    Reading(BoxFuture<'static, Result<Page, Error>>),
    Page(Page),
    Ended,
}

impl Subscription {
    pub(super) fn new(
        seat: Seat,
        wants: Arc<Wants>,
        at: Position,
        seen: Version,
        heartbeat: Duration,
    ) -> Self {
        let page_events = seat.shared.options.page_events_max.max(1);
        Self {
            seat,
            wants,
            at,
            seen,
            state: State::Ring,
            is_live: false,
            target: None,
            page_events,
            heartbeat: Heartbeat::every(heartbeat),
        }
    }

    /// How far it is.
    pub fn place(&self) -> Place {
        match &*self.wants {
            Wants::Stream(_) => Place::Stream(self.seen),
            Wants::Log(_) | Wants::Commits => Place::Log(self.at),
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            match &mut self.state {
                State::Ring => match self.look(context) {
                    Ok(Some(polled)) => return polled.map(|message| Some(Ok(message))),
                    Ok(None) => {}
                    Err(error) => return self.end(error),
                },
                State::Reading(reading) => match ready!(reading.as_mut().poll(context)) {
                    Ok(page) => self.state = State::Page(page),
                    Err(error) => return self.end(error),
                },
                State::Page(page) => {
                    if let Some(event) = page.events.next() {
                        (self.at, self.seen) = (event.position, event.version);
                        return Poll::Ready(Some(Ok(Message::Event(Arc::new(event)))));
                    }
                    self.at = self.at.max(page.at);
                    let (is_last, cut_to) = (page.is_last, page.cut_to);
                    let events_max = self.seat.shared.options.page_events_max.max(1);
                    let more = self.page_events.saturating_mul(2).min(events_max);
                    self.page_events = cut_to.unwrap_or(more);
                    match is_last {
                        true => self.state = State::Ring,
                        false => self.read(),
                    }
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Looks at the ring. None when there is more to be done at once.
    fn look(&mut self, context: &Context<'_>) -> Result<Option<Poll<Message>>, Error> {
        if self.target.is_some_and(|target| self.at >= target) {
            return Ok(Some(Poll::Ready(self.caught_up())));
        }
        let (id, shared) = (self.seat.id, &self.seat.shared);
        let mut board = shared.board();
        let look = board.look(id, &mut self.at, self.seen, context.waker())?;
        let end = board.end();
        drop(board);
        if matches!(look, Look::Event(_) | Look::More | Look::Waiting) && !self.is_live {
            self.is_live = true;
            self.target = Some(end);
        }
        match look {
            Look::Event(event) => {
                self.seen = event.version;
                Ok(Some(Poll::Ready(Message::Event(event))))
            }
            Look::Waiting if self.target.is_some() => Ok(Some(Poll::Ready(self.caught_up()))),
            Look::Waiting | Look::Starting => Ok(Some(Poll::Pending)),
            Look::More => Ok(None),
            Look::Behind => {
                self.is_live = false;
                self.target = None;
                self.read();
                Ok(None)
            }
        }
    }

    fn caught_up(&mut self) -> Message {
        self.target = None;
        Message::CaughtUp(self.place())
    }

    fn read(&mut self) {
        let (shared, wants) = (Arc::clone(&self.seat.shared), Arc::clone(&self.wants));
        let place = (self.at, self.seen);
        let reading = Page::read(shared, wants, place, self.page_events);
        self.state = State::Reading(Box::pin(reading));
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Message, Error>>> {
        self.state = State::Ended;
        Poll::Ready(match error {
            Error::Stopped => None,
            error => Some(Err(error)),
        })
    }
}

impl Stream for Subscription {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let budget = ready!(tokio::task::coop::poll_proceed(context));
        if this.seat.shared.ending.is_cancelled() {
            this.state = State::Ended;
        }
        let polled = match this.advance(context) {
            Poll::Pending if this.heartbeat.poll(context).is_ready() => {
                Poll::Ready(Some(Ok(Message::Heartbeat(this.place()))))
            }
            polled => polled,
        };
        if polled.is_ready() {
            budget.made_progress();
            this.heartbeat.told();
        }
        polled
    }
}

/// Due when nothing has been told for a time. The timer is set again only when it has
/// run out, not at every event.
struct Heartbeat {
    every: Duration,
    told_at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Heartbeat {
    fn every(every: Duration) -> Self {
        Self {
            // The timer's own resolution, and what every clock can add.
            every: every.clamp(Duration::from_millis(1), Duration::from_hours(24)),
            told_at: Instant::now(),
            timer: None,
        }
    }

    fn told(&mut self) {
        self.told_at = Instant::now();
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.told_at + self.every;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(context));
            if due <= Instant::now() {
                timer.as_mut().reset(Instant::now() + self.every);
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
