use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use tokio::task::AbortHandle;

use super::Error;
use super::hub::{Seat, Shared};
use super::interest::{Wants, Which};
use super::ring::NextCommit;
use crate::deploy::{Readable, Unreadable};
use crate::model::{Position, RecordedEvent};
use crate::upcast::Form;

/// The input of a handler of commits.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// All events of a commit in one stream, with all their parts.
    Events(Vec<Arc<RecordedEvent>>),
    /// The same events as they are stored, because one of them can't be lifted, and the reason.
    Unreadable(Vec<Arc<RecordedEvent>>, Box<Unreadable>),
    /// The number of events that were committed while the handler was busy and are lost to it,
    /// because the host only keeps the newest events in memory.
    Missed(u64),
}

/// A handler that is called after commits. It remains active until it is stopped or the host shuts
/// down. Dropping this value does not stop it.
#[derive(Debug)]
pub struct OnCommit(AbortHandle);

impl OnCommit {
    /// Stops calling the handler. A call that is running is cancelled at its next await point.
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
        // In this order, no event that is committed in between is missed.
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
        let calling = async {
            let committed = match (committed, form) {
                (Committed::Events(events), Form::Lifted) => lifted(&seat.shared, events).await,
                (committed, _) => Some(committed),
            };
            if let Some(committed) = committed {
                handler(committed).await;
            }
        };
        if AssertUnwindSafe(calling).catch_unwind().await.is_err() {
            tracing::error!("a handler of commits panicked; it continues with the next commit");
        }
    }
}

/// Returns a commit with its events lifted. `None` if upcasters drop all of them.
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
