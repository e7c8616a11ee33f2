use std::sync::Arc;

use crate::model::{Digest, StreamId, Version};
use crate::runtime::{Module, Snapshot};
use crate::store::{Head, StoredSnapshot};
use crate::upcast::{Chain, Lift, Names};

/// The rules for folding the streams of a category: its decider, and how events are lifted.
#[derive(Debug)]
pub struct Rules {
    /// The decider.
    pub module: Arc<Module>,
    /// How events are lifted to the versions that the decider reads.
    pub lift: Lift,
    /// Digest that identifies states folded by these rules.
    pub fold: Digest,
    /// Other folds whose snapshots may be opened, because a sample of them was compared.
    pub trusted: Vec<Digest>,
}

/// Code for a snapshot that other rules folded.
pub(super) const OTHER_FOLD: &str = "other-fold";

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The snapshot is damaged, or belongs to another stream.
    #[error("it is damaged, or of another stream")]
    Damaged,
    /// The snapshot's version is beyond the end of the stream.
    #[error("it is at version {0}, beyond the stream")]
    Beyond(Version),
    /// The snapshot's schema version is newer than the decider's, or too old to be migrated.
    #[error("it has state schema version {found}, from which nothing leads to {current}")]
    NoPath {
        /// State schema version of the snapshot.
        found: u32,
        /// State schema version of the decider.
        current: u32,
    },
    /// Other rules folded the snapshot, and no sample of their snapshots has been compared.
    #[error("it was folded by other rules ({}), of which no sample was compared", .0.short())]
    OtherFold(Digest),
}

impl Unusable {
    /// Stable name of the reason, used for counting.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Beyond(_) => "beyond-the-stream",
            Self::NoPath { .. } => "no-migration",
            Self::OtherFold(_) => OTHER_FOLD,
        }
    }
}

/// A snapshot from which a stream can be folded.
#[derive(Debug, Clone)]
pub struct Start {
    /// The version of the snapshot.
    pub version: Version,
    /// The state.
    pub snapshot: Snapshot,
    /// Whether it may be used only as the anchor of a truncated stream.
    pub is_anchor_only: bool,
}

impl Start {
    /// Whether a stream with this head can begin here: no truncated event is missing, and an anchor
    /// is used only with a mark.
    pub fn serves(&self, head: Head) -> bool {
        let has_mark = head.truncated_before > Version::NONE;
        self.version.next() >= head.first() && (has_mark || !self.is_anchor_only)
    }

    /// The same, and whether the stream has reached it.
    pub fn serves_at(&self, head: Head) -> bool {
        head.version >= self.version && self.serves(head)
    }
}

impl Rules {
    /// Creates the rules from a decider, the steps of its category, and the names of its events.
    pub fn new(module: Arc<Module>, chain: Chain, names: Names, trusted: Vec<Digest>) -> Self {
        let fold = chain.fold(&module);
        Self {
            lift: Lift::new(chain, names),
            fold,
            trusted,
            module,
        }
    }

    /// Returns the start of a fold from a snapshot of a stream whose version is `head`. The guest
    /// may still refuse the snapshot.
    ///
    /// # Errors
    /// When the snapshot may not be used.
    pub fn start(
        &self,
        stream: &StreamId,
        snapshot: &StoredSnapshot,
        head: Version,
    ) -> Result<Start, Unusable> {
        let start = self.readable(stream, snapshot)?;
        if snapshot.version > head || snapshot.version == Version::NONE {
            return Err(Unusable::Beyond(snapshot.version));
        }
        // Every anchor was checked before these rules became active.
        let is_trusted = self.trusts(snapshot.fold);
        if snapshot.is_anchor || is_trusted {
            Ok(Start {
                is_anchor_only: !is_trusted,
                ..start
            })
        } else {
            Err(Unusable::OtherFold(snapshot.fold))
        }
    }

    /// Whether snapshots of a fold may be opened.
    pub fn trusts(&self, fold: Digest) -> bool {
        fold == self.fold || self.trusted.contains(&fold)
    }

    /// Returns the state in a snapshot, regardless of the rules that folded it.
    ///
    /// # Errors
    /// When it is damaged, or can't be migrated to the current schema version.
    pub fn readable(
        &self,
        stream: &StreamId,
        snapshot: &StoredSnapshot,
    ) -> Result<Start, Unusable> {
        let body = snapshot.body().filter(|_| snapshot.is_intact(stream));
        let body = body.ok_or(Unusable::Damaged)?;
        let manifest = self.module.manifest();
        let (found, current) = (snapshot.state_schema_version, manifest.state_schema_version);
        let is_migrated = manifest.migrations.iter().any(|(from, _)| *from == found);
        if found != current && !is_migrated {
            return Err(Unusable::NoPath { found, current });
        }
        Ok(Start {
            version: snapshot.version,
            snapshot: Snapshot {
                state_schema_version: found,
                body,
            },
            is_anchor_only: false,
        })
    }
}
