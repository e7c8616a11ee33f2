//! Stored snapshots, and how they compare with the events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::engine::Checked;
use quipu::fold::{Agreement, Found, Taken};
use quipu::model::{Category, StreamId};
use quipu::store::StoredSnapshot;

/// A stored snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SnapshotView {
    /// The version of the stream that the snapshot contains.
    pub version: u64,
    /// Schema version of the state, from the decider's manifest.
    pub state_schema_version: u32,
    /// Media type of the state.
    pub content_type: String,
    /// Length of the state in bytes.
    pub bytes: u64,
    /// The fold that made it: a digest over the decider and the upcaster steps of its category.
    pub fold: String,
    /// When it was taken.
    #[schema(format = "date-time")]
    pub taken_at: String,
}

/// A snapshot that was compared with the events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotView,
    /// Whether it replaces the events before a truncated stream's mark.
    pub anchor: bool,
    /// `agrees`: it restores the state that the events lead to; `differs`: it restores another
    /// state; `unusable`: it can't be restored, and the stream is replayed without it unless it is
    /// an anchor.
    pub worth: String,
    /// With `unusable`: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A snapshot that was taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TakenView {
    /// The stream.
    pub stream: String,
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotView,
    /// The snapshots that were stored before.
    pub found: Vec<FoundView>,
}

/// Snapshots of a category that were compared with the events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckedView {
    /// The category.
    pub category: String,
    /// How many agree.
    pub agree: u64,
    /// How many differ.
    pub differ: u64,
    /// How many are unusable.
    pub unusable: u64,
    /// The snapshots, newest first.
    pub snapshots: Vec<CheckedSnapshot>,
}

/// A snapshot of a category that was compared with the events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckedSnapshot {
    /// Its stream.
    pub stream: String,
    /// The snapshot, and the result of the comparison.
    #[serde(flatten)]
    pub found: FoundView,
}

impl SnapshotView {
    fn of(snapshot: &StoredSnapshot) -> Self {
        Self {
            version: snapshot.version.0,
            state_schema_version: snapshot.state_schema_version,
            content_type: snapshot.content_type.clone(),
            bytes: snapshot.data.len() as u64,
            fold: snapshot.fold.to_string(),
            taken_at: snapshot.taken_at.to_string(),
        }
    }
}

impl FoundView {
    fn of(found: &Found) -> Self {
        let (worth, reason) = match &found.agreement {
            Agreement::Agrees => ("agrees", None),
            Agreement::Differs => ("differs", None),
            Agreement::Unusable(why) => ("unusable", Some(why.clone())),
        };
        Self {
            snapshot: SnapshotView::of(&found.snapshot),
            anchor: found.snapshot.is_anchor,
            worth: worth.to_owned(),
            reason,
        }
    }
}

impl TakenView {
    /// The view of a snapshot that was taken.
    pub fn of(stream: &StreamId, taken: &Taken) -> Self {
        Self {
            stream: stream.to_string(),
            snapshot: SnapshotView::of(&taken.snapshot),
            found: taken.found.iter().map(FoundView::of).collect(),
        }
    }
}

impl CheckedView {
    /// The view of the snapshots of a category.
    pub fn of(category: &Category, checked: &[Checked]) -> Self {
        let snapshots: Vec<CheckedSnapshot> = checked
            .iter()
            .map(|checked| CheckedSnapshot {
                stream: checked.stream.to_string(),
                found: FoundView::of(&checked.found),
            })
            .collect();
        let count = |worth: &str| {
            let all = snapshots.iter();
            all.filter(|one| one.found.worth == worth).count() as u64
        };
        Self {
            category: category.as_str().to_owned(),
            agree: count("agrees"),
            differ: count("differs"),
            unusable: count("unusable"),
            snapshots,
        }
    }
}
