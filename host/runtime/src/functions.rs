use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::CacheStore;

/// Machine code of functions that this process has compiled, so that a component that differs little
/// from the one before is compiled in a fraction of the time. A component in JavaScript or Python
/// consists mostly of its interpreter, which stays as it is when the author's code changes.
///
/// It is kept in memory, for the functions of the last two components. Clones share it. Use it for
/// components of one author, whom you trust: code is found by a digest over everything that it is
/// compiled from, and nothing else separates one component's functions from another's.
#[derive(Debug, Clone, Default)]
pub struct Functions(Arc<Kept>);

#[derive(Default)]
struct Kept(Mutex<Generations>);

/// Code by the digest of what it is compiled from.
type Codes = HashMap<Box<[u8]>, Vec<u8>>;

#[derive(Default)]
struct Generations {
    /// Of the component that is compiled now, or was compiled last.
    last: Codes,
    /// Of the component before it.
    before: Codes,
}

impl Functions {
    /// Another component is compiled from here on.
    pub(super) fn begin(&self) {
        let mut generations = self.0.generations();
        generations.before = std::mem::take(&mut generations.last);
    }

    pub(super) fn store(&self) -> Arc<dyn CacheStore> {
        Arc::<Kept>::clone(&self.0)
    }
}

impl Kept {
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for Kept {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut generations = self.generations();
        if let Some((key, code)) = generations.before.remove_entry(key) {
            generations.last.insert(key, code);
        }
        let code = generations.last.get(key)?;
        Some(Cow::Owned(code.clone()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.generations().last.insert(key.into(), value);
        true
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.generations();
        let functions = generations.last.len() + generations.before.len();
        f.debug_struct("Kept")
            .field("functions", &functions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_last_two_components_are_kept() {
        let functions = Functions::default();
        let store = functions.store();
        let get = |key: &str| store.get(key.as_bytes()).map(Cow::into_owned);
        functions.begin();
        for key in ["engine", "rules"] {
            assert_eq!(get(key), None);
            assert!(store.insert(key.as_bytes(), key.into()));
        }
        functions.begin();
        assert_eq!(get("engine"), Some("engine".into()));
        assert_eq!(get("engine"), Some("engine".into()));
        store.insert(b"other rules", b"other rules".into());
        functions.begin();
        assert_eq!(get("engine"), Some("engine".into()));
        assert_eq!(get("other rules"), Some("other rules".into()));
        assert_eq!(get("rules"), None);
    }
}
