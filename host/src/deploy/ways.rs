//! Which stored events come to a projection in another way under another plan.

use super::Sources;
use crate::store::TypeUse;
use crate::upcast::Way;

/// A stored form of events that comes to a reader in another way than before.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The form, and how many events have it.
    pub form: TypeUse,
    /// Its way before; none: the reader was given nothing of it.
    pub before: Option<Way>,
    /// Its way now; none: the reader is given nothing of it.
    pub now: Option<Way>,
}

impl Moved {
    /// Whether the same declared steps lead to the reader, of other components. Then the lifted
    /// events tell whether anything has changed.
    pub fn is_alike(&self) -> bool {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => before.is_alike(now),
            _ => false,
        }
    }
}

/// The stored forms that come to a reader in another way than before.
pub fn moved(before: &Sources, now: &Sources, stored: &[TypeUse]) -> Vec<Moved> {
    let moved = stored.iter().filter_map(|form| {
        let way = |sources: &Sources| sources.way(&form.category, &form.name, form.schema_version);
        let (before, now) = (way(before), way(now));
        (before != now).then(|| Moved {
            form: form.clone(),
            before,
            now,
        })
    });
    moved.collect()
}
