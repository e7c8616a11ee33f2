//! The result of a shadow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::proof::{End, Shadow};

use crate::PreflightView;

/// The result of a shadow so far.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShadowView {
    /// The position after which it began.
    pub after: u64,
    /// Positions and rejections that it left out because it could not keep up.
    pub skipped: u64,
    /// Why it ended: `time`, or `active`, because the module became active; null while it is
    /// running.
    pub ended: Option<String>,
    /// The differences so far.
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
