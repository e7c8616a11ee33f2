//! The writer of events.

use std::future::ready;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::Shared;
use crate::projected::{Documents, Projected, consecutive, project, wanted};
use crate::turns::turns;
use crate::{
    BuildId, Error, EventWriter, Import, InlineFold, Item, Outcome, Result, StoredDocument,
};
use quipu_model::Position;

impl Shared {
    async fn commit(
        &self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        // Nobody else appends, so that nothing moves while it is folded.
        let basis = self.lock().basis(items);
        let projected = match wanted(inline, items) {
            None => basis.plain(items),
            Some(inline) => project(items, &basis, inline, &mut Unlocked(self)).await?,
        };
        let Projected {
            classified, writes, ..
        } = projected;
        let turns = turns(items)?;
        if !turns.is_empty() && matches!(classified.outcomes[..], [Outcome::Activated(_)]) {
            let last = (self.lock().last_position(), classified.parts.plan);
            let turned = self.turn(turns, last, |log| log.commit(items, classified));
            let refused = |reason| vec![Outcome::NotSettled(reason)];
            return Ok(turned.await?.unwrap_or_else(refused));
        }
        let mut log = self.lock();
        log.documents.write(&writes);
        Ok(log.commit(items, classified))
    }
}

/// The documents, which only the writer changes while they are inline.
struct Unlocked<'a>(&'a Shared);

impl Documents for Unlocked<'_> {
    type Error = Error;

    fn read<'a>(
        &'a mut self,
        documents: &'a [(BuildId, Arc<str>)],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredDocument>>>> {
        let log = self.0.lock();
        let read = documents.iter();
        let read = read.map(|(build, key)| log.documents.read(*build, key));
        ready(Ok(read.collect())).boxed()
    }

    fn draw(&mut self, next: Position, events: u64) -> BoxFuture<'_, Result<Vec<Position>>> {
        ready(Ok(consecutive(next, events))).boxed()
    }
}

impl EventWriter for Shared {
    fn commit<'a>(
        &'a mut self,
        items: &'a [Item],
        inline: Option<&'a dyn InlineFold>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>>> {
        async move {
            let outcomes = Self::commit(self, items, inline).await?;
            self.0.1.log();
            Ok(outcomes)
        }
        .boxed()
    }

    fn import<'a>(&'a mut self, part: &'a Import) -> BoxFuture<'a, Result<()>> {
        let done = self.lock().import(part);
        self.0.1.log();
        ready(done).boxed()
    }

    fn check(&mut self) -> BoxFuture<'_, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }
}
