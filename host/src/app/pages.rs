//! Pages of events, and in which form they are read.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Host;
use crate::deploy::Plan;
use crate::engine::Error;
use crate::fold;
use crate::model::{Invalid, Position, StreamId, Version};
use crate::store::{Direction, Filter, LogPage, StreamPage, Versions};
use crate::upcast::Form;

/// A read of a stream, which begins when it is awaited.
///
/// ```no_run
/// # async fn example(host: quipu::Host) -> anyhow::Result<()> {
/// use quipu::model::Version;
/// use quipu::store::Direction;
/// use quipu::upcast::Form;
///
/// let account = "account-1".parse()?;
/// let read = host.read_stream(&account, Version(1), Direction::Forward, 100);
/// let page = read.to(Version(20)).form(Form::Stored).await?;
/// println!("{} of {} events", page.events.len(), page.version);
/// # Ok(())
/// # }
/// ```
#[must_use = "a read begins when it is awaited"]
pub struct ReadStream<'a> {
    host: &'a Host,
    stream: &'a StreamId,
    versions: Versions,
    limit: usize,
    form: Form,
}

/// A read of the log, which begins when it is awaited.
#[must_use = "a read begins when it is awaited"]
pub struct ReadLog<'a> {
    host: &'a Host,
    after: Position,
    direction: Direction,
    limit: usize,
    filter: &'a Filter,
    form: Form,
}

impl<'a> ReadStream<'a> {
    pub(super) fn new(
        host: &'a Host,
        stream: &'a StreamId,
        versions: Versions,
        limit: usize,
    ) -> Self {
        Self {
            host,
            stream,
            versions,
            limit,
            form: Form::default(),
        }
    }

    /// Reads no event after this version, in either direction.
    pub fn to(mut self, version: impl Into<Option<Version>>) -> Self {
        self.versions.to = version.into();
        self
    }

    /// Reads the events lifted, which is the default, or as they are stored.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    async fn read(self) -> Result<StreamPage, Error> {
        let (host, versions) = (self.host, self.versions);
        if versions.from.0 == 0 || self.limit == 0 {
            return Err(Invalid("versions and limits begin at 1".to_owned()).into());
        }
        let (from, limit) = versions.start(self.limit);
        let reader = &host.tenant.reader;
        let page = reader.read_stream(self.stream, from, versions.direction, limit);
        let page = page.await?;
        let mut page = page.ok_or_else(|| Error::StreamNotFound(self.stream.clone()))?;
        if versions.direction == Direction::Forward && versions.from > page.version.next() {
            let place = format!("version {} of stream {}", versions.from.0 - 1, self.stream);
            return Err(Invalid::after_the_end(place, page.version.0).into());
        }
        page.events.retain(|event| versions.has(event.version));
        page.next = page.next.filter(|next| versions.has(*next));
        if self.form == Form::Lifted {
            page.events = host.lifted(page.events).await?;
        }
        Ok(page)
    }
}

impl<'a> ReadLog<'a> {
    pub(super) fn new(
        host: &'a Host,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> Self {
        Self {
            host,
            after,
            direction,
            limit,
            filter,
            form: Form::default(),
        }
    }

    /// Reads the events lifted, which is the default, or as they are stored.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    async fn read(self) -> Result<LogPage, Error> {
        let (host, filter) = (self.host, self.filter);
        filter.check()?;
        if self.limit == 0 {
            return Err(Invalid("limits begin at 1".to_owned()).into());
        }
        let plan = host.tenant.registry.plan();
        let wide = plan.widened(filter);
        let reader = &host.tenant.reader;
        let page = reader.read_log(self.after, self.direction, self.limit, &wide);
        let mut page = page.await?;
        if self.direction == Direction::Forward {
            host.check_end(self.after, page.head).await?;
        }
        if let (Some(to), Direction::Forward) = (filter.to, self.direction) {
            page.next = page.next.filter(|next| *next < to);
        }
        page.events.retain(|event| plan.may_admit(filter, event));
        match self.form {
            Form::Lifted => {
                host.lift_page(&plan, &mut page).await?;
                page.events.retain(|event| plan.admits(filter, event));
            }
            Form::Stored => page.events.retain(|event| !plan.excludes(filter, event)),
        }
        Ok(page)
    }
}

impl<'a> IntoFuture for ReadStream<'a> {
    type Output = Result<StreamPage, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl<'a> IntoFuture for ReadLog<'a> {
    type Output = Result<LogPage, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl Host {
    /// Lifts the events of a page. The page ends before an event that can't be lifted, unless it is
    /// the first one.
    async fn lift_page(&self, plan: &Arc<Plan>, page: &mut LogPage) -> Result<(), Error> {
        let positions: Vec<Position> = page.events.iter().map(|event| event.position).collect();
        let events = std::mem::take(&mut page.events);
        let lifted = self.tenant.registry.reading().lift(plan, events).await?;
        page.events = lifted.events;
        let Some(failed) = lifted.failed else {
            return Ok(());
        };
        let before = positions.iter().take_while(|at| **at != failed.position);
        match before.last() {
            Some(before) => page.next = Some(*before),
            None => return Err(fold::Error::of_lift(&failed.stream, failed.error).into()),
        }
        Ok(())
    }
}
