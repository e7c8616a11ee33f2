//! Events for one call of a handler, or for one answer to a client.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::ring::bytes_of;
use super::{Error, Message, Place, Subscription};
use crate::model::{Position, RecordedEvent};

/// What a batch holds at most, but for the parts of a split event, which come together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub events: usize,
    pub bytes: usize,
}

/// Events, and where they lead to.
pub(super) struct Batch {
    pub events: Vec<Arc<RecordedEvent>>,
    pub up_to: Position,
    /// Everything that is in the log was told at some time in it.
    pub is_caught_up: bool,
    /// Why nothing comes behind them.
    pub over: Option<Over>,
}

/// Why a subscription has ended.
pub(super) enum Over {
    Stopped,
    Failed(Error),
}

impl Batch {
    /// What a subscription tells next, and what is there already behind it: at least an event,
    /// or a sign of how far it is. Never a part of an event without the others.
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
                    is_whole = subscription.has_told(&event);
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
            // What is there already, without waiting for more.
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
