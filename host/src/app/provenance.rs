//! From a module to the events that it decided.

use super::Host;
use crate::engine::Error;
use crate::model::{Digest, Invalid, Position, RecordedEvent};
use crate::store::{Direction, Filter, LOG_PAGE_MAX, LogPage};

/// The most pages that one call searches. The result says where to continue.
const PAGES_MAX: usize = 20;

/// The first plan under which a module decided, and the first one under which it no longer did.
type Reign = (u64, u64);

impl Host {
    /// Returns up to `limit` events after a position that a module decided, as they are stored. The
    /// page says where to continue, and may be empty before the end.
    ///
    /// # Errors
    /// When the limit is 0, the position does not exist, or the store fails.
    pub async fn decided_by(
        &self,
        module: Digest,
        after: Position,
        limit: usize,
    ) -> Result<LogPage, Error> {
        if limit == 0 {
            return Err(Invalid("limits begin at 1".to_owned()).into());
        }
        let (category, reigns) = self.reigns(module).await?;
        let filter = Filter {
            categories: Some(vec![category.as_str().into()]),
            ..Filter::default()
        };
        let reader = &self.tenant.reader;
        let mut found = LogPage {
            events: Vec::new(),
            next: None,
            head: reader.log_head().await?,
        };
        self.check_end(after, found.head).await?;
        let (mut at, mut pages) = (after, 0);
        for (from, until) in reigns {
            at = at.max(self.before(from, &filter).await?);
            'reign: loop {
                let page = reader.read_log(at, Direction::Forward, LOG_PAGE_MAX, &filter);
                let page = page.await?;
                pages += 1;
                for event in page.events {
                    if event.commit.plan >= until {
                        break 'reign;
                    }
                    at = event.position;
                    if event.commit.module == Some(module) {
                        found.events.push(event);
                    }
                    if found.events.len() == limit {
                        found.next = Some(at);
                        return Ok(found);
                    }
                }
                let Some(next) = page.next else {
                    return Ok(found);
                };
                at = next;
                if pages >= PAGES_MAX {
                    found.next = Some(at);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Returns the category that a module decides, and when it was active.
    async fn reigns(&self, module: Digest) -> Result<(String, Vec<Reign>), Error> {
        let history = self.deployments().await;
        let history = history.map_err(|error| match error {
            crate::deploy::Error::Store(error) => Error::Store(error),
            other => Error::NoModule(other.to_string()),
        })?;
        let members = || {
            let all = history.iter();
            all.flat_map(|it| it.members().map(|(name, digest)| (it.plan, name, digest)))
        };
        let Some((_, name, _)) = members().find(|(_, _, digest)| *digest == Some(module)) else {
            return Ok((String::new(), Vec::new()));
        };
        let named: Vec<_> = members().filter(|(_, named, _)| *named == name).collect();
        let mut reigns = Vec::new();
        for (number, (plan, _, digest)) in named.iter().enumerate() {
            if *digest == Some(module) {
                let next = named.get(number + 1);
                reigns.push((*plan, next.map_or(u64::MAX, |(next, ..)| *next)));
            }
        }
        Ok((name.to_owned(), reigns))
    }

    /// Returns a position that separates events by plan: every matching event after it was made
    /// under the plan that changed the category or a later one, and none before it was.
    async fn before(&self, plan: u64, filter: &Filter) -> Result<Position, Error> {
        let (mut low, mut high) = (Position(0), self.tenant.reader.log_head().await?);
        while low < high {
            let middle = Position(low.0.midpoint(high.0));
            match self.first_after(middle, filter).await? {
                Some(event) if event.commit.plan < plan => low = event.position,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn first_after(
        &self,
        position: Position,
        filter: &Filter,
    ) -> Result<Option<RecordedEvent>, Error> {
        let mut at = position;
        loop {
            let reader = &self.tenant.reader;
            let page = reader.read_log(at, Direction::Forward, 1, filter).await?;
            match (page.events.into_iter().next(), page.next) {
                (None, Some(next)) => at = next,
                (first, _) => return Ok(first),
            }
        }
    }
}
