use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::exit::WrongUse;
use super::secret::Secret;
use super::shipping::sync_folder;
use super::table::grouped;
use super::transfer::{Bar, StoreFile};
use quipu::model::{Clock, SystemClock, Timestamp};
use quipu::store::{self, Job, StoreUrl};

/// Copy a SQLite store into a folder, also while its host runs
///
/// The copy has the name of the store's file, contains the log at one point in time, and is a store
/// itself. An existing file is not replaced. For PostgreSQL use `pg_dump`.
///
/// The store records when its last backup was begun, so status and metrics of its hosts show that.
/// With --report another tool has made the backup, and only that is recorded, for any store.
#[derive(Debug, Args)]
pub struct Backup {
    /// The folder; created if missing
    #[arg(required_unless_present = "report")]
    dir: Option<PathBuf>,
    /// The store
    #[arg(long, value_name = "URL", default_value = "sqlite:quipu.db")]
    store: Secret,
    #[command(flatten)]
    store_file: StoreFile,
    /// Write the copy into a folder of its own, named by the time, and then remove all but the N
    /// newest copies
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=100_000)
    )]
    keep: Option<u64>,
    /// Copy nothing: another tool has made a backup, begun at most this number of seconds ago
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "0",
        value_parser = clap::value_parser!(u64).range(0..=2_592_000),
        conflicts_with_all = ["dir", "keep"]
    )]
    report: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub async fn run(self) -> Result<()> {
        let url = self.store_file.or(&self.store)?;
        let began_at = SystemClock.now();
        if let Some(age_s) = self.report {
            return self.record(&url, began_at, age_s).await;
        }
        let folder = self.dir.as_deref().unwrap_or(Path::new("."));
        let bytes = match &url {
            StoreUrl::Sqlite(path) => path.metadata().map(|it| it.len()).ok(),
            _ => None,
        };
        let dir = match self.keep {
            Some(_) => folder.join(now()),
            None => folder.to_owned(),
        };
        let bar = Bar::new(bytes);
        let copied = store::backup(&url, &dir, &mut |bytes| bar.advance(bytes)).await;
        bar.finish();
        let copied = copied.inspect_err(|_| {
            if self.keep.is_some() {
                // Removes only an empty folder.
                _ = fs::remove_dir(&dir);
            }
        })?;
        if let Err(error) = store::report(&url, Job::Backup, began_at).await {
            // The copy is complete nevertheless.
            let note = "note: the store could not record when it was backed up";
            _ = writeln!(io::stderr(), "{note}: {error}");
        }
        let removed = match self.keep {
            Some(keep) => prune(folder, &url, keep)?,
            None => 0,
        };
        let (path, bytes) = (copied.path.display(), copied.bytes);
        let mut out = io::stdout().lock();
        if self.json {
            let mut json = json!({ "path": path.to_string(), "bytes": bytes });
            if self.keep.is_some() {
                json["removed"] = removed.into();
            }
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{path}: {} bytes", grouped(bytes))?;
            if removed > 0 {
                writeln!(out, "removed {} older copies", grouped(removed))?;
            }
        }
        Ok(())
    }

    /// Records a backup that another tool has made.
    async fn record(&self, url: &StoreUrl, now: Timestamp, age_s: u64) -> Result<()> {
        let began_at = Timestamp(now.0.saturating_sub(age_s.saturating_mul(1_000_000)));
        store::report(url, Job::Backup, began_at).await?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", json!({ "began_at": began_at.to_string() }))?,
            false => writeln!(out, "a backup that was begun at {began_at} is recorded")?,
        }
        Ok(())
    }
}

/// Removes all but the newest copies of the store. Returns how many were removed.
fn prune(dir: &Path, url: &StoreUrl, keep: u64) -> Result<u64> {
    let StoreUrl::Sqlite(path) = url else {
        let why = "--keep: only copies of a SQLite store are counted";
        return Err(WrongUse(why.to_owned()).into());
    };
    let name = path.file_name().unwrap_or_default();
    // The new copy is there after a crash, before an older one is removed.
    sync_folder(dir)?;
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        if is_of_time(&entry.file_name().to_string_lossy()) {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable();
    let complete = folders.iter().filter(|it| it.join(name).is_file());
    let keep = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(oldest) = complete.rev().nth(keep).cloned() else {
        return Ok(0);
    };
    let mut removed = 0;
    // Also what an interrupted backup left.
    for folder in folders.iter().filter(|it| **it < oldest) {
        removed += u64::from(folder.join(name).is_file());
        remove(folder, &name.to_string_lossy())?;
    }
    Ok(removed)
}

/// Whether a file belongs to the copy of a store, whole or begun. The copy of another store may have
/// a name that begins like this one.
fn is_of_copy(file: &str, name: &str) -> bool {
    let Some(rest) = file.strip_prefix(name) else {
        return false;
    };
    let begun = rest.strip_prefix('.').and_then(|it| it.split_once('.'));
    let is_begun = begun.is_some_and(|(random, rest)| {
        let is_random = random.len() == 8 && random.bytes().all(|it| it.is_ascii_hexdigit());
        is_random && rest.starts_with("partial")
    });
    is_begun || matches!(rest, "" | "-wal" | "-shm" | "-journal")
}

/// The name of a folder for a copy, in order of time.
fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// Whether a name is one that [`now`] gives.
fn is_of_time(name: &str) -> bool {
    const FORM: &str = "00000000T000000.000Z";
    let is_like = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    name.len() == FORM.len() && name.bytes().zip(FORM.bytes()).all(is_like)
}

/// Removes the copy in a folder, and the folder if nothing else is in it.
fn remove(folder: &Path, name: &str) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if is_of_copy(&entry.file_name().to_string_lossy(), name) {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    // Something else may be in it.
    _ = fs::remove_dir(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_copy_belong_to_it() {
        for file in [
            "a.db",
            "a.db-wal",
            "a.db.0f1e2d3c.partial",
            "a.db.0f1e2d3c.partial-wal",
        ] {
            assert!(is_of_copy(file, "a.db"), "{file}");
        }
        for file in [
            "a.db2",
            "a.db.db",
            "a.db-archive",
            "a.db.x.0f1e2d3c.partial",
            "b.db",
            "a",
        ] {
            assert!(!is_of_copy(file, "a.db"), "{file}");
        }
    }

    #[test]
    fn the_folder_of_a_copy_is_named_by_its_time() {
        assert!(is_of_time(&now()), "{}", now());
        for name in [
            "",
            "20260504T120000.000",
            "20260504T120000.000Zx",
            "2026-5-4T120000.000Z",
        ] {
            assert!(!is_of_time(name), "{name}");
        }
    }
}
