use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::hub::Seat;
use super::interest::{Wants, Which};
use super::page::Page;
use super::waiters::NextEvent;
use super::{Error, Message, Place};
use crate::deploy::Plan;
use crate::model::{Position, RecordedEvent, Version};
use crate::upcast::Form;

/// A subscription: first the events that are already in the store, read in pages, then newly
/// committed events from the ring that all subscriptions share. No event is missed or delivered
/// twice. A subscription only reads while it is polled, and holds at most one page. It ends after
/// an error, and when the host shuts down.
///
/// Events are lifted, unless they are requested as they are stored. An event that an upcaster
/// splits is delivered in parts, and one that an upcaster drops is not delivered. At an event that
/// can't be lifted, the subscription ends, after all events before it have been delivered.
pub struct Subscription {
    seat: Seat,
    wants: Arc<Wants>,
    /// Everything up to here has been delivered, or is not selected.
    at: Position,
    /// The version of its stream that was delivered last.
    seen: Version,
    state: State,
    /// Whether it has reached the ring since it last read pages.
    is_live: bool,
    /// The position at which it has caught up. `None` if that has been reported.
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

    /// Returns the checkpoint. It moves only after all parts of a stored event, so that a reader
    /// who resumes here gets either all parts of a split event or none.
    pub fn place(&self) -> Place {
        match &self.wants.which {
            Which::Stream(_) => Place::Stream(self.seen),
            Which::Log(_) | Which::Commits => Place::Log(self.at),
        }
    }

    /// Whether an event was the last one that is delivered for its stored event.
    pub(super) fn has_delivered(&self, event: &RecordedEvent) -> bool {
        match self.place() {
            Place::Log(position) => event.position <= position,
            Place::Stream(version) => event.version <= version,
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            match &mut self.state {
                State::Ring => match self.check_ring(context) {
                    Ok(Some(polled)) => return polled.map(|message| Some(Ok(message))),
                    Ok(None) => {}
                    Err(error) => return self.end(error),
                },
                State::Reading(reading) => match ready!(reading.as_mut().poll(context)) {
                    Ok(page) => self.state = State::Page(page),
                    Err(error) => return self.end(error),
                },
                State::Page(page) => {
                    if let Some((event, is_whole)) = page.next() {
                        if is_whole {
                            (self.at, self.seen) = (event.position, event.version);
                        }
                        return Poll::Ready(Some(Ok(Message::Event(event))));
                    }
                    self.at = self.at.max(page.at);
                    self.seen = self.seen.max(page.seen);
                    if let Some(error) = page.failed.take() {
                        return self.end(error);
                    }
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

    /// Checks the ring. Returns `None` if the caller has to continue immediately.
    fn check_ring(&mut self, context: &Context<'_>) -> Result<Option<Poll<Message>>, Error> {
        if self.target.is_some_and(|target| self.at >= target) {
            return Ok(Some(Poll::Ready(self.caught_up())));
        }
        let (id, shared) = (self.seat.id, &self.seat.shared);
        let mut board = shared.board();
        let next = board.next_event(id, &mut self.at, self.seen, context.waker())?;
        let end = board.end();
        drop(board);
        if matches!(
            next,
            NextEvent::Event(..) | NextEvent::More | NextEvent::Waiting
        ) && !self.is_live
        {
            self.is_live = true;
            self.target = Some(end);
        }
        match next {
            NextEvent::Event(event, plan) => Ok(self.take(event, plan)),
            NextEvent::Waiting if self.target.is_some() => Ok(Some(Poll::Ready(self.caught_up()))),
            NextEvent::Waiting | NextEvent::Starting => Ok(Some(Poll::Pending)),
            NextEvent::More => Ok(None),
            NextEvent::OutOfRing => {
                self.is_live = false;
                self.target = None;
                self.read();
                Ok(None)
            }
        }
    }

    /// Takes an event of the ring. Returns `None` if it is not delivered, or has to be lifted
    /// first.
    fn take(&mut self, event: Arc<RecordedEvent>, plan: Arc<Plan>) -> Option<Poll<Message>> {
        let event = match self.wants.form {
            Form::Stored => event,
            Form::Lifted if plan.needs_guest(&event) => {
                self.lift(event, plan);
                return None;
            }
            Form::Lifted => plan.relabelled(event),
        };
        (self.at, self.seen) = (event.position, event.version);
        let takes = self.wants.takes(&event, &plan);
        takes.then_some(Poll::Ready(Message::Event(event)))
    }

    /// Starts lifting an event of the ring, together with later ones that are there.
    fn lift(&mut self, event: Arc<RecordedEvent>, plan: Arc<Plan>) {
        let (shared, wants) = (Arc::clone(&self.seat.shared), Arc::clone(&self.wants));
        let bounds = (self.page_events, shared.options.page_bytes_max);
        let events = shared.board().run(event, &wants, &plan, bounds);
        let lifting = Page::lift(shared, wants, plan, self.at, events);
        self.state = State::Reading(Box::pin(lifting));
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
            this.heartbeat.record_delivery();
        }
        polled
    }
}

/// A timer that fires when nothing has been delivered for a time. It is only reset after it has
/// fired, not for every event.
struct Heartbeat {
    every: Duration,
    delivered_at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Heartbeat {
    fn every(every: Duration) -> Self {
        Self {
            // From the timer's own resolution to a time that every clock can add.
            every: every.clamp(Duration::from_millis(1), Duration::from_hours(24)),
            delivered_at: Instant::now(),
            timer: None,
        }
    }

    fn record_delivery(&mut self) {
        self.delivered_at = Instant::now();
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.delivered_at + self.every;
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
