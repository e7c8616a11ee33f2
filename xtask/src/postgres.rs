//! Finds the PostgreSQL server that tests use, and installs one where there is none.

use std::{
    env, fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use quipu_guest_build::{Machine, apt};

/// Names the variable that holds the URL of a server which tests may fill.
pub const URL_VARIABLE: &str = "QUIPU_TEST_POSTGRES";

/// The folder in which Debian puts each version's programs. It is not on the path.
const DEBIAN: &str = "/usr/lib/postgresql";

const PACKAGES: [&str; 1] = ["postgresql"];

/// Debian's packages ask this script before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The server that tests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Postgres {
    /// A running server, from [`URL_VARIABLE`].
    Url(String),
    /// Programs with which each test process starts a server of its own.
    Programs(Programs),
}

/// The programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder of `postgres` and `initdb`.
    pub folder: PathBuf,
    /// As in `15.4`.
    pub version: String,
}

/// The server that tests use.
///
/// # Errors
///
/// When there is none; the message says what to do.
pub fn find() -> Result<Postgres> {
    match env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => Ok(Postgres::Url(url)),
        _ => programs().map(Postgres::Programs),
    }
}

/// The server's programs: those on the path, else the newest of Debian's.
///
/// # Errors
///
/// When there are none; the message says what to do.
pub fn programs() -> Result<Programs> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path);
    let candidates = on_path.chain(debian(Path::new(DEBIAN)));
    let mut complete =
        candidates.filter(|folder| ["postgres", "initdb"].iter().all(|it| is_there(folder, it)));
    let Some(folder) = complete.next() else {
        bail!(
            "no PostgreSQL server for the tests: neither PATH nor {DEBIAN}/*/bin has \
             `postgres` and `initdb`; install PostgreSQL's server, or set {URL_VARIABLE} to the \
             URL of a server that tests may fill"
        );
    };
    let version = version(&folder.join("postgres"))?;
    Ok(Programs { folder, version })
}

/// The server that tests use, installed first when there is none and this is Debian.
///
/// # Errors
///
/// When there is none, and it can't be installed on this machine, or the installation failed.
/// The message says what to do.
pub fn ensure() -> Result<Postgres> {
    let error = match find() {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let machine = Machine::current();
    if !machine.is_debian() {
        return Err(error);
    }
    if !machine.is_root() {
        bail!("{error:#}; run as root {}", apt::advice(&PACKAGES));
    }
    eprintln!("no PostgreSQL server yet");
    let policy = NoService::declare()?;
    apt::install(&machine, &PACKAGES)?;
    drop(policy);
    find().context("PostgreSQL's packages are installed, but include no server")
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The URL may hold a password.
            Self::Url(_) => write!(f, "the server in {URL_VARIABLE}"),
            Self::Programs(Programs { folder, version }) => {
                write!(f, "{version} in {}", folder.display())
            }
        }
    }
}

/// Keeps an installation from starting a service, as long as it lives.
struct NoService {
    written: bool,
}

impl NoService {
    fn declare() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { written: false });
        }
        let write = || -> io::Result<()> {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
        };
        let policy = Self { written: true };
        write().context(POLICY)?;
        Ok(policy)
    }
}

impl Drop for NoService {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("{POLICY} was not removed; remove it: {error}");
        }
    }
}

/// The programs' folders of each version in Debian's place, the newest first.
fn debian(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn is_there(folder: &Path, program: &str) -> bool {
    let metadata = fs::metadata(folder.join(program));
    metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn version(postgres: &Path) -> Result<String> {
    let output = Command::new(postgres).arg("--version").output();
    let output = output.with_context(|| format!("{} did not start", postgres.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match numbers(&text) {
        Some(version) if output.status.success() => Ok(version.to_owned()),
        _ => bail!("{} --version said: {}", postgres.display(), text.trim()),
    }
}

/// The version in `postgres (PostgreSQL) 15.4 (Debian 15.4-1)`.
fn numbers(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_in_debians_place_comes_first() {
        let place = env::temp_dir().join(format!("quipu-xtask-{}", std::process::id()));
        for version in ["9", "15", "common", "13"] {
            fs::create_dir_all(place.join(version)).expect("a folder for the test");
        }
        let found = debian(&place);
        fs::remove_dir_all(&place).expect("the folder is ours");
        let expected = ["15/bin", "13/bin", "9/bin"].map(|it| place.join(it));
        assert_eq!(found, expected);
        assert_eq!(debian(&place), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        let text = "postgres (PostgreSQL) 15.4 (Debian 15.4-1+deb12u1)\n";
        assert_eq!(numbers(text), Some("15.4"));
        assert_eq!(numbers("postgres (PostgreSQL) 17devel\n"), Some("17devel"));
        assert_eq!(numbers("not found"), None);
    }

    #[test]
    fn a_url_is_not_shown() {
        let shown = Postgres::Url("postgres://ann:secret@host/db".to_owned()).to_string();
        assert!(!shown.contains("secret"), "{shown}");
    }
}
