//! The activity of a connection, and since when it is idle.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::meters::Active;
use quipu_identity::Names;

/// How long a connection may be idle.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a head to its end; for the first head of a connection, from the start
    /// of the connection.
    pub head: Duration,
    /// Between an answer and the next head.
    pub idle: Duration,
    /// Until a part of an answer is read.
    pub unread: Duration,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Head,
    Idle,
    Unread,
}

/// How a connection is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// No request has arrived yet.
    Silent,
    /// All requests are answered.
    Idle,
    /// All requests wait for their bodies.
    Waiting,
}

/// The activity of one connection.
#[derive(Debug)]
pub struct Activity {
    state: Mutex<State>,
    /// Cancelled when the connection has to make room.
    pub gone: CancellationToken,
    /// The part of the shared answer budget that its answers may use.
    pub answers: Budget,
    /// The address of the client.
    pub peer: Option<IpAddr>,
    /// The names in the certificate of the client, if it has shown one.
    pub names: OnceLock<Arc<Names>>,
}

#[derive(Debug)]
struct State {
    /// Requests that are not completely answered.
    in_flight: usize,
    /// Those of them whose answer ends only when the client or the host ends it.
    endless: usize,
    /// Those of them whose body is expected to continue.
    waiting: usize,
    waiting_since: Instant,
    /// Whether there was a request.
    is_used: bool,
    is_http2: bool,
    /// Since when no request is in flight.
    idle_since: Instant,
    /// When the first byte of the next head came.
    head_since: Option<Instant>,
    written_at: Instant,
    /// Parts of answers that are ready but that the client has not read yet: since when.
    unread: BTreeMap<u64, Instant>,
    requests: u64,
    /// Endless answers that end because the client does not read.
    cut: usize,
}

/// A request that is not completely answered.
#[derive(Debug)]
pub struct InFlight {
    activity: Arc<Activity>,
    number: u64,
    is_endless: bool,
    /// Counts it among the active requests of the server.
    measured: Option<Active>,
}

impl Activity {
    pub fn new(answer_bytes_max: usize, peer: Option<IpAddr>) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            endless: 0,
            waiting: 0,
            waiting_since: now,
            is_used: false,
            is_http2: false,
            idle_since: now,
            head_since: None,
            written_at: now,
            unread: BTreeMap::new(),
            requests: 0,
            cut: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            gone: CancellationToken::new(),
            answers: Budget::new(answer_bytes_max),
            peer,
            names: OnceLock::new(),
        })
    }

    /// A request begins.
    pub fn begin(self: &Arc<Self>, is_http2: bool) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.requests += 1;
        state.is_used = true;
        state.is_http2 = is_http2;
        state.head_since = None;
        InFlight {
            activity: Arc::clone(self),
            number: state.requests,
            is_endless: false,
            measured: None,
        }
    }

    /// The client has not read for too long, so the connection will be closed.
    pub fn unread_too_long(&self) {
        let mut state = self.state();
        state.cut = state.cut.max(state.endless);
    }

    /// How many endless answers were ended because the client did not read.
    pub fn cut(&self) -> usize {
        self.state().cut
    }

    /// Bytes arrived.
    pub fn read(&self) {
        let mut state = self.state();
        if state.in_flight == 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// The client's side took bytes.
    pub fn written(&self) {
        self.state().written_at = Instant::now();
    }

    /// The body of a request in flight is expected to continue.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        let mut state = self.state();
        state.waiting += 1;
        state.waiting_since = Instant::now();
        Waiting(Arc::clone(self))
    }

    /// Since when the connection is idle, if it is.
    pub fn rest(&self) -> Option<(Rest, Instant)> {
        let state = self.state();
        match (state.in_flight, state.is_used) {
            (0, false) => Some((Rest::Silent, state.idle_since)),
            (0, true) => Some((Rest::Idle, state.idle_since)),
            (in_flight, _) if in_flight <= state.waiting => {
                Some((Rest::Waiting, state.waiting_since))
            }
            _ => None,
        }
    }

    /// Since when nothing was sent and nothing is in flight, except endless answers whose
    /// clients do not read.
    pub fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        let since = state.idle_since.max(state.written_at);
        (state.in_flight == state.endless).then_some(since)
    }

    /// When the connection has to be closed unless something happens before, as far as that is
    /// known now.
    pub fn due(&self, patience: &Patience) -> Option<(Instant, Overdue)> {
        let state = self.state();
        if let Some(oldest) = state.unread.values().min() {
            let time = match state.is_http2 {
                true => patience.unread,
                // Writing fails there, too. A subscription first reports that the client is too
                // slow.
                false => patience.unread * 3 / 2,
            };
            return Some((*oldest + time, Overdue::Unread));
        }
        if state.in_flight > 0 {
            return None;
        }
        // On HTTP/2, frames between requests are not the start of a head.
        let due = match (state.is_used, state.is_http2, state.head_since) {
            (false, ..) => (state.idle_since + patience.head, Overdue::Head),
            (true, false, Some(since)) => (since + patience.head, Overdue::Head),
            (true, true, _) => (state.idle_since + patience.idle, Overdue::Idle),
            (true, false, None) => {
                let since = state.idle_since.max(state.written_at);
                (since + patience.idle, Overdue::Idle)
            }
        };
        Some(due)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    /// Counts the request among the active requests of the server until it is completely answered.
    pub fn measure(&mut self, active: Active) {
        self.measured = Some(active);
    }

    /// The answer is endless: it ends when the client or the host ends it.
    pub fn has_no_end(&mut self) {
        if !std::mem::replace(&mut self.is_endless, true) {
            self.activity.state().endless += 1;
        }
    }

    /// A part of the answer is ready, or the client took the part before it.
    pub fn offer(&self, is_ready: bool) {
        let mut state = self.activity.state();
        match is_ready {
            true => _ = state.unread.insert(self.number, Instant::now()),
            false => _ = state.unread.remove(&self.number),
        }
    }
}

