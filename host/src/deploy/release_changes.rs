//! What changes for others when a release becomes active.

use std::sync::Arc;

use super::{Change, Plan, changes};
use crate::runtime::Module;
use crate::supervise::joined;

/// A difference between a component of a release and the active one that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseChange {
    /// Name of the component.
    pub component: Box<str>,
    /// The difference.
    pub change: Change,
}

/// Compares the components of a release with those that they replace. What breaks comes first.
/// Empty for components that replace none. Not done on the reactor, because the descriptions come
/// from guests and may be long.
pub(super) async fn release_changes(plan: &Plan, modules: &[Arc<Module>]) -> Vec<ReleaseChange> {
    let replaced = modules.iter().filter_map(|new| {
        let name = new.manifest().name.as_str();
        let old = plan.modules().find(|old| old.manifest().name == name)?;
        (old.digest() != new.digest()).then(|| (Arc::clone(old), Arc::clone(new)))
    });
    let replaced: Vec<_> = replaced.collect();
    if replaced.is_empty() {
        return Vec::new();
    }
    let compared = tokio::task::spawn_blocking(move || {
        let all = replaced.iter().flat_map(|(old, new)| {
            let of = |change| ReleaseChange {
                component: new.manifest().name.as_str().into(),
                change,
            };
            changes(old, new).into_iter().map(of)
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|it| !it.change.breaks);
        all
    });
    joined(compared.await).unwrap_or_default()
}
