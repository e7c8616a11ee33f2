//! A SQLite file that has another name until it is complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::manifest::sync_folder;

/// The files of a store next to its own.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];
const LOCK: &str = ".lock";

/// A file that does not have its name yet. It is removed when this value is dropped.
pub struct Partial {
    path: PathBuf,
    target: PathBuf,
}

impl Partial {
    /// Reserves the name of a file that is not there. Removes what an interrupted recovery left.
    ///
    /// # Errors
    /// When the file is there, or a file that SQLite would take for a part of it.
    pub fn new(target: &Path) -> Result<Self> {
        let shown = target.display();
        if target.symlink_metadata().is_ok() {
            bail!("{shown} is there already; a recovery needs a file that does not exist");
        }
        for suffix in SUFFIXES {
            let rest = with(target, suffix);
            if rest.symlink_metadata().is_ok() {
                bail!(
                    "{} is left of a store that is gone, and would damage the new one; remove it",
                    rest.display()
                );
            }
        }
        let path = target.with_added_extension("recovering");
        let lock = with(&path, LOCK);
        if let Ok(file) = File::open(&lock)
            && file.try_lock().is_err()
        {
            bail!("another recovery writes {}", path.display());
        }
        let partial = Self {
            path,
            target: target.to_owned(),
        };
        partial.remove();
        Ok(partial)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the complete file its name, durably. The store must be closed.
    pub fn keep(self) -> Result<()> {
        let (path, target) = (&self.path, &self.target);
        let wal = with(path, "-wal");
        if fs::metadata(&wal).is_ok_and(|it| it.len() > 0) {
            bail!("{} is not in the store's file yet", wal.display());
        }
        let rename = || {
            File::open(path)?.sync_all()?;
            if target.symlink_metadata().is_ok() {
                return Err(std::io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(path, target)
        };
        rename().with_context(|| target.display().to_string())?;
        let folder = target.parent().filter(|it| !it.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
    }

    fn remove(&self) {
        _ = fs::remove_file(&self.path);
        for suffix in SUFFIXES.into_iter().chain([LOCK]) {
            // Usually it does not exist.
            _ = fs::remove_file(with(&self.path, suffix));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
