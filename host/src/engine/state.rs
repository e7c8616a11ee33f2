//! Returns the committed state of a stream, current or past, for display.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Engine, Error};
use crate::deploy;
use crate::fold::{self, Agreement, Found, From, Rules, Snapshots, Taken, Until};
use crate::model::{Digest, Invalid, StreamId, Timestamp, Version};

/// The state of a stream as its decider displays it.
#[derive(Debug, Clone)]
pub struct StateView {
    /// The stream.
    pub stream: StreamId,
    /// The version of the state; 0 before the first event.
    pub version: Version,
    /// The state as JSON text.
    pub state: String,
    /// The module that displayed it.
    pub module: Digest,
}

impl StateView {
    /// The state as a type of the program.
    ///
    /// # Errors
    /// When the state does not have the form of the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Invalid> {
        let (stream, version) = (&self.stream, self.version);
        serde_json::from_str(&self.state)
            .map_err(|error| Invalid(format!("state of stream {stream} at {version}: {error}")))
    }
}

/// A snapshot that was compared with the events.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Stream of the snapshot.
    pub stream: StreamId,
    /// The result of the comparison.
    pub found: Found,
}

/// Which state of a stream to return.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum At {
    /// The current one.
    #[default]
    Now,
    /// The state at a version.
    Version(Version),
    /// The state after the longest prefix that was recorded at or before this time.
    Time(Timestamp),
}

impl Engine {
    /// Returns the committed state of a stream, displayed by its decider or by another module of
    /// the store that decides the same category.
    ///
    /// # Errors
    /// When the stream, version or decider does not exist, or the decider does not show its state.
    pub async fn state(
        &self,
        stream: &StreamId,
        at: At,
        module: Option<Digest>,
    ) -> Result<StateView, Error> {
        let rules = match module {
            None => self.rules(stream)?,
            Some(digest) => self.rules_of(stream, digest).await?,
        };
        let (from, until) = match at {
            // Snapshots belong to the deployed module.
            At::Now if module.is_some() => (From::First, Until::End),
            At::Now => (From::Snapshot, Until::End),
            At::Version(version) if module.is_some() => (From::First, Until::Version(version)),
            At::Version(version) => (From::Snapshot, Until::Version(version)),
            At::Time(time) => (From::First, Until::Time(time)),
        };
        let folder = &self.shared.folder;
        let open = folder.fold(&rules, stream, from, until).await?;
        let version = open.version;
        let view = folder.ask(open, |open| open.view()).await?;
        Ok(StateView {
            stream: stream.clone(),
            version,
            state: view.ok_or_else(|| Error::StateNotShown(stream.category().to_owned()))?,
            module: rules.module.digest(),
        })
    }

    /// Takes a snapshot of a stream, folded from its first event, and compares the existing
    /// snapshots.
    ///
    /// # Errors
    /// When the stream or decider does not exist, an event can't be read, or the guest has no
    /// snapshot that it can open.
    pub async fn snapshot(&self, stream: &StreamId) -> Result<Taken, Error> {
        let shared = &self.shared;
        let rules = self.rules(stream)?;
        let taken = shared
            .folder
            .take(&rules, stream, shared.clock.now())
            .await?;
        if shared.folder.store().keep(stream, &taken.snapshot).await? {
            shared.folder.counts().taken();
        }
        let version = taken.snapshot.version;
        self.worker(stream).snapshotted(stream, version);
        Ok(taken)
    }

    /// Compares the last snapshots of a category with states folded from the first event.
    ///
    /// # Errors
    /// When the category has no decider, or the store fails.
    pub async fn check_snapshots(
        &self,
        category: &str,
        sample: usize,
    ) -> Result<Vec<Checked>, Error> {
        let shared = &self.shared;
        let plan = shared.registry.plan();
        let unknown = || Error::UnknownCategory(category.to_owned());
        let rules = &plan.decider(category).ok_or_else(unknown)?.rules;
        let mut checked = Vec::new();
        for (stream, snapshot) in shared.folder.newest(category, sample).await? {
            let compared = shared
                .folder
                .compare(rules, &stream, snapshot.clone())
                .await;
            let agreement = match compared {
                Err(fold::Error::Store(error)) => return Err(error.into()),
                Err(error) => Agreement::Unusable(error.to_string()),
                Ok(agreement) => agreement,
            };
            checked.push(Checked {
                stream,
                found: Found {
                    snapshot,
                    agreement,
                },
            });
        }
        Ok(checked)
    }

    /// Returns counts about snapshots.
    pub fn snapshot_counts(&self) -> Snapshots {
        self.shared.folder.counts().read()
    }

    /// Returns the deployed rules of a stream.
    pub(super) fn rules(&self, stream: &StreamId) -> Result<Arc<Rules>, Error> {
        let plan = self.shared.registry.plan();
        let deployed = plan.decider(stream.category());
        let unknown = || Error::UnknownCategory(stream.category().to_owned());
        Ok(Arc::clone(&deployed.ok_or_else(unknown)?.rules))
    }

    /// Returns the rules of a stream with a different decider.
    async fn rules_of(&self, stream: &StreamId, digest: Digest) -> Result<Arc<Rules>, Error> {
        let category = stream.category();
        let rules = self.shared.registry.rules_with(digest, category).await;
        let rules = rules.map_err(|error| match error {
            deploy::Error::Store(error) => Error::Store(error),
            deploy::Error::Stopped => Error::Stopped,
            other => Error::NoModule(other.to_string()),
        })?;
        let none = || {
            Error::NoModule(format!(
                "module {digest} does not decide category {category}"
            ))
        };
        rules.map(Arc::new).ok_or_else(none)
    }
}
