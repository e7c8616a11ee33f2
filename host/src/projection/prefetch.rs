//! Reads the next page while the owner of a build folds the current one.

use std::sync::Arc;

use tokio::sync::watch;

use super::owner::{End, Owner};
use super::page_cache::{Page, Reading};
use crate::model::Position;

/// A page that is being read ahead.
pub(super) struct Ahead {
    after: Position,
    /// Number of the plan whose sources select the events of the page.
    plan: u64,
    reading: Reading,
    /// Notifies when the log may have grown since the page was read.
    grown: watch::Receiver<u64>,
}

impl Owner {
    /// Starts reading the page after a position.
    pub(super) fn read_ahead(&mut self, after: Position) {
        self.buffer.ahead = Some(self.reading(after));
    }

    /// Returns the page after the last folded position, and a receiver that is notified when the
    /// log may have grown since.
    pub(super) async fn page(&mut self) -> Result<(Arc<Page>, watch::Receiver<u64>), End> {
        let (at, plan) = (self.progress.folded, self.rules.plan.number);
        let ahead = self.buffer.ahead.take();
        let ahead = ahead.filter(|ahead| ahead.after == at && ahead.plan == plan);
        let ahead = ahead.unwrap_or_else(|| self.reading(at));
        let page = self.holding(ahead.reading).await?;
        Ok((page.map_err(End::Failed)?, ahead.grown))
    }

    fn reading(&self, after: Position) -> Ahead {
        let filter = self.rules.sources.filter();
        let (reading, grown) = self.shared.pages.page(after, filter);
        Ahead {
            after,
            plan: self.rules.plan.number,
            reading,
            grown,
        }
    }
}
