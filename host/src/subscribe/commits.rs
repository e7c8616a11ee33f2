use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use tokio::task::AbortHandle;

use super::Error;
use super::hub::{Seat, Shared};
use super::ring::NextCommit;
use super::wants::Wants;
use crate::model::{Position, RecordedEvent};

/// What a handler of commits is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// The events that a commit has in one stream, all of them.
    Events(Vec<Arc<RecordedEvent>>),
    /// So many events were committed while the handler was at work, and are not to be
    /// had any more: the host keeps only the newest.
    Missed(u64),
}

/// A handler that is called after commits. It stays until it is stopped or the host
/// ends; dropping this does not stop it.
#[derive(Debug)]
pub struct OnCommit(AbortHandle);

impl OnCommit {
    /// Calls the handler no more; a call under way is cut off where it waits.
    pub fn stop(self) {
        self.0.abort();
    }

    pub(super) async fn begin<H, F>(shared: &Arc<Shared>, handler: H) -> Result<Self, Error>
    where
        H: FnMut(Committed) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let seat = shared.join(Arc::new(Wants::Commits))?;
        // In this order: what is committed in between is told.
        let read = seat.passed().await?;
        let after = shared.reader.log_head().await?;
        let task = shared.runtime.spawn(call(seat, read, after, handler));
        Ok(Self(task.abort_handle()))
    }
}

async fn call<H, F>(seat: Seat, mut read: u64, after: Position, mut handler: H)
where
    H: FnMut(Committed) -> F,
    F: Future<Output = ()>,
{
    while let Some(committed) = next(&seat, &mut read).await {
        if let Committed::Events(events) = &committed
            && events.last().is_some_and(|last| last.position <= after)
        {
            continue;
        }
        let called = AssertUnwindSafe(async { handler(committed).await });
        if called.catch_unwind().await.is_err() {
            tracing::error!("a handler of commits panicked; it is called again for the next one");
        }
    }
}

async fn next(seat: &Seat, read: &mut u64) -> Option<Committed> {
    poll_fn(|context| {
        let mut board = seat.shared.board();
        match board.next_commit(seat.id, read, context.waker()) {
            Ok(Poll::Ready(NextCommit::Events(events))) => {
                Poll::Ready(Some(Committed::Events(events)))
            }
            Ok(Poll::Ready(NextCommit::Missed(events))) => {
                Poll::Ready(Some(Committed::Missed(events)))
            }
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
