//! The files of a store: the database, its lock and its WAL.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Marks a SQLite file as a store of this program: `Qpu1`, in the file's header.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Qpu1");
/// The first bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The offset of the mark in the header.
const MARK: std::ops::Range<usize> = 68..72;

/// Pages after which the writer moves the WAL into the file.
pub const WAL_PAGES: usize = 4_000;
/// Bytes by which a new WAL is grown beforehand: a flush of a file that does not
/// grow costs half.
const WAL_BYTES: usize = wal_bytes(WAL_PAGES + 200);
/// SQLite's usual page.
const PAGE_BYTES: usize = 4096;

/// Returns the bytes of a WAL of this many pages.
pub const fn wal_bytes(pages: usize) -> usize {
    pages * (PAGE_BYTES + 24) + 32
}

/// The WAL of a file.
pub fn wal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

/// Returns whether the store does not exist yet. Only reads the header and changes nothing, so that
/// a file that is not a store is left as it is.
pub fn is_new(path: &Path) -> Result<bool> {
    let damaged = |why: &str| Error::Damaged(format!("{}: {why}", path.display()));
    let mut header = Vec::with_capacity(MARK.end);
    match File::open(path).and_then(|file| file.take(MARK.end as u64).read_to_end(&mut header)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(unavailable(path, &error)),
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

/// Returns the path without links, because the lock file is next to the file itself. A path that
/// leads nowhere is returned as it is: opening it reports the error.
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

/// The lock of a store; released when it is dropped, also when the process dies.
#[derive(Debug)]
pub struct Lock {
    /// The lock file, and where it is possible, the database itself, because a lock file can be
    /// deleted.
    files: Vec<File>,
    /// Every file that belongs to the store, as it was found.
    found: Vec<(PathBuf, Identity)>,
}

/// The identity of a file, to distinguish it from another one under the same path.
type Identity = (u64, u64);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a program that was started meanwhile may still hold a
        // copy of the file. An error leaves it to the end of the process.
        for file in &self.files {
            _ = file.unlock();
        }
    }
}

impl Lock {
    /// Locks the database, too, which exists by now. Only on Linux: on other systems SQLite's own
    /// locks are of the same kind.
    pub fn take_database(&mut self, path: &Path) -> Result<()> {
        if cfg!(target_os = "linux") {
            let file = File::open(path).map_err(|error| unavailable(path, &error))?;
            self.files.push(locked(file, path, path)?);
        }
        Ok(())
    }

    /// Remembers which files the store has, once they are open.
    pub fn remember(&mut self, path: &Path) -> Result<()> {
        for file in [path.to_owned(), wal(path), lock_file(path)] {
            let identity = identity(&file).map_err(|error| unavailable(&file, &error))?;
            self.found.push((file, identity));
        }
        Ok(())
    }

    /// The path of the store; none before its files are open.
    pub fn store(&self) -> Option<&Path> {
        self.paths().next()
    }

    /// The paths of every file that belongs to the store, once they are open.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.found.iter().map(|(path, _)| &**path)
    }

    /// Checks whether the store still has the files that were opened. Data written to a file that
    /// was deleted or replaced is lost.
    pub fn check(&self) -> Result<()> {
        for (path, known) in &self.found {
            let why = match identity(path) {
                Ok(found) if found == *known => continue,
                Ok(_) => "was replaced".to_owned(),
                Err(error) if error.kind() == ErrorKind::NotFound => "was deleted".to_owned(),
                Err(error) => format!("can't be checked: {error}"),
            };
            return Err(Error::Unavailable(format!(
                "{} {why} while the host has it open, so that nothing more is stored; stop the \
                 host, put the file back or restore a backup, then start it",
                path.display()
            )));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// On other systems, an open file can be neither deleted nor replaced.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).map(|_| (0, 0))
}

/// Refuses a store that another host has locked. To be asked before the file is opened:
/// when a process closes one of its copies of a file, all of SQLite's locks on it go.
pub fn check_free(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).open(lock_file(path)) {
        Ok(file) => try_lock(file, path).map(|_| ()),
        Err(_) => Ok(()),
    }
}

/// Takes the lock file next to the store.
pub fn lock(path: &Path) -> Result<Lock> {
    let lock_path = lock_file(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Unavailable(format!(
                "the folder of {} does not exist: make it, or correct the address",
                path.display()
            )),
            _ => unavailable(&lock_path, &error),
        })?;
    try_lock(file, path)
}

/// Deletes a store with all that it holds; does nothing if there is none. The lock file stays, because
/// two hosts could each have locked a file of its name otherwise.
///
/// # Errors
/// When a host has the store open, it is not a store of this program, or a file can't be deleted.
pub fn delete(path: &Path) -> Result<()> {
    let path = &resolved(path);
    check_free(path)?;
    if is_new(path)? {
        return Ok(());
    }
    let mut lock = lock(path)?;
    lock.take_database(path)?;
    // The file is last, because nothing reads a WAL without it.
    for file in [
        PathBuf::from(format!("{}-shm", path.display())),
        wal(path),
        path.clone(),
    ] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(unavailable(&file, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lock_file(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.lock", path.display()))
}

fn try_lock(file: File, path: &Path) -> Result<Lock> {
    Ok(Lock {
        files: vec![locked(file, &lock_file(path), path)?],
        found: Vec::new(),
    })
}

fn locked(file: File, what: &Path, store: &Path) -> Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(store.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(what, &error)),
    }
}

fn unavailable(path: &Path, error: &std::io::Error) -> Error {
    Error::of_file(error, format!("{}: {error}", path.display()))
}

/// Refuses a file with several names: SQLite would keep a WAL, and this program a lock, next to
/// each of them.
#[cfg(unix)]
pub fn check_names(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.nlink() > 1 => Err(Error::Unavailable(format!(
            "{} has {} names (hard links), and a second host could come in by another one; \
             remove the others, or open a copy",
            path.display(),
            file.nlink()
        ))),
        _ => Ok(()),
    }
}

/// Names of a file are not counted here.
#[cfg(not(unix))]
pub fn check_names(_: &Path) -> Result<()> {
    Ok(())
}

/// Writes zeros where SQLite will write its WAL: a file without the magic number
/// counts as an empty WAL, and is written from its beginning on.
pub fn grow_wal(path: &Path) -> Result<()> {
    let wal = wal(path);
    // One page at a time: one large write would be cached in large pieces, and
    // Linux's file systems then walk such a piece at every small write into it.
    let grow = || -> std::io::Result<()> {
        let mut file = File::create_new(&wal)?;
        if let Ok(store) = std::fs::metadata(path) {
            file.set_permissions(store.permissions())?;
        }
        for _ in 0..WAL_BYTES.div_ceil(PAGE_BYTES) {
            file.write_all(&[0; PAGE_BYTES])?;
        }
        file.sync_all()
    };
    match grow() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            make_private(path, &wal);
            Ok(())
        }
        Err(error) => {
            // A failure would leave half of it. A file that is not grown only costs time.
            _ = std::fs::remove_file(&wal);
            Err(unavailable(&wal, &error))
        }
        Ok(()) => Ok(()),
    }
}

/// Gives a WAL the permissions of its store: it has the same data.
fn make_private(path: &Path, wal: &Path) {
    let of = |path: &Path| std::fs::metadata(path).map(|it| it.permissions());
    if let (Ok(wanted), Ok(found)) = (of(path), of(wal))
        && wanted != found
        && let Err(error) = std::fs::set_permissions(wal, wanted)
    {
        let wal = wal.display();
        tracing::warn!(%wal, %error, "the WAL does not have the permissions of its store");
    }
}
