use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Error, Job, Loss, Result, Source, Store, StoredBytes, postgres, sqlite};
use quipu_model::Timestamp;

/// The address of a store: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME` or
/// `memory:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file, which is created if missing.
    Sqlite(PathBuf),
    /// A schema in a PostgreSQL database, which is created if missing.
    Postgres(postgres::Url),
    /// A SQLite file in a temporary folder, never flushed, removed when the store is closed
    /// or dropped: for tests and experiments.
    Memory,
}

impl StoreUrl {
    /// The store of a tenant of a host whose main store has this address. For SQLite, `place` is a
    /// folder, in which the store is a file `DATA.db`. For PostgreSQL, `place` begins the name of
    /// a schema in the same database, whose other characters are those of `data`, with `_` for `-`.
    ///
    /// # Errors
    /// When the main store is `memory:`, or no schema can have that name.
    pub fn of_tenant(&self, place: &str, data: &str) -> Result<Self> {
        match self {
            Self::Sqlite(_) => {
                let file = Path::new(place).join(format!("{data}.db"));
                Ok(Self::Sqlite(file))
            }
            Self::Postgres(url) => {
                let schema = format!("{place}{}", data.replace('-', "_"));
                Ok(Self::Postgres(url.of_tenant(&schema)?))
            }
            Self::Memory => Err(Error::Url(
                "a memory: store ends with its host, and the list of tenants with it; use \
                 sqlite:PATH or postgres://..."
                    .to_owned(),
            )),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown = without_secrets(text);
        let wrong = |reason: &str| Error::Url(format!("store {shown:?}: {reason}"));
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() || path.contains('\0') {
                    return Err(wrong("a path belongs after sqlite:"));
                }
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.parse()?)),
            _ => Err(wrong("expected sqlite:PATH, postgres://... or memory:")),
        }
    }
}

/// Returns an invalid address as an error may show it: its scheme, and the part after the last `@`.
/// Any other part may be a password that was put there by mistake.
fn without_secrets(text: &str) -> String {
    let place = text.rsplit_once('@').map(|(_, place)| place);
    let place = place.map(|place| place.split('?').next().unwrap_or_default());
    let place = place.map_or_else(String::new, |place| format!("@{place}"));
    match text.split_once(':') {
        Some((scheme, "")) => format!("{scheme}:"),
        Some((scheme, _)) => format!("{scheme}:…{place}"),
        None if text.contains(['@', '=']) => format!("…{place}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// Opens a store, and creates it if it does not exist.
///
/// # Errors
/// When it can't be opened, is in use by another host, or was made by a newer program.
pub async fn open(url: &StoreUrl) -> Result<Store> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open(path, &sqlite::Options::default()).await,
        StoreUrl::Postgres(url) => postgres::open(url, &postgres::Options::default()).await,
        StoreUrl::Memory => sqlite::open_temporary(&sqlite::Options::default()).await,
    }
}

/// Opens an empty store in PostgreSQL for a recovery, or one in which a recovery did not finish.
/// Nobody else can open it until [`finish_recovering`]: neither a host nor an export.
///
/// # Errors
/// When it can't be opened, is not empty, or is not in PostgreSQL.
pub async fn open_recovering(url: &StoreUrl) -> Result<Store> {
    match url {
        StoreUrl::Postgres(url) => postgres::open_recovering(url).await,
        StoreUrl::Sqlite(_) | StoreUrl::Memory => Err(not_postgres()),
    }
}

/// Marks the recovery of a store as finished. It can be opened from then on.
///
/// # Errors
/// When the server does not answer, or the store is not in PostgreSQL.
pub async fn finish_recovering(url: &StoreUrl) -> Result<()> {
    match url {
        StoreUrl::Postgres(url) => postgres::finish_recovering(url).await,
        StoreUrl::Sqlite(_) | StoreUrl::Memory => Err(not_postgres()),
    }
}

/// Returns which acknowledged events hosts have found missing in a store; none while nothing is
/// missing, or after the loss was accepted.
///
/// # Errors
/// When the server does not answer, or the store is not in PostgreSQL.
pub async fn lost(url: &StoreUrl) -> Result<Option<Loss>> {
    match url {
        StoreUrl::Postgres(url) => postgres::lost(url).await,
        StoreUrl::Sqlite(_) | StoreUrl::Memory => Err(loses_nothing()),
    }
}

/// Accepts a loss, as [`lost`] returned it. Hosts that are started afterwards write to the store, at
/// positions after the lost ones. Returns false, and changes nothing, when something else is missing
/// by now.
///
/// # Errors
/// As [`lost`].
pub async fn accept_loss(url: &StoreUrl, loss: &Loss) -> Result<bool> {
    match url {
        StoreUrl::Postgres(url) => postgres::accept_loss(url, loss).await,
        StoreUrl::Sqlite(_) | StoreUrl::Memory => Err(loses_nothing()),
    }
}

fn loses_nothing() -> Error {
    let why = "only a store in PostgreSQL can lose acknowledged events to a standby";
    Error::Url(why.to_owned())
}

fn not_postgres() -> Error {
    let why = "only a store in PostgreSQL is marked; a SQLite file gets its name at the end";
    Error::Url(why.to_owned())
}

/// Returns whether there is a store at an address. Creates nothing.
///
/// # Errors
/// When the place can't be read, or does not answer.
pub async fn is_there(url: &StoreUrl) -> Result<bool> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::is_there(path),
        StoreUrl::Postgres(url) => postgres::is_there(url).await,
        StoreUrl::Memory => Ok(false),
    }
}

