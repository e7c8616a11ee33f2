//! Inline projections, which are folded in the transaction of an append.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{BuildId, DocumentWrite, Error, Result, StoredDocument};
use quipu_model::{Digest, Position, RecordedEvent, Settings};

/// The inline projections of a store, under one plan. A store calls them while it commits. First
/// they name the documents that the accepted events touch. When these are locked and read and the
/// events have their positions, they fold the documents.
pub trait InlineFold: Send + Sync {
    /// Returns whether one of them may take events of a category. This is cheap.
    fn wants(&self, category: &str) -> bool;

    /// Returns the documents that some events touch. The events are in the order in which they will
    /// be recorded. Their positions are not known yet.
    ///
    /// # Errors
    /// When no documents can be named: the batch fails.
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
    /// Items whose events can't be folded. When there are any, the batch is classified a second
    /// time without them, and this value is dropped.
    fn failed(&self) -> &[(usize, Unprojected)];

    /// The documents to be locked and read, in order of build and key, each once.
    fn documents(&self) -> &[(BuildId, Arc<str>)];

    /// Folds the events, which have these positions, into the documents. Result i of the read
    /// belongs to document i.
    ///
    /// # Errors
    /// When no event can be folded: the batch fails.
    fn fold(
        self: Box<Self>,
        positions: Vec<Position>,
        documents: Vec<Option<StoredDocument>>,
    ) -> BoxFuture<'static, Result<Folded>>;
}

/// The folded documents.
#[derive(Debug, Default)]
pub struct Folded {
    /// Items whose events can't be folded. When there are any, nothing is written, and the batch is
    /// classified a second time without them.
    pub failed: Vec<(usize, Unprojected)>,
    /// The documents.
    pub writes: Vec<DocumentWrite>,
}

/// Why an inline projection refused an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprojected {
    /// The projection.
    pub projection: Arc<str>,
    /// Whether the projection keeps failing, so that it was not called.
    pub is_failing: bool,
    /// The kind of the guest's fault, if it was a fault.
    pub fault: Option<&'static str>,
    /// What happened.
    pub text: String,
}

/// A change of how a build is folded, made together with an activation. Every append is before it
/// or after it.
#[derive(Clone)]
pub enum Turn {
    /// The build becomes inline. The events that it has not seen yet are folded within the
    /// transaction.
    Inline {
        /// The build, which must be the active one by then.
        build: BuildId,
        /// Folds the events that the build has not seen.
        settle: Arc<dyn Settle>,
    },
    /// The build is no longer inline. Its checkpoint is the end of the log.
    Async(BuildId),
    /// Switches: the next build becomes the active one, and the active one becomes the previous
    /// one.
    Switch {
        /// The projection.
        projection: Box<str>,
        /// The next build.
        next: BuildId,
    },
    /// Whether its next build waits for the operator's action to switch.
    Hold(Box<str>),
    /// Rolls back: swaps the previous build and the active one.
    RollBack {
        /// The projection.
        projection: Box<str>,
        /// The previous build.
        previous: BuildId,
    },
}

/// Folds the events that a build has not seen, when it is about to become inline.
pub trait Settle: Send + Sync {
    /// Returns the documents after the events after `from` up to `to`, all of which are committed.
    /// Their change numbers are `offset` greater than positions. None when that is too much for one
    /// transaction.
    ///
    /// # Errors
    /// When they can't be folded.
    fn settle(
        &self,
        from: Position,
        to: Position,
        offset: u64,
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

/// The plan's settings of projections. Each activation records all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectionPlan {
    /// The lifecycle of each projection.
    pub settings: BTreeMap<String, Settings>,
    /// Projections that are folded inline.
    pub inline: BTreeMap<String, InlineBuild>,
    /// Components that define a projection in place of other components that also define it, by the
    /// projection's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// Categories whose inline projections were changed by this activation. The empty name means
    /// every category.
    pub categories: Vec<String>,
    /// By category, names of event types that mean the same, each an alias with the name that a
    /// decider gave with it: of every decider that was ever active. None when the activation was
    /// made before this was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, BTreeSet<(String, String)>>>,
}

impl ProjectionPlan {
    /// Encodes it for the history of the plan; none when it is empty.
    pub(super) fn to_json(&self) -> Option<String> {
        let says_nothing = *self == Self::default();
        (!says_nothing)
            .then(|| serde_json::to_string(self).expect("JSON holds texts and numbers under texts"))
    }

    /// Decodes it from the history of the plan.
    pub(super) fn of_json(text: Option<&str>) -> Result<Self> {
        let plan = text.map(serde_json::from_str).transpose();
        plan.map(Option::unwrap_or_default).map_err(|error| {
            Error::Damaged(format!("what an activation says of projections: {error}"))
        })
    }
}

/// The definition that folds an inline projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineBuild {
    /// The build that holds its documents.
    pub build: BuildId,
    /// Version of its definition.
    pub version: u32,
    /// The module.
    pub module: Digest,
}
