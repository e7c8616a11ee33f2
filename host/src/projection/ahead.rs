//! The owner of a build reads the next page while it folds one.

use std::sync::Arc;

use tokio::sync::watch;

use super::pages::{Page, Reading};
use super::runner::{End, Owner};
use crate::model::Position;

/// A page that is being read.
pub(super) struct Ahead {
    after: Position,
    /// The plan whose sources it is read for.
    plan: u64,
    reading: Reading,
    /// Tells of what has come since.
    grown: watch::Receiver<u64>,
}

impl Owner {
    /// Begins to read the page behind a position.
    pub(super) fn read_ahead(&mut self, after: Position) {
        self.ahead = Some(self.reading(after));
    }

    /// The page behind what is folded, and what tells of events that have come since.
    pub(super) async fn page(&mut self) -> Result<(Arc<Page>, watch::Receiver<u64>), End> {
        let (at, plan) = (self.at, self.rules.plan.number);
        let ahead = self.ahead.take();
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
