use std::sync::Arc;

use tokio::sync::watch;

use super::hub::Shared;
use super::waiters::Board;
use crate::deploy;
use crate::model::Backoff;
use crate::model::{Position, RecordedEvent, SharedThrottle};
use crate::store::{self, Direction, Filter, LOG_PAGE_MAX, LogPage};

/// Reads the log once for all subscriptions, until the host shuts down. While there are no
/// subscriptions, nothing is read.
pub(super) async fn run(shared: Arc<Shared>, grown: watch::Receiver<u64>) {
    let ending = shared.ending.clone();
    tokio::select! {
        () = ending.cancelled() => {}
        () = follow(&shared, grown) => {
            tracing::warn!("the log is not observed any more; all subscriptions end");
        }
    }
    shared.update(Board::close);
}

/// Follows the log until the store is gone.
async fn follow(shared: &Shared, mut grown: watch::Receiver<u64>) {
    loop {
        while shared.board().len() == 0 {
            shared.joined.notified().await;
        }
        let mut at = begin(shared).await;
        loop {
            // Marked as seen before the log is read, so that events appended meanwhile are not
            // missed.
            grown.borrow_and_update();
            match catch_up(shared, at).await {
                Some(position) => at = position,
                None => break,
            }
            if grown.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Starts the ring at the current end of the log. Returns the position from which to continue.
async fn begin(shared: &Shared) -> Position {
    let mut backoff = Backoff::of_reads();
    loop {
        match shared.reader.log_head().await {
            Ok(head) => {
                // Read after the head, so that every plan under which events up to the head were
                // committed is known.
                learn_plan(shared).await;
                shared.update(|board| board.begin(head));
                // A ring that already follows the log continues at its own end.
                return shared.board().end();
            }
            Err(error) => pause(shared, &error, &mut backoff).await,
        }
    }
}

/// Publishes everything after a position. Returns `None` if there are no subscriptions.
async fn catch_up(shared: &Shared, mut at: Position) -> Option<Position> {
    let (filter, mut backoff) = (Filter::default(), Backoff::of_reads());
    // Each plan is looked up only once, because the history may not have it, for example during an
    // import.
    let mut last_plan = 0;
    loop {
        if shared.board().rest() {
            return None;
        }
        let reading = shared
            .reader
            .read_log(at, Direction::Forward, LOG_PAGE_MAX, &filter);
        match reading.await {
            Ok(LogPage { events, next, head }) => {
                backoff.reset();
                if let Some(plan) = unknown_plan(shared, &events).filter(|plan| *plan > last_plan) {
                    last_plan = plan;
                    learn_plan(shared).await;
                }
                at = at.max(next.unwrap_or(head));
                shared.update(|board| board.put_up(events, at, next.is_none()));
                if next.is_none() {
                    return Some(at);
                }
            }
            Err(error) => pause(shared, &error, &mut backoff).await,
        }
    }
}

/// Returns the newest plan under which the events were committed, if it is not known here yet.
/// Another host may have raised it, or this one is about to publish it.
fn unknown_plan(shared: &Shared, events: &[RecordedEvent]) -> Option<u64> {
    let newest = events.iter().map(|event| event.commit.plan).max()?;
    (newest > shared.reading.plan().number).then_some(newest)
}

/// Reads the activations. If one of their modules can't be loaded, the known plan stays current.
async fn learn_plan(shared: &Shared) {
    let mut backoff = Backoff::of_reads();
    while let Some(registry) = shared.registry.upgrade() {
        match registry.refresh().await {
            Ok(()) => return,
            Err(deploy::Error::Store(error)) if !error.is_lasting() => {
                drop(registry);
                pause(shared, &error, &mut backoff).await;
            }
            Err(error) => {
                tracing::error!(%error, "could not read the plan; the previous one is used");
                return;
            }
        }
    }
}

/// Limits log entries about a log that can't be read: every attempt may fail.
static SAID: SharedThrottle = SharedThrottle::new();

async fn pause(shared: &Shared, error: &store::Error, backoff: &mut Backoff) {
    if let Some(left_out) = SAID.pass(&error.to_string()) {
        let why = "could not read the log for subscriptions; retrying";
        tracing::error!(%error, left_out, "{why}");
    }
    if error.is_lasting() {
        shared.update(|board| board.fail(error));
    }
    tokio::time::sleep(backoff.next_pause()).await;
}
