//! The files of a store: the database, its lock and its WAL.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::store::{Error, Result};

/// Marks a SQLite file as a store of this program: `Qpu1`, in the file's header.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Qpu1");
/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the mark stands in the header.
const MARK: std::ops::Range<usize> = 68..72;

/// Pages after which the writer moves the WAL into the file.
pub const WAL_PAGES: usize = 4_000;
/// Bytes by which a new WAL is grown beforehand: a flush of a file that does not
/// grow costs half.
const WAL_BYTES: usize = (WAL_PAGES + 200) * (PAGE_BYTES + 24) + 32;
/// SQLite's usual page.
const PAGE_BYTES: usize = 4096;

/// Whether the store is still to be made. Reads the header alone and changes nothing,
/// so that a file that is no store is left as it is.
pub fn is_new(path: &Path) -> Result<bool> {
    let damaged = |why: &str| Error::Damaged(format!("{}: {why}", path.display()));
    let mut header = Vec::with_capacity(MARK.end);
    match File::open(path).and_then(|file| file.take(MARK.end as u64).read_to_end(&mut header)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::ReadOnly(format!("{}: {error}", path.display())));
        }
        Err(error) => return Err(Error::Unavailable(format!("{}: {error}", path.display()))),
        Ok(0) => return Ok(true),
        Ok(_) => {}
    }
    if !header.starts_with(MAGIC) {
        return Err(damaged("this is no SQLite file"));
    }
    match header.get(MARK) {
        Some(mark) if mark == APPLICATION_ID.to_be_bytes() => Ok(false),
        _ => Err(damaged("this is a database of another program")),
    }
}

/// The path without links, since the lock file stands beside the file itself. A path
/// that leads nowhere is kept: opening it tells why.
pub fn resolved(path: &Path) -> PathBuf {
    if let Ok(resolved) = path.canonicalize() {
        return resolved;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Takes the lock file beside the store; it is released when the file is dropped,
/// also when the process dies.
pub fn lock(path: &Path) -> Result<File> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let unavailable = |error: std::io::Error| match error.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            Error::ReadOnly(format!("{}: {error}", beside.display()))
        }
        _ => Error::Unavailable(format!("{}: {error}", beside.display())),
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&beside)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Writes zeros where SQLite will write its WAL: a file without the magic number
/// counts as an empty WAL, and is written from its beginning on.
pub fn grow_wal(path: &Path) -> Result<()> {
    let wal = PathBuf::from(format!("{}-wal", path.display()));
    // One page at a time: one large write would be cached in large pieces, and
    // Linux's file systems then walk such a piece at every small write into it.
    let grow = || -> std::io::Result<()> {
        let mut file = File::create_new(&wal)?;
        for _ in 0..WAL_BYTES.div_ceil(PAGE_BYTES) {
            file.write_all(&[0; PAGE_BYTES])?;
        }
        file.sync_all()
    };
    match grow() {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::Unavailable(format!("{}: {error}", wal.display())))
        }
        _ => Ok(()),
    }
}