/// Refuses an address without a store. Creates nothing.
///
/// # Errors
/// When there is no store, the place can't be read, or does not answer, or the store is `memory:`.
pub async fn check_exists(url: &StoreUrl) -> Result<()> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::check_exists(path),
        StoreUrl::Postgres(url) => match postgres::is_there(url).await? {
            true => Ok(()),
            false => Err(missing(url)),
        },
        StoreUrl::Memory => Err(only_in_its_host()),
    }
}

fn missing(url: &postgres::Url) -> Error {
    Error::Url(format!(
        "there is no store at {url}; check the address, or create a store with `quipu serve`"
    ))
}

/// Opens a store only for reading. A host may have the SQLite file open at the same time. The file
/// must exist.
///
/// # Errors
/// When it can't be opened, is `memory:`, or has another schema version.
pub async fn open_reading(url: &StoreUrl) -> Result<Source> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open_reading(path).await,
        StoreUrl::Postgres(url) => {
            if !postgres::is_there(url).await? {
                return Err(missing(url));
            }
            let store = postgres::open(url, &postgres::Options::default()).await?;
            Ok(Source {
                reader: store.reader,
                modules: store.modules,
                snapshots: store.snapshots,
                documents: store.documents,
                digests: store.digests,
            })
        }
        StoreUrl::Memory => Err(only_in_its_host()),
    }
}

/// Opens the parts of a store whose bytes have digests, only for reading. A host may have the store
/// open at the same time. The store must exist.
///
/// # Errors
/// As [`open_reading`].
pub async fn open_bytes(url: &StoreUrl) -> Result<StoredBytes> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open_bytes(path).await,
        StoreUrl::Postgres(url) => {
            if !postgres::is_there(url).await? {
                return Err(missing(url));
            }
            let store = postgres::open(url, &postgres::Options::default()).await?;
            Ok(StoredBytes {
                reader: store.reader,
                digests: store.digests,
                modules: store.modules,
                snapshots: store.snapshots,
                audit: store.audit,
                acknowledgements: store.acknowledgements,
            })
        }
        StoreUrl::Memory => Err(only_in_its_host()),
    }
}

fn only_in_its_host() -> Error {
    let why = "a memory: store lives only in its host; name the host with --url";
    Error::Url(why.to_owned())
}

/// A copy of a store that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Copies a SQLite store into a folder, under the name of its file, as it is at one moment. A host
/// may continue to write. The copy is a store. An existing file is not changed. `report` receives the
/// bytes written so far.
///
/// # Errors
/// When it is not a SQLite store, the file exists, or the disk fails. Then no partial copy is left.
pub async fn backup(
    url: &StoreUrl,
    folder: &Path,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<Backup> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::backup(path, folder, report).await,
        StoreUrl::Postgres(_) => Err(Error::Url(
            "PostgreSQL has tools of its own: pg_dump --schema=NAME copies one store".to_owned(),
        )),
        StoreUrl::Memory => Err(Error::Url(
            "a memory: store can't be copied; export it from its host".to_owned(),
        )),
    }
}

/// Records that a job was done which began at this time. Hosts may have the store open: they show the
/// time. An earlier time than the recorded one changes nothing.
///
/// # Errors
/// When there is no store, or it can't be written.
pub async fn report(url: &StoreUrl, job: Job, began_at: Timestamp) -> Result<()> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::report(path, job, began_at).await,
        StoreUrl::Postgres(url) => postgres::report(url, job, began_at).await,
        StoreUrl::Memory => Err(Error::Url(
            "a memory: store ends with its host, so nothing can be reported to it".to_owned(),
        )),
    }
}

/// Deletes a SQLite store with all its events. Does nothing if there is no file.
///
/// # Errors
/// When a host has it open: then nothing is deleted. Also when a file can't be deleted, or it is not
/// a SQLite store.
pub fn delete(url: &StoreUrl) -> Result<()> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::delete(path),
        StoreUrl::Postgres(_) => Err(Error::Url(
            "only a SQLite store can be deleted; drop a schema in PostgreSQL yourself".to_owned(),
        )),
        StoreUrl::Memory => Err(only_in_its_host()),
    }
}

/// The result of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Schema version before; 0 for a new store.
    pub from: i64,
    /// Schema version after.
    pub to: i64,
}

/// Migrates a store to the schema version of this program, and creates it if it does not exist. Hosts
/// on PostgreSQL may run meanwhile if every migration is additive.
///
/// # Errors
/// When it can't be opened, is in use by another host, or may not be used by this program.
pub async fn migrate(url: &StoreUrl) -> Result<Migrated> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::migrate(path).await,
        StoreUrl::Postgres(url) => postgres::migrate(url).await,
        StoreUrl::Memory => Ok(Migrated { from: 0, to: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_refused_shows_no_password() {
        for text in [
            "postgre://ann:s3cret@db/bank",
            "mysql://ann:s3cret@db/bank",
            "mysql://ann:s3cr@3cret@db/bank",
            "mysql://db/bank?user=ann&password=s3cret",
            "postgres;//ann:s3cret@db/bank",
            "postgres://ann:s3cret/bank",
            "postgres://ann:s3cret@db:port/bank",
            "postgres://ann:x?s3cret@db/bank",
            "postgres://ann:x/s3cret@db/bank",
            "postgres://ann:x#s3cret@:port/bank",
            "ann;s3cret@db/bank",
            "password=s3cret",
            "sqlite:s3cret\0",
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(!error.contains("3cret"), "{text}: {error}");
        }
        let error = "mysql://ann:s3cret@db/bank?password=s3cret".parse::<StoreUrl>();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("store \"mysql:…@db/bank\": "), "{error}");
        let error = "quipu.db".parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.starts_with("store \"quipu.db\": expected sqlite:PATH"));
    }
}
