//! The last rejections.

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::Shared;
use crate::{Direction, Rejected, RejectionStore, Result};

/// In the order of their numbers.
#[derive(Default)]
pub struct Kept {
    last: u64,
    all: Vec<Rejected>,
}

impl RejectionStore for Shared {
    fn keep<'a>(&'a self, rejected: &'a [Rejected], max: u64) -> BoxFuture<'a, Result<()>> {
        let kept = &mut self.lock().rejections;
        for one in rejected {
            kept.last += 1;
            let id = kept.last;
            kept.all.push(Rejected { id, ..one.clone() });
        }
        let mut counts: HashMap<String, u64> = HashMap::new();
        for one in &kept.all {
            *counts.entry(one.stream.category().to_owned()).or_default() += 1;
        }
        kept.all.retain(|one| {
            let left = counts.get_mut(one.stream.category());
            let is_beyond = left.as_ref().is_some_and(|left| **left > max);
            if let Some(left) = left.filter(|_| is_beyond) {
                *left -= 1;
            }
            !is_beyond
        });
        ready(Ok(())).boxed()
    }

    fn read<'a>(
        &'a self,
        category: Option<&'a str>,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Rejected>>> {
        let log = self.lock();
        let all = log.rejections.all.iter();
        let wanted =
            all.filter(|it| category.is_none_or(|category| it.stream.category() == category));
        let page = match direction {
            Direction::Forward => {
                let behind = wanted.filter(|it| it.id > from);
                behind.take(limit).cloned().collect()
            }
            Direction::Backward => {
                let before = wanted.rev().filter(|it| it.id < from);
                before.take(limit).cloned().collect()
            }
        };
        ready(Ok(page)).boxed()
    }
}
