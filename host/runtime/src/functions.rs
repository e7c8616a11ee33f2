use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::CacheStore;

/// Machine code of functions that this process has compiled, so that a component that differs little
/// from one before is compiled in a fraction of the time. A component in JavaScript or Python
/// consists mostly of its interpreter, which stays as it is when the author's code changes.
///
/// It is kept in memory, for the functions of the component that is compiled and of the one before it,
/// or of the last N. Clones share it. Use it for components of one author, whom you trust: code is
/// found by a digest over everything that it is compiled from, and nothing else separates one
/// component's functions from another's.
#[derive(Debug, Clone)]
pub struct Functions(Arc<FunctionCache>);

struct FunctionCache {
    components_max: u64,
    codes: Mutex<Codes>,
}

#[derive(Default)]
struct Codes {
    /// Number of the component that is compiled now, or was compiled last.
    component: u64,
    /// Code by the digest of what it is compiled from.
    by_digest: HashMap<Box<[u8]>, Code>,
}

struct Code {
    bytes: Vec<u8>,
    /// Number of the last component that had the function.
    component: u64,
}

impl Default for Functions {
    fn default() -> Self {
        Self::of_last(2)
    }
}

impl Functions {
    /// Keeps the functions of at most N components, which were compiled last.
    pub fn of_last(components_max: u64) -> Self {
        Self(Arc::new(FunctionCache {
            components_max,
            codes: Mutex::default(),
        }))
    }

    /// Another component is compiled from here on.
    pub(super) fn begin(&self) {
        let mut codes = self.0.codes();
        codes.component += 1;
        let (component, max) = (codes.component, self.0.components_max);
        let is_kept = |code: &Code| code.component.saturating_add(max) > component;
        codes.by_digest.retain(|_, code| is_kept(code));
    }

    pub(super) fn store(&self) -> Arc<dyn CacheStore> {
        Arc::<FunctionCache>::clone(&self.0)
    }
}

impl FunctionCache {
    fn codes(&self) -> MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut codes = self.codes();
        let component = codes.component;
        let code = codes.by_digest.get_mut(key)?;
        code.component = component;
        Some(Cow::Owned(code.bytes.clone()))
    }

    fn insert(&self, key: &[u8], bytes: Vec<u8>) -> bool {
        let mut codes = self.codes();
        let component = codes.component;
        codes
            .by_digest
            .insert(key.into(), Code { bytes, component });
        true
    }
}

impl fmt::Debug for FunctionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionCache")
            .field("components_max", &self.components_max)
            .field("functions", &self.codes().by_digest.len())
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
