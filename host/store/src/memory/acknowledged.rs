//! Findings that an operator has acknowledged.

use std::ops::Bound;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::Shared;
use crate::{
    ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore, Result,
};

impl AcknowledgementStore for Shared {
    fn acknowledge<'a>(
        &'a self,
        acknowledgement: &'a Acknowledgement,
    ) -> BoxFuture<'a, Result<bool>> {
        let known = &mut self.lock().acknowledged;
        let finding = &acknowledgement.finding;
        let has_room = known.contains_key(finding) || known.len() < ACKNOWLEDGED_MAX;
        if has_room {
            known.insert(finding.clone(), acknowledgement.clone());
        }
        ready(Ok(has_room)).boxed()
    }

    fn withdraw<'a>(&'a self, finding: &'a str) -> BoxFuture<'a, Result<bool>> {
        let withdrawn = self.lock().acknowledged.remove(finding);
        ready(Ok(withdrawn.is_some())).boxed()
    }

    fn acknowledged<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Acknowledgement>>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let log = self.lock();
        let page = log.acknowledged.range::<str, _>((after, Bound::Unbounded));
        let page = page.map(|(_, acknowledgement)| acknowledgement.clone());
        let page = page.take(limit.min(ACKNOWLEDGED_PAGE_MAX)).collect();
        ready(Ok(page)).boxed()
    }
}
