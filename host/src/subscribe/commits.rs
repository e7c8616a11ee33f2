use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use tokio::task::AbortHandle;

use super::Error;
use super::hub::{Seat, Shared};
use super::ring::NextCommit;
use super::wants::{Wants, Which};
use crate::deploy::{Readable, Unreadable};
use crate::model::{Position, RecordedEvent};
use crate::upcast::Form;

/// What a handler of commits is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// The events that a commit has in one stream, all of them, with all their parts.
    Events(Vec<Arc<RecordedEvent>>),
    /// The same as they are stored, since one of them can't be lifted, and why.
    Unreadable(Vec<Arc<RecordedEvent>>, Box<Unreadable>),
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

    pub(super) async fn begin<H, F>(
        shared: &Arc<Shared>,
        form: Form,
        handler: H,
    ) -> Result<Self, Error>
    where
        H: FnMut(Committed) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let which = Which::Commits;
        let seat = shared.join(Arc::new(Wants { which, form }))?;
        // In this order: what is committed in between is told.
        let read = seat.passed().await?;
        let after = shared.reader.log_head().await?;
        let task = shared.runtime.spawn(call(seat, form, read, after, handler));
        Ok(Self(task.abort_handle()))
    }
}

async fn call<H, F>(seat: Seat, form: Form, mut read: u64, after: Position, mut handler: H)
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
        let committed = match (committed, form) {
            (Committed::Events(events), Form::Lifted) => lifted(&seat.shared, events).await,
            (committed, _) => Some(committed),
        };
        let Some(committed) = committed else {
            continue;
        };
        let called = AssertUnwindSafe(async { handler(committed).await });
        if called.catch_unwind().await.is_err() {
            tracing::error!("a handler of commits panicked; it is called again for the next one");
        }
    }
}

/// A commit with its events lifted; none when all are dropped.
async fn lifted(shared: &Shared, events: Vec<Arc<RecordedEvent>>) -> Option<Committed> {
    let plan = shared.reading.plan();
    let _permit = match events.iter().any(|event| plan.needs_guest(event)) {
        true => Some(shared.reads.acquire().await.ok()?),
        false => None,
    };
    let lifted = shared.reading.lift(&plan, events.clone()).await.ok()?;
    match lifted {
        Readable {
            failed: Some(failed),
            ..
        } => Some(Committed::Unreadable(events, failed)),
        Readable { events, .. } => (!events.is_empty()).then_some(Committed::Events(events)),
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
