//! All connections: how many there are, and which one has to make room.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::activity::{Activity, Rest};
use super::connection::Serving;
use super::limits::{Limiter, Network};

/// Open files that are reserved for everything else.
const FILES_KEPT: u64 = 64;
/// How long a connection has to send its first request, or to continue a body, before it can be
/// closed to make room for others.
const GRACE: Duration = Duration::from_secs(1);
/// Pause between two attempts to find room, or to accept after an error.
const RETRY: Duration = Duration::from_millis(100);
/// Pause between two log lines about the same.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Administration has this part of the connections, and at most this number of them.
const ADMINISTRATION_PART: usize = 8;
const ADMINISTRATION_MAX: usize = 64;
/// One connection's answers may use this part of the budget for all answers.
const CONNECTION_PART: usize = 8;

/// The connections of a listener.
pub struct Connections {
    serving: Serving,
    seats: Arc<Semaphore>,
    open: Arc<Open>,
    answer_bytes_max: usize,
    limiter: Arc<Limiter>,
    tasks: TaskTracker,
    logged_at: Option<Instant>,
}

/// The activity of the open connections.
#[derive(Default)]
struct Open {
    activities: Mutex<HashMap<u64, Arc<Activity>>>,
}

impl Connections {
    pub fn new(serving: Serving, options: &Options) -> Self {
        let wanted = options.connections_max.clamp(1, Semaphore::MAX_PERMITS);
        let tenants = options.tenants.as_ref();
        let max = match getrlimit(Resource::Nofile).current {
            Some(files) => {
                let of_tenants = tenants.map_or(0, |tenants| tenants.files_max(files));
                wanted.min(within(files.saturating_sub(of_tenants)))
            }
            None => wanted,
        };
        if max < wanted {
            tracing::warn!(
                max,
                wanted,
                "fewer connections than configured: the process may not open more files"
            );
        }
        Self {
            serving,
            seats: Arc::new(Semaphore::new(max)),
            open: Arc::default(),
            answer_bytes_max: options.answers_bytes_max / CONNECTION_PART,
            limiter: Arc::clone(&options.limits),
            tasks: TaskTracker::new(),
            logged_at: None,
        }
    }

    /// Reserves a part of the connections for another listener, so that neither takes all of them.
    pub fn divided(self, serving: Serving) -> (Self, Self) {
        let max = self.seats.available_permits();
        let part = (max / ADMINISTRATION_PART).clamp(1, ADMINISTRATION_MAX);
        self.seats.forget_permits(part.min(max - 1));
        let other = Self {
            serving,
            seats: Arc::new(Semaphore::new(part)),
            open: Arc::default(),
            answer_bytes_max: self.answer_bytes_max,
            limiter: Arc::clone(&self.limiter),
            tasks: TaskTracker::new(),
            logged_at: None,
        };
        (self, other)
    }

    /// Accepts connections until `ending`; then the open connections are finished. At the limit,
    /// the connection that has been idle longest is closed to make room; while none is idle, new
    /// ones wait.
    pub async fn run(mut self, listener: TcpListener, ending: CancellationToken) {
        let accepting = async {
            let mut number = 0;
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        if !self.has_room_for(peer.ip()) {
                            continue;
                        }
                        number += 1;
                        let seat = self.seat().await;
                        self.spawn(number, (stream, peer.ip()), seat);
                    }
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => {
                        self.log(&format!("no connection can be accepted: {error}"));
                        self.open.close_one(None);
                        sleep(RETRY).await;
                    }
                }
            }
        };
        tokio::select! {
            () = ending.cancelled() => {}
            () = accepting => {}
        }
        drop(listener);
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether an address may have one more connection. If it has as many as it may, the one that has
    /// been idle longest is closed in its place.
    fn has_room_for(&mut self, peer: IpAddr) -> bool {
        let max = self.limiter.limits().address_connections;
        let network = Network::of(Some(peer));
        if max == 0 || self.open.count(network) < max as usize || self.open.close_one(Some(network))
        {
            return true;
        }
        self.log(&format!(
            "a connection of {peer} was closed: its address has {max} that are in use \
             (address_connections in [limits])"
        ));
        false
    }

    async fn seat(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
                return seat;
            }
            self.log("as many connections are open as may be: the longest idle ones are closed");
            self.open.close_one(None);
            let waiting = Arc::clone(&self.seats).acquire_owned();
            if let Ok(Ok(seat)) = timeout(RETRY, waiting).await {
                return seat;
            }
        }
    }

    fn spawn(&self, number: u64, (stream, peer): (TcpStream, IpAddr), seat: OwnedSemaphorePermit) {
        // An event is sent at once, not together with the next one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set on a connection");
        }
        let activity = Activity::new(self.answer_bytes_max, Some(peer));
        let open = Arc::clone(&self.open);
        open.activities().insert(number, Arc::clone(&activity));
        let serving = self.serving.clone();
        // After a panic of the task the connection is closed, and its place is free.
        self.tasks.spawn(async move {
            let _left = PlaceGuard { open, number, seat };
            serving.serve(stream, activity).await;
        });
    }

    fn log(&mut self, what: &str) {
        let is_due = self.logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if is_due {
            self.logged_at = Some(Instant::now());
            tracing::warn!("{what}");
        }
    }
}

