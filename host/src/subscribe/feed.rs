use std::sync::Arc;

use tokio::sync::watch;

use super::board::Board;
use super::hub::Shared;
use crate::deploy;
use crate::model::Backoff;
use crate::model::{Position, RecordedEvent};
use crate::store::{self, Direction, Filter, LOG_PAGE_MAX, LogPage};

/// Reads the log once for all subscriptions, until the host ends. While nobody has
/// subscribed it reads nothing.
pub(super) async fn run(shared: Arc<Shared>, grown: watch::Receiver<u64>) {
    let ending = shared.ending.clone();
    tokio::select! {
        () = ending.cancelled() => {}
        () = follow(&shared, grown) => {
            tracing::warn!("nobody tells any more that the log grows: subscriptions end");
        }
    }
    shared.tell(Board::close);
}

/// Ends when the store is gone.
async fn follow(shared: &Shared, mut grown: watch::Receiver<u64>) {
    loop {
        while shared.board().len() == 0 {
            shared.joined.notified().await;
        }
        let mut at = begin(shared).await;
        loop {
            // Seen before the log is read, so that what comes meanwhile is not missed.
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

/// The ring follows the log from where it ends now.
async fn begin(shared: &Shared) -> Position {
    let mut backoff = Backoff::of_reads();
    loop {
        match shared.reader.log_head().await {
            Ok(head) => {
                // Behind the head: the plan is known under which all before it was committed.
                learn_plan(shared).await;
                shared.tell(|board| board.begin(head));
                // A ring that follows the log already goes on where it ends.
                return shared.board().end();
            }
            Err(error) => pause(shared, &error, &mut backoff).await,
        }
    }
}

/// Puts up everything behind a position. None when nobody is there to see it.
async fn catch_up(shared: &Shared, mut at: Position) -> Option<Position> {
    let (filter, mut backoff) = (Filter::default(), Backoff::of_reads());
    // Plans that the history does not hold, as in the middle of an import, are asked for
    // once.
    let mut asked = 0;
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
                if let Some(plan) = unknown_plan(shared, &events).filter(|plan| *plan > asked) {
                    asked = plan;
                    learn_plan(shared).await;
                }
                at = at.max(next.unwrap_or(head));
                shared.tell(|board| board.put_up(events, at, next.is_none()));
                if next.is_none() {
                    return Some(at);
                }
            }
            Err(error) => pause(shared, &error, &mut backoff).await,
        }
    }
}

/// The newest plan under which some events were committed, when it is not known here yet:
/// another host has raised it, or this one is about to publish it.
fn unknown_plan(shared: &Shared, events: &[RecordedEvent]) -> Option<u64> {
    let newest = events.iter().map(|event| event.commit.plan).max()?;
    (newest > shared.reading.plan().number).then_some(newest)
}

/// Reads what has been activated. A module that can't be loaded leaves the plan that is
/// known.
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
                tracing::error!(%error, "the plan was not read; events are lifted by the old one");
                return;
            }
        }
    }
}

async fn pause(shared: &Shared, error: &store::Error, backoff: &mut Backoff) {
    tracing::error!(%error, "the log was not read for subscriptions");
    if error.is_lasting() {
        shared.tell(|board| board.fail(error));
    }
    tokio::time::sleep(backoff.next_pause()).await;
}
