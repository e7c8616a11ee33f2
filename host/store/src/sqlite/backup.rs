//! A copy of a file while a host writes to it.

use std::fs::{self, File};
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::{connect_reading, file};
use crate::{Backup, Error, Result};

/// The pause between two checks of the size of the copy.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

/// Copies the store at one moment. An incomplete copy has a temporary name, and is removed when the
/// copy fails.
pub async fn backup(
    path: &Path,
    folder: &Path,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<Backup> {
    let mut connection = connect_reading(path).await?;
    let name = path.file_name().unwrap_or_default();
    let copy = folder.join(name);
    if copy.symlink_metadata().is_ok() {
        return Err(is_there(&copy));
    }
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let half = Half(copy.with_added_extension(format!("{:08x}.partial", rand::random::<u32>())));
    reserve(&half.0, path).map_err(|error| failed(&half.0, &error))?;
    vacuum(&mut connection, &half.0, report).await?;
    let closing = connection.close().await;
    closing?;
    if file::is_new(&half.0)? {
        return Err(Error::Unexpected(format!("{} is empty", half.0.display())));
    }
    let bytes = keep(&half.0, &copy).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => is_there(&copy),
        _ => failed(&copy, &error),
    })?;
    report(bytes);
    Ok(Backup { path: copy, bytes })
}

/// Writes what the connection sees into a file that is empty.
async fn vacuum(
    connection: &mut SqliteConnection,
    half: &Path,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let target = half.to_str().ok_or_else(|| {
        let reason = format!("{} is not UTF-8, which SQLite requires", half.display());
        Error::Url(reason)
    })?;
    let copying = sqlx::query("VACUUM INTO ?1")
        .bind(target)
        .execute(connection);
    let mut copying = std::pin::pin!(copying);
    let mut checks = tokio::time::interval(CHECK_PAUSE);
    loop {
        tokio::select! {
            copied = &mut copying => {
                return copied.map(|_| ()).map_err(Error::from);
            }
            _ = checks.tick() => report(fs::metadata(half).map_or(0, |half| half.len())),
        }
    }
}

/// Creates the empty file, with the permissions of the store's file.
fn reserve(half: &Path, path: &Path) -> std::io::Result<()> {
    let file = File::create_new(half)?;
    file.set_permissions(fs::metadata(path)?.permissions())
}

/// Makes the file durable, then renames it. Fails if the name was taken meanwhile.
fn keep(half: &Path, copy: &Path) -> std::io::Result<u64> {
    let file = File::open(half)?;
    file.sync_all()?;
    fs::hard_link(half, copy)?;
    let folder = copy.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file.metadata()?.len())
}

/// An incomplete file, or one that has been renamed. It is removed when this value is dropped.
struct Half(PathBuf);

impl Drop for Half {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // The file may not exist.
            _ = fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

fn is_there(copy: &Path) -> Error {
    let copy = copy.display();
    Error::Url(format!("{copy} is there already; name another folder"))
}

fn failed(path: &Path, error: &IoError) -> Error {
    Error::of_file(error, format!("{}: {error}", path.display()))
}
