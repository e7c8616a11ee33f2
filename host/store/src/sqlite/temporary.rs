//! The folder of a store that does not outlive its host.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::{Error, Result};

/// The folder of a store. A temporary folder is removed with its last owner, or when the store is
/// closed.
#[derive(Clone)]
pub struct Folder(Option<Arc<Mutex<Option<TempDir>>>>);

impl Folder {
    /// The folder of a store that stays.
    pub fn permanent() -> Self {
        Self(None)
    }

    /// A new folder under the system's temporary one, and the store's file in it.
    pub fn temporary() -> Result<(Self, PathBuf)> {
        let folder = tempfile::Builder::new().prefix("quipu-").tempdir();
        let folder = folder.map_err(|error| {
            let place = std::env::temp_dir();
            Error::Unavailable(format!("a temporary store in {}: {error}", place.display()))
        })?;
        let file = folder.path().join("store.db");
        Ok((Self(Some(Arc::new(Mutex::new(Some(folder))))), file))
    }

    /// Returns whether nothing in it has to outlive the process.
    pub fn is_temporary(&self) -> bool {
        self.0.is_some()
    }

    /// Removes a temporary folder, whoever still holds it.
    pub fn remove(&self) {
        let Some(folder) = &self.0 else { return };
        // Dropping removes it; a file that can't be removed is left to the system.
        drop(folder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
