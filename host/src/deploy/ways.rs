//! Computes which stored events reach a projection in a different way under another plan.

use super::Sources;
use crate::store::TypeUse;
use crate::upcast::Way;

/// A stored form of events whose way to a reader has changed.
#[derive(Debug, Clone)]
pub struct ChangedForm {
    /// The form, with its number of events.
    pub form: TypeUse,
    /// Its previous way. `None` if the reader received none of these events.
    pub before: Option<Way>,
    /// Its new way. `None` if the reader receives none of these events.
    pub now: Option<Way>,
}

impl ChangedForm {
    /// Whether both ways use the same declared steps of different components. In that case only the
    /// lifted events can show a difference.
    pub fn is_alike(&self) -> bool {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => before.is_alike(now),
            _ => false,
        }
    }
}

/// Returns the stored forms whose way to a reader has changed.
pub fn moved(before: &Sources, now: &Sources, stored: &[TypeUse]) -> Vec<ChangedForm> {
    let moved = stored.iter().filter_map(|form| {
        let way = |sources: &Sources| sources.way(&form.category, &form.name, form.schema_version);
        let (before, now) = (way(before), way(now));
        (before != now).then(|| ChangedForm {
            form: form.clone(),
            before,
            now,
        })
    });
    moved.collect()
}
