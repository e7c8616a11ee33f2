//! Batches of events for one call of a handler, or for one answer to a client.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::ring::bytes_of;
use super::{Error, Message, Place, Subscription};
use crate::model::{Position, RecordedEvent};

/// Limits of a batch. They may be exceeded by the parts of a split event, because these are always
/// delivered together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub events: usize,
    pub bytes: usize,
}

/// Events, and the checkpoint after them.
pub(super) struct Batch {
    pub events: Vec<Arc<RecordedEvent>>,
    pub up_to: Position,
    /// Whether the subscription was caught up with the log at some time during this batch.
    pub is_caught_up: bool,
    /// Why no more events follow. `None` if the subscription continues.
    pub over: Option<Over>,
}

/// Why a subscription has ended.
pub(super) enum Over {
    Stopped,
    Failed(Error),
}

impl Batch {
    /// Collects the next message of a subscription and those that are ready after it. The batch has
    /// at least one event, or a new checkpoint. It never has only some parts of an event.
    pub(super) async fn gather(
        first: Option<Result<Message, Error>>,
        subscription: &mut Subscription,
        bounds: Bounds,
    ) -> Self {
        let (mut events, mut over) = (Vec::new(), None);
        let (mut bytes, mut next) = (0usize, first);
        let mut is_caught_up = false;
        loop {
            let mut is_whole = true;
            match next {
                None => over = Some(Over::Stopped),
                Some(Err(error)) => over = Some(Over::Failed(error)),
                Some(Ok(Message::Event(event))) => {
                    is_whole = subscription.has_delivered(&event);
                    bytes = bytes.saturating_add(bytes_of(&event));
                    events.push(event);
                }
                Some(Ok(Message::CaughtUp(_))) => is_caught_up = true,
                Some(Ok(Message::Heartbeat(_))) => {}
            }
            let is_full = events.len() >= bounds.events || bytes >= bounds.bytes;
            if over.is_some() || is_full && is_whole {
                break;
            }
            // Takes what is ready, without waiting for more.
            next = match subscription.next().now_or_never() {
                Some(more) => more,
                None if is_whole => break,
                None => subscription.next().await,
            };
        }
        let up_to = match subscription.place() {
            Place::Log(position) => position,
            Place::Stream(_) => Position(0),
        };
        Self {
            events,
            up_to,
            is_caught_up,
            over,
        }
    }
}
