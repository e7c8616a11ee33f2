//! What is folded in the transaction of an append.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{BuildId, DocumentWrite, Error, Result, StoredDocument};
use quipu_model::{Digest, Position, RecordedEvent, Settings};

/// The inline projections of a store, under one plan. A store asks them while it commits:
/// which documents the accepted events touch, then, when these are locked and read and the
/// events have their positions, what becomes of them.
pub trait InlineFold: Send + Sync {
    /// Whether one of them may take events of a category. Cheap.
    fn wants(&self, category: &str) -> bool;

    /// Which documents some events touch, which stand in the order in which they will be
    /// recorded. Their positions are not known yet.
    ///
    /// # Errors
    /// When nothing can be said of any of them: the batch fails.
    fn touch(&self, events: Vec<Pending>) -> BoxFuture<'_, Result<Box<dyn Touched>>>;
}

/// An event that has been accepted, of an item of the batch.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Index of the item.
    pub item: usize,
    /// The event as it will be recorded; its position is 0.
    pub event: RecordedEvent,
}

/// Documents that are to be folded.
pub trait Touched: Send {
    /// Items whose events can't be folded. When there are any, the batch is classified
    /// again without them, and this is dropped.
    fn failed(&self) -> &[(usize, Unprojected)];

    /// The documents to be locked and read, in order of build and key, each once.
    fn documents(&self) -> &[(BuildId, Arc<str>)];

    /// Folds the events, which have these positions, into those documents: result i of the
    /// read belongs to document i.
    ///
    /// # Errors
    /// When nothing can be folded: the batch fails.
    fn fold(
        self: Box<Self>,
        positions: Vec<Position>,
        documents: Vec<Option<StoredDocument>>,
    ) -> BoxFuture<'static, Result<Folded>>;
}

/// What became of the documents.
#[derive(Debug, Default)]
pub struct Folded {
    /// Items whose events can't be folded. When there are any, nothing is written, and the
    /// batch is classified again without them.
    pub failed: Vec<(usize, Unprojected)>,
    /// The documents.
    pub writes: Vec<DocumentWrite>,
}

/// Why an append failed by an inline projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprojected {
    /// The projection.
    pub projection: Arc<str>,
    /// It keeps failing, so that it wasn't asked.
    pub is_failing: bool,
    /// Kind of the guest's fault, if it was one.
    pub fault: Option<&'static str>,
    /// What happened.
    pub text: String,
}

/// A change of how a build is folded, made together with an activation: whoever appends is
/// before it or behind it.
#[derive(Clone)]
pub enum Turn {
    /// It becomes inline. What it has not seen yet is folded within the transaction.
    Inline {
        /// The build; it must be the active one by then.
        build: BuildId,
        /// Folds what it has not seen.
        settle: Arc<dyn Settle>,
    },
    /// It is inline no longer, and stands at the end of the log.
    Async(BuildId),
    /// The next build takes the active one's place, which becomes the previous one.
    Switch {
        /// The projection.
        projection: Box<str>,
        /// The next build.
        next: BuildId,
    },
    /// Its next build waits for the order to switch.
    Hold(Box<str>),
    /// The previous build and the active one change places.
    RollBack {
        /// The projection.
        projection: Box<str>,
        /// The previous build.
        previous: BuildId,
    },
}

/// Folds what a build has not seen, when it is about to become inline.
pub trait Settle: Send + Sync {
    /// The documents after the events behind `from` up to `to`, of which all are committed.
    /// None when that is too much for one transaction.
    ///
    /// # Errors
    /// When they can't be folded.
    fn settle(
        &self,
        from: Position,
        to: Position,
    ) -> BoxFuture<'_, Result<Option<Vec<DocumentWrite>>>>;
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline { build, .. } => write!(f, "Inline({})", build.0),
            Self::Async(build) => write!(f, "Async({})", build.0),
            Self::Hold(projection) => write!(f, "Hold({projection})"),
            Self::Switch { projection, next } => write!(f, "Switch({projection}, {})", next.0),
            Self::RollBack {
                projection,
                previous,
            } => {
                write!(f, "RollBack({projection}, {})", previous.0)
            }
        }
    }
}

/// What the plan says of projections: all of it, with each activation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectionPlan {
    /// How each projection is kept.
    pub settings: BTreeMap<String, Settings>,
    /// Those that are folded inline.
    pub inline: BTreeMap<String, InlineBuild>,
    /// Components that define projections in place of others which define them, too, by the
    /// projection's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// Categories whose inline projections have changed by this activation; the empty name
    /// stands for every category.
    pub categories: Vec<String>,
    /// By category, names of event types that mean the same, each an alias with the name that
    /// a decider gave with it: of every decider that was ever active. None: the activation was
    /// made before this was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, BTreeSet<(String, String)>>>,
}

impl ProjectionPlan {
    /// As it stands in the history of the plan: nothing where it says nothing.
    pub(super) fn to_json(&self) -> Option<String> {
        let says_nothing = *self == Self::default();
        (!says_nothing)
            .then(|| serde_json::to_string(self).expect("JSON holds texts and numbers under texts"))
    }

    /// From the history of the plan.
    pub(super) fn of_json(text: Option<&str>) -> Result<Self> {
        let plan = text.map(serde_json::from_str).transpose();
        plan.map(Option::unwrap_or_default).map_err(|error| {
            Error::Damaged(format!("what an activation says of projections: {error}"))
        })
    }
}

/// What folds an inline projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineBuild {
    /// Where its documents are.
    pub build: BuildId,
    /// Version of its definition.
    pub version: u32,
    /// The module.
    pub module: Digest,
}
