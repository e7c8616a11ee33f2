//! Takes snapshots and compares them with the events.

use std::sync::Arc;

use super::folder::off_the_reactor;
use super::{Error, Folder, Open, Rules, Until};
use crate::model::{StreamId, Timestamp, Version};
use crate::runtime::Snapshot;
use crate::store::StoredSnapshot;

/// The result of comparing a stored snapshot with the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// The snapshot opens to the state that the events lead to.
    Agrees,
    /// The snapshot opens to a different state.
    Differs,
    /// The snapshot can't be opened, for this reason.
    Unusable(String),
}

/// A stored snapshot that was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The snapshot.
    pub snapshot: StoredSnapshot,
    /// The result.
    pub agreement: Agreement,
}

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The new snapshot, at the end of the stream.
    pub snapshot: StoredSnapshot,
    /// Snapshots that existed before.
    pub found: Vec<Found>,
}

impl Folder {
    /// Folds a stream from its first event, compares the stored snapshots, and takes a new one at
    /// its end, which must open to the same state.
    ///
    /// # Errors
    /// When the stream does not exist, an event can't be read, or the guest has no snapshot that it
    /// can open.
    pub async fn take(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        now: Timestamp,
    ) -> Result<Taken, Error> {
        if self.reader.head(stream).await?.is_none() {
            return Err(Error::NoStream(stream.clone()));
        }
        let stored = self.snapshots.find(stream).await?;
        let (found, open) = self.examine(rules, stream, stored).await?;
        let open = self.go_on(open, Until::End).await?;
        let (version, snapshot) = self.stored_form(open).await?;
        let state = snapshot.ok_or_else(|| Error::Refused {
            stream: stream.clone(),
            text: "its decider has no snapshot form".to_owned(),
        })?;
        let taken = sealed(rules, stream, version, &state, now);
        match self.reopened(rules, stream, &taken).await? {
            Agreement::Agrees => Ok(Taken {
                snapshot: taken,
                found,
            }),
            _ => Err(Error::Refused {
                stream: stream.clone(),
                text: "a snapshot of its state does not open to the same state".to_owned(),
            }),
        }
    }

    /// Takes a snapshot of a stream's end, starting from the best existing snapshot. `None` when
    /// the guest has no snapshots.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub async fn renew(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        now: Timestamp,
    ) -> Result<Option<StoredSnapshot>, Error> {
        let open = self
            .fold(rules, stream, super::From::Own, Until::End)
            .await?;
        let (version, snapshot) = self.stored_form(open).await?;
        Ok(snapshot.map(|state| sealed(rules, stream, version, &state, now)))
    }

    /// Compares a stored snapshot with the state that is folded from the first event.
    ///
    /// # Errors
    /// When an event can't be read.
    pub async fn compare(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        stored: StoredSnapshot,
    ) -> Result<Agreement, Error> {
        let (found, open) = self.examine(rules, stream, vec![stored]).await?;
        self.ask(open, |_| Ok(())).await?;
        let first = found.into_iter().next();
        Ok(first.map_or(Agreement::Agrees, |found| found.agreement))
    }

    /// Folds from the first event to the last of the snapshots, and compares each.
    async fn examine(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        mut stored: Vec<StoredSnapshot>,
    ) -> Result<(Vec<Found>, Open), Error> {
        stored.sort_by_key(|snapshot| snapshot.version);
        let open = self.open(rules, stream, None).await;
        let mut open = open.map_err(|failure| Error::of_guest(stream, &failure))?;
        let mut found = Vec::with_capacity(stored.len());
        for snapshot in stored {
            let agreement = match rules.readable(stream, &snapshot) {
                Err(why) => Agreement::Unusable(why.to_string()),
                Ok(_) => {
                    let until = Until::Version(snapshot.version);
                    open = self.go_on(open, until).await?;
                    if open.version < snapshot.version {
                        let why = super::Unusable::Beyond(snapshot.version);
                        Agreement::Unusable(why.to_string())
                    } else {
                        let (state, back) = off_the_reactor(move || {
                            let state = open.snapshot();
                            (state, open)
                        })
                        .await?;
                        open = back;
                        self.agreement(rules, stream, &snapshot, state?).await?
                    }
                }
            };
            found.push(Found {
                snapshot,
                agreement,
            });
        }
        Ok((found, open))
    }

    /// Whether a snapshot opens to the state that it contains.
    async fn reopened(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        snapshot: &StoredSnapshot,
    ) -> Result<Agreement, Error> {
        let state = snapshot.body().map(|body| Snapshot {
            state_schema_version: snapshot.state_schema_version,
            body,
        });
        self.agreement(rules, stream, snapshot, state).await
    }

    /// Whether a snapshot opens to the given state.
    async fn agreement(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        stored: &StoredSnapshot,
        state: Option<Snapshot>,
    ) -> Result<Agreement, Error> {
        let start = match rules.readable(stream, stored) {
            Ok(start) => start,
            Err(why) => return Ok(Agreement::Unusable(why.to_string())),
        };
        let open = match self.open(rules, stream, Some(start)).await {
            Ok(open) => open,
            Err(failure) if failure.is_of_host() => {
                return Err(Error::of_guest(stream, &failure));
            }
            Err(failure) => return Ok(Agreement::Unusable(failure.to_string())),
        };
        let (_, opened) = self.stored_form(open).await?;
        off_the_reactor(move || match (opened, state) {
            (Some(opened), Some(state)) if is_same(&opened, &state) => Agreement::Agrees,
            _ => Agreement::Differs,
        })
        .await
    }

    /// Returns the version of a state and its snapshot.
    async fn stored_form(
        self: &Arc<Self>,
        open: Open,
    ) -> Result<(Version, Option<Snapshot>), Error> {
        let version = open.version;
        let snapshot = self.ask(open, Open::snapshot).await?;
        Ok((version, snapshot))
    }
}

fn sealed(
    rules: &Rules,
    stream: &StreamId,
    version: Version,
    state: &Snapshot,
    now: Timestamp,
) -> StoredSnapshot {
    let form = state.state_schema_version;
    StoredSnapshot::new(stream, version, form, &state.body, rules.fold, now)
}

/// Whether two snapshots contain the same state. JSON is compared as a value, because a guest's
/// maps may have been filled in a different order.
fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    one.state_schema_version == other.state_schema_version && one.body.is_same_content(&other.body)
}
