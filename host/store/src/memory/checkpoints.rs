//! How far named readers have come.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::Shared;
use crate::{CHECKPOINTS_PAGE_MAX, Checkpoint, CheckpointStore, Claim, Result};
use quipu_model::Position;

/// Every name, and the last token that any had: a name that is made again gets no earlier one.
#[derive(Default)]
pub struct Checkpoints {
    names: BTreeMap<String, Kept>,
    token: u64,
}

struct Kept {
    token: u64,
    position: Position,
    /// None when nobody holds it.
    until: Option<Instant>,
}

impl Checkpoints {
    fn next_token(&mut self) -> u64 {
        self.token += 1;
        self.token
    }

    /// The name, for the owner of its last token.
    fn held(&mut self, name: &str, token: u64) -> Option<&mut Kept> {
        let kept = self.names.get_mut(name);
        kept.filter(|kept| kept.token == token)
    }
}

impl Kept {
    fn at(position: Position) -> Self {
        Self {
            token: 0,
            position,
            until: None,
        }
    }

    fn held_for(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    fn shown(&self, name: &str) -> Checkpoint {
        Checkpoint {
            name: name.to_owned(),
            position: self.position,
            held_for: self.held_for(),
        }
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T>> {
    ready(Ok(value)).boxed()
}

impl CheckpointStore for Shared {
    fn claim<'a>(&'a self, name: &'a str, lease: Duration) -> BoxFuture<'a, Result<Option<Claim>>> {
        let mut log = self.lock();
        let token = log.checkpoints.next_token();
        let names = &mut log.checkpoints.names;
        let kept = names
            .entry(name.to_owned())
            .or_insert_with(|| Kept::at(Position(0)));
        if kept.held_for().is_some() {
            return done(None);
        }
        kept.token = token;
        kept.until = Some(Instant::now() + lease);
        let position = kept.position;
        done(Some(Claim { token, position }))
    }

    fn advance<'a>(
        &'a self,
        name: &'a str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Option<Position>>> {
        let mut log = self.lock();
        done(log.checkpoints.held(name, token).map(|kept| {
            kept.position = kept.position.max(position);
            kept.until = Some(Instant::now() + lease);
            kept.position
        }))
    }

    fn release<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<()>> {
        let mut log = self.lock();
        if let Some(kept) = log.checkpoints.held(name, token) {
            kept.until = None;
        }
        done(())
    }

    fn create<'a>(&'a self, name: &'a str, position: Position) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let names = &mut log.checkpoints.names;
        if names.contains_key(name) {
            return done(false);
        }
        names.insert(name.to_owned(), Kept::at(position));
        done(true)
    }

    fn seek<'a>(&'a self, name: &'a str, position: Position) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let token = log.checkpoints.next_token();
        let kept = log.checkpoints.names.get_mut(name).map(|kept| {
            *kept = Kept {
                token,
                ..Kept::at(position)
            };
        });
        done(kept.is_some())
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let names = &mut log.checkpoints.names;
        let is_free = names
            .get(name)
            .is_some_and(|kept| kept.held_for().is_none());
        if is_free {
            names.remove(name);
        }
        done(is_free)
    }

    fn checkpoint<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>>> {
        let log = self.lock();
        done(log.checkpoints.names.get(name).map(|kept| kept.shown(name)))
    }

    fn checkpoints<'a>(
        &'a self,
        (after, before): (&'a str, &'a str),
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>>> {
        if after >= before {
            return done(Vec::new());
        }
        let log = self.lock();
        let between = (Bound::Excluded(after), Bound::Excluded(before));
        let found = log.checkpoints.names.range::<str, _>(between);
        let shown = found.map(|(name, kept)| kept.shown(name));
        done(shown.take(limit.min(CHECKPOINTS_PAGE_MAX)).collect())
    }
}
