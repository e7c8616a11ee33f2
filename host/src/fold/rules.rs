use std::sync::Arc;

use crate::model::{Digest, StreamId, Version};
use crate::runtime::{Module, Snapshot};
use crate::store::{Head, StoredSnapshot};
use crate::upcast::{Chain, Lift, Names};

/// What folds the streams of a category: its decider, and how events come to it.
#[derive(Debug)]
pub struct Rules {
    /// The decider.
    pub module: Arc<Module>,
    /// How events are lifted to what it reads.
    pub lift: Lift,
    /// Tells states that were folded by these rules from others.
    pub fold: Digest,
    /// Other folds whose snapshots may be opened: a sample of them was compared.
    pub trusted: Vec<Digest>,
}

/// Code of a snapshot that others folded.
pub(super) const OTHER_FOLD: &str = "other-fold";

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what was stored, or was stored for another stream.
    #[error("it is damaged, or of another stream")]
    Damaged,
    /// It stands for events that the stream does not have.
    #[error("it stands at version {0}, beyond the stream")]
    Beyond(Version),
    /// Its form is newer than what the decider writes, or too old to be migrated.
    #[error("it has state schema version {found}, from which nothing leads to {current}")]
    NoPath {
        /// Its version.
        found: u32,
        /// What the decider writes.
        current: u32,
    },
    /// Others folded it, and no sample of theirs has been compared.
    #[error("it was folded by other rules ({}), of which no sample was compared", .0.short())]
    OtherFold(Digest),
}

impl Unusable {
    /// Stable name of the reason, as it is counted.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Beyond(_) => "beyond-the-stream",
            Self::NoPath { .. } => "no-migration",
            Self::OtherFold(_) => OTHER_FOLD,
        }
    }
}

/// From where a stream can be folded.
#[derive(Debug, Clone)]
pub struct Start {
    /// The version that the snapshot stands for.
    pub version: Version,
    /// The state.
    pub snapshot: Snapshot,
    /// It may be used for a truncated stream alone, as its anchor.
    pub is_anchor_alone: bool,
}

impl Start {
    /// Whether a stream that stands so can begin here: nothing that has left its reads
    /// is missing, and an anchor has a mark.
    pub fn serves(&self, head: Head) -> bool {
        let has_mark = head.truncated_before > Version::NONE;
        self.version.next() >= head.first() && (has_mark || !self.is_anchor_alone)
    }
}

impl Rules {
    /// A decider with the steps of its category, and what it names.
    pub fn new(module: Arc<Module>, chain: Chain, names: Names, trusted: Vec<Digest>) -> Self {
        let fold = chain.fold(&module);
        Self {
            lift: Lift::new(chain, names),
            fold,
            trusted,
            module,
        }
    }

    /// Where a fold begins that uses a snapshot of a stream which stands at `head`. The
    /// guest may still refuse it.
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
        // Every anchor was looked at before these rules became active.
        let is_trusted = self.trusts(snapshot.fold);
        if snapshot.is_anchor || is_trusted {
            Ok(Start {
                is_anchor_alone: !is_trusted,
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

    /// The state that a snapshot holds, whoever folded it.
    ///
    /// # Errors
    /// When it is damaged, or nothing leads from its form to the current one.
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
            is_anchor_alone: false,
        })
    }
}