impl Open {
    fn activities(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        let activities = self.activities.lock();
        activities.unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection that has been idle longest. Connections that have never sent a
    /// complete request come first, unless they are new; connections whose requests wait for their
    /// bodies come last. With a network, only its connections are closed. Returns whether one was.
    fn close_one(&self, network: Option<Network>) -> bool {
        let activities = self.activities();
        let candidates = activities.values().filter(|it| {
            let is_of = |network| Network::of(it.peer) == network;
            !it.gone.is_cancelled() && network.is_none_or(is_of)
        });
        let resting = candidates.filter_map(|activity| {
            let (rest, since) = activity.rest()?;
            let is_new = since.elapsed() < GRACE;
            let order = match rest {
                Rest::Silent if !is_new => 0,
                Rest::Silent | Rest::Idle => 1,
                Rest::Waiting if !is_new => 2,
                Rest::Waiting => return None,
            };
            Some(((order, since), activity))
        });
        let longest = resting.min_by_key(|(order, _)| *order);
        if let Some((_, activity)) = longest {
            activity.gone.cancel();
        }
        longest.is_some()
    }

    /// Number of connections of a network.
    fn count(&self, network: Network) -> usize {
        let activities = self.activities();
        let open = activities.values().filter(|it| !it.gone.is_cancelled());
        open.filter(|it| Network::of(it.peer) == network).count()
    }
}

/// Releases a connection's place when it is closed, in whatever way.
struct PlaceGuard {
    open: Arc<Open>,
    number: u64,
    #[expect(dead_code, reason = "it is given back when it is dropped")]
    seat: OwnedSemaphorePermit,
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        self.open.activities().remove(&self.number);
    }
}

/// Number of connections for which there are files, if the process may open this many files.
fn within(files: u64) -> usize {
    let rest = files.saturating_sub(FILES_KEPT).max(files / 4).max(1);
    usize::try_from(rest).unwrap_or(usize::MAX)
}

/// Whether an error concerns the connection that was being accepted, not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_everything_else() {
        for (files, connections) in [(0, 1), (8, 2), (80, 20), (1_024, 960)] {
            assert_eq!(within(files), connections, "{files}");
        }
    }

    #[tokio::test]
    async fn the_longest_idle_one_makes_room_and_none_that_works_does() {
        let open = Open::default();
        let activities: Vec<_> = (0..3).map(|_| Activity::new(1, None)).collect();
        let requests: Vec<_> = activities.iter().map(|it| it.begin(false)).collect();
        for (number, activity) in (0..).zip(&activities) {
            open.activities().insert(number, Arc::clone(activity));
        }
        let gone = || {
            let gone = activities.iter().map(|it| it.gone.is_cancelled());
            gone.collect::<Vec<_>>()
        };
        open.close_one(None);
        assert_eq!(gone(), [false, false, false]);
        let mut requests = requests.into_iter();
        let first = requests.next();
        drop(requests.next());
        drop(first);
        open.close_one(None);
        assert_eq!(gone(), [false, true, false]);
        open.close_one(None);
        assert_eq!(gone(), [true, true, false]);
        open.close_one(None);
        assert_eq!(gone(), [true, true, false]);
    }
}