/// A body that is expected to continue.
#[derive(Debug)]
pub struct Waiting(Arc<Activity>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        drop(self.measured.take());
        let mut state = self.activity.state();
        state.unread.remove(&self.number);
        state.in_flight -= 1;
        state.endless -= usize::from(self.is_endless);
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(1),
        idle: Duration::from_secs(10),
        unread: Duration::from_secs(100),
    };

    fn overdue(activity: &Activity) -> Option<Overdue> {
        activity.due(&PATIENCE).map(|(_, overdue)| overdue)
    }

    #[tokio::test]
    async fn the_next_head_is_waited_for_and_has_to_end() {
        let activity = Activity::new(1 << 20, None);
        assert_eq!(overdue(&activity), Some(Overdue::Head));
        let first = activity.begin(false);
        assert_eq!(overdue(&activity), None);
        // The rest of its body.
        activity.read();
        drop(first);
        assert_eq!(overdue(&activity), Some(Overdue::Idle));
        activity.read();
        let (due, overdue) = activity.due(&PATIENCE).unwrap();
        assert_eq!(overdue, Overdue::Head);
        // Further bytes do not extend the time.
        activity.read();
        assert_eq!(activity.due(&PATIENCE).unwrap().0, due);
    }

    #[tokio::test]
    async fn who_waits_for_bodies_only_does_nothing() {
        let activity = Activity::new(1 << 20, None);
        let rest = || activity.rest().map(|(rest, _)| rest);
        assert_eq!(rest(), Some(Rest::Silent));
        let (first, second) = (activity.begin(true), activity.begin(true));
        let waiting = activity.wait();
        assert_eq!(rest(), None);
        drop(second);
        assert_eq!(rest(), Some(Rest::Waiting));
        drop(waiting);
        assert_eq!(rest(), None);
        drop(first);
        assert_eq!(rest(), Some(Rest::Idle));
    }

    #[tokio::test]
    async fn what_is_not_read_is_due_while_other_requests_are_in_flight() {
        let activity = Activity::new(1 << 20, None);
        let (first, _second) = (activity.begin(true), activity.begin(true));
        first.offer(true);
        assert_eq!(overdue(&activity), Some(Overdue::Unread));
        first.offer(false);
        assert_eq!(overdue(&activity), None);
        first.offer(true);
        drop(first);
        assert_eq!(overdue(&activity), None);
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_waited_for() {
        let activity = Activity::new(1 << 20, None);
        let (mut endless, usual) = (activity.begin(true), activity.begin(true));
        endless.has_no_end();
        assert_eq!(activity.quiet_since(), None);
        drop(usual);
        assert!(activity.quiet_since().is_some());
        let usual = activity.begin(true);
        drop(endless);
        assert_eq!(activity.quiet_since(), None);
        drop(usual);
        assert!(activity.quiet_since().is_some());
    }

    #[tokio::test]
    async fn frames_between_requests_begin_no_head_on_http2() {
        let activity = Activity::new(1 << 20, None);
        drop(activity.begin(true));
        activity.read();
        assert_eq!(overdue(&activity), Some(Overdue::Idle));
    }
}
