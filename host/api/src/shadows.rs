//! The result of a shadow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::proof::{End, Shadow};

use crate::PreflightView;

/// What came of a shadow so far.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShadowView {
    /// Behind this position it began.
    pub after: u64,
    /// Positions and rejections that went by, since it could not keep up.
    pub skipped: u64,
    /// Why it has ended: `time`, or `active`, since the module has become so; null while it
    /// goes on.
    pub ended: Option<String>,
    /// What is different so far.
    pub found: PreflightView,
}

impl ShadowView {
    /// The view of a shadow.
    pub fn of(shadow: Shadow) -> Self {
        let ended = shadow.end.map(|end| match end {
            End::Time => "time",
            End::Active => "active",
        });
        Self {
            after: shadow.after.0,
            skipped: shadow.skipped,
            ended: ended.map(ToOwned::to_owned),
            found: PreflightView::of(shadow.found),
        }
    }
}
