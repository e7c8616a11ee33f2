//! Turns of an activation, taken on a copy of the builds: the log is not locked while what
//! they have not seen is folded.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::builds::Builds;
use super::{Log, Shared};
use crate::builds::Roles;
use crate::turns::{BuildRow, BuildRows, take};
use crate::{BuildId, DocumentWrite, Error, Result, Turn};
use quipu_model::Position;

/// How often turns are taken anew because an owner has written meanwhile.
const TRIES_MAX: usize = 16;

/// Builds as they will be.
pub struct Turned {
    /// As they were.
    before: Builds,
    builds: Builds,
    writes: Vec<DocumentWrite>,
}

struct Turning<'s> {
    shared: &'s Shared,
    turned: Turned,
}

impl Shared {
    /// Takes turns, and lets `done` take in the rest of the activation at the same moment.
    /// Tells why not, if they can't be taken.
    pub(super) async fn turn<T>(
        &self,
        turns: &[Turn],
        (last, plan): (Position, u64),
        done: impl FnOnce(&mut Log) -> T,
    ) -> Result<std::result::Result<T, String>> {
        for _ in 0..TRIES_MAX {
            let before = self.lock().builds.clone();
            let turned = Turned {
                builds: before.clone(),
                before,
                writes: Vec::new(),
            };
            let mut turning = Turning {
                shared: self,
                turned,
            };
            if let Some(reason) = take(turns, &mut turning, (last, plan)).await? {
                return Ok(Err(reason));
            }
            let turned = turning.turned;
            let mut log = self.lock();
            if log.builds.stand_as(&turned.before) {
                log.builds = turned.builds;
                log.documents.write(&turned.writes);
                return Ok(Ok(done(&mut log)));
            }
        }
        Ok(Err("builds are written all the time; try again".to_owned()))
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T>> {
    ready(Ok(value)).boxed()
}

impl BuildRows for Turning<'_> {
    type Error = Error;

    fn one(&mut self, build: BuildId) -> BoxFuture<'_, Result<Option<BuildRow>>> {
        done(self.turned.builds.one(build).map(|build| row(&build)))
    }

    fn of<'a>(&'a mut self, projection: &'a str) -> BoxFuture<'a, Result<Vec<BuildRow>>> {
        let builds = self.turned.builds.of(projection);
        done(builds.iter().map(row).collect())
    }

    fn has_parked(&mut self, build: BuildId) -> BoxFuture<'_, Result<bool>> {
        let mut log = self.shared.lock();
        let has_parked = !log.documents.of(build).parked.is_empty();
        drop(log);
        done(has_parked)
    }

    fn take_roles(&mut self, roles: Roles) -> BoxFuture<'_, Result<()>> {
        self.turned.builds.take_roles(roles);
        done(())
    }

    fn hold<'a>(&'a mut self, projection: &'a str) -> BoxFuture<'a, Result<()>> {
        self.turned.builds.hold(projection);
        done(())
    }

    fn detach(&mut self, build: BuildId, last: Position, plan: u64) -> BoxFuture<'_, Result<()>> {
        self.turned.builds.detach(build, last, plan);
        done(())
    }

    fn attach(
        &mut self,
        build: BuildId,
        last: Position,
        plan: u64,
        writes: Vec<DocumentWrite>,
    ) -> BoxFuture<'_, Result<()>> {
        self.turned.builds.attach(build, last, plan);
        self.turned.writes.extend(writes);
        done(())
    }
}

fn row(build: &crate::Build) -> BuildRow {
    BuildRow {
        id: build.id,
        role: build.role,
        is_inline: build.is_inline,
        position: build.position,
    }
}
