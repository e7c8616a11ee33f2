//! Why SQLite could not write.
//!
//! An I/O error of SQLite says what it did: it wrote, or flushed. Why the system refused is not passed
//! on by the driver. So the limit on the size of files is compared with the files, and a small file
//! is written next to them.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::file::Lock;
use crate::Error;

/// How much a file may have to grow for a batch.
const GROWTH_BYTES: u64 = 2 << 20;
/// What a probe writes.
const PROBE_BYTES: usize = 4096;

/// Names the cause of an I/O error while the store was written. Any other error, and one whose cause
/// is not found, is returned as it is.
pub fn named(lock: &Lock, error: Error) -> Error {
    let Error::Disk(text) = error else {
        return error;
    };
    let Some(store) = lock.store() else {
        return Error::Disk(text);
    };
    // Before the probe: a program that embeds the host may not handle the signal of a write beyond it.
    if let Some(limit) = limit_within_reach(lock.paths()) {
        return Error::FileTooLarge(format!(
            "files of this process may have {limit} bytes: {text}"
        ));
    }
    match probe(store) {
        // The folder may be closed to the host although the files are not.
        Err(cause) if cause.kind() != ErrorKind::PermissionDenied => {
            Error::of_file(&cause, format!("{}: {cause}: {text}", store.display()))
        }
        _ => Error::Disk(text),
    }
}

/// The limit on the size of files, if one of these has reached it or is close to it.
fn limit_within_reach<'a>(files: impl Iterator<Item = &'a Path>) -> Option<u64> {
    let limit = limit()?;
    let lengths = files.filter_map(|file| fs::metadata(file).ok());
    let longest = lengths.map(|file| file.len()).max()?;
    (longest.saturating_add(GROWTH_BYTES) > limit).then_some(limit)
}

#[cfg(unix)]
fn limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Fsize).current
}

/// Other systems have no such limit.
#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}

/// Writes a file next to the store, and removes it.
fn probe(store: &Path) -> std::io::Result<()> {
    let path = PathBuf::from(format!("{}-probe", store.display()));
    if is_left_over(&path) {
        _ = fs::remove_file(&path);
    }
    let mut file = match File::create_new(&path) {
        Ok(file) => file,
        // It is somebody else's. The cause is then not known.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    let written = file.write_all(&[1; PROBE_BYTES]);
    // What was made here is removed. Whoever removed it before did the same.
    _ = fs::remove_file(&path);
    written
}

/// Whether a file is what a host wrote that was killed before it removed it.
fn is_left_over(path: &Path) -> bool {
    let is_short =
        fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= PROBE_BYTES as u64);
    is_short && fs::read(path).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_names_what_the_system_says_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        probe(&folder.path().join("store.db")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let other = folder.path().join("store.db-probe");
        fs::write(&other, "somebody's").unwrap();
        probe(&folder.path().join("store.db")).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
        // A host was killed while it wrote.
        for left_over in [&[][..], &[1; 10], &[1; PROBE_BYTES]] {
            fs::write(&other, left_over).unwrap();
            probe(&folder.path().join("store.db")).unwrap();
            assert!(!other.exists(), "{} bytes", left_over.len());
        }
        let missing = probe(&folder.path().join("no/store.db")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn each_error_of_the_system_has_its_meaning() {
        let of = |number| {
            let error = std::io::Error::from_raw_os_error(number);
            Error::of_file(&error, error.to_string())
        };
        if cfg!(target_os = "linux") {
            assert!(matches!(of(5), Error::Disk(_)));
            assert!(matches!(of(24), Error::TooManyFiles(_)));
            assert!(matches!(of(27), Error::FileTooLarge(_)));
            assert!(matches!(of(28), Error::Full(_)));
            assert!(matches!(of(30), Error::ReadOnly(_)));
        }
    }
}
