//! Secrets: they are read from files, and never shown.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use super::exit::WrongUse;
use quipu::model::text_without_mark;
use quipu::store::StoreUrl;

/// What takes the place of a secret wherever it would be shown.
pub const HIDDEN: &str = "***";
/// A file with a secret may have this many bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Parameters of a store's address that are not secrets.
const OPEN_PARAMETERS: &[&str] = &[
    "schema",
    "readers_max",
    "reader_wait_max_ms",
    "writer_wait_max_ms",
    "sslmode",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "application_name",
];

/// The warning about a password in an argument of a command.
pub const PASSWORD_SHOWN: &str = "--store has a password in it, which every user of this machine \
     sees in the list of processes; write the address into a file and name it with --store-file";

/// The warning about a token in an argument of a command.
pub const TOKEN_SHOWN: &str = "the token of --token is an argument, which every user of this \
     machine sees in the list of processes; put it into the variable QUIPU_TOKEN, or write it into \
     a file and name it with --token-file";

/// The warning about a password in the address of a host.
pub const URL_SHOWN: &str = "--url has a password in it, which every user of this machine sees in \
     the list of processes; put the address into the variable QUIPU_URL";

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Reads the only line of a file. A byte order mark and a line break at its end are removed.
    ///
    /// # Errors
    /// When the file can't be read, or is empty, too large, not UTF-8 or longer than a line.
    pub fn read(path: &Path) -> Result<Self, WrongUse> {
        let wrong = |why: String| WrongUse(format!("{}: {why}", path.display()));
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| wrong(format!("the secret can't be read: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(format!(
                "a file with a secret may have {FILE_BYTES_MAX} bytes, and this one has more"
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong("the secret is not UTF-8 text".to_owned()))?;
        let text = text_without_mark(&text);
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(wrong("the file with the secret is empty".to_owned()));
        }
        if line.contains(['\n', '\r', '\0']) {
            let why = "a file with a secret has one line, and this one has several";
            return Err(wrong(why.to_owned()));
        }
        Ok(Self(line.to_owned()))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The token of a client command: given, or in a file. An option of the command line takes
/// precedence over a variable of the environment.
///
/// # Errors
/// When both are given in the same way, or the file can't be read.
pub fn token(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<Secret>, WrongUse> {
    // A variable without a value counts as unset.
    let given = given.filter(|token| !token.reveal().is_empty());
    let (Some(token), Some(path)) = (given, file) else {
        return match file {
            Some(path) => Secret::read(path).map(Some),
            None => Ok(given.cloned()),
        };
    };
    let is_set = |name: &str, value: &str| std::env::var_os(name).is_some_and(|it| it == value);
    let given_by_variable = is_set("QUIPU_TOKEN", token.reveal());
    let file_by_variable =
        std::env::var_os("QUIPU_TOKEN_FILE").is_some_and(|it| it == path.as_os_str());
    match (given_by_variable, file_by_variable) {
        (true, false) => Secret::read(path).map(Some),
        (false, true) => Ok(Some(token.clone())),
        (true, true) => Err(WrongUse(
            "QUIPU_TOKEN and QUIPU_TOKEN_FILE are both set; unset one of them".to_owned(),
        )),
        (false, false) => Err(WrongUse(
            "--token and --token-file exclude each other; leave one out".to_owned(),
        )),
    }
}

/// Whether arguments of a command have this value of an option, so that `ps` would show it to
/// everybody.
pub fn is_argument(option: &str, value: &str, arguments: &[OsString]) -> bool {
    let is_separate = |pair: &[OsString]| pair[0] == option && pair[1] == value;
    let joined = format!("{option}={value}");
    arguments.windows(2).any(is_separate) || arguments.iter().any(|it| *it == *joined)
}

/// The address of a store as it may be shown: without user, password, and parameters that may be
/// secrets.
pub fn masked(address: &str) -> String {
    match address.parse::<StoreUrl>() {
        Err(_) => HIDDEN.to_owned(),
        Ok(StoreUrl::Sqlite(_) | StoreUrl::Memory) => address.to_owned(),
        Ok(StoreUrl::Postgres(_)) => {
            let (base, query) = address.split_once('?').unwrap_or((address, ""));
            let base = match (base.split_once("://"), base.rsplit_once('@')) {
                (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{HIDDEN}@{place}"),
                _ => base.to_owned(),
            };
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            let pairs = pairs.map(|pair| match pair.split_once('=') {
                Some((name, _)) if OPEN_PARAMETERS.contains(&name) => pair.to_owned(),
                Some((name, _)) => format!("{name}={HIDDEN}"),
                None => HIDDEN.to_owned(),
            });
            let query: Vec<String> = pairs.collect();
            match query.is_empty() {
                true => base,
                false => format!("{base}?{}", query.join("&")),
            }
        }
    }
}

/// Whether an address of a store has a password in it, which `ps` would show to everybody.
pub fn has_password(address: &str) -> bool {
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let place = base.split_once("://").map_or("", |(_, rest)| rest);
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || query.split('&').any(|pair| pair.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_a_file_is_its_only_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Secret::read(&path)
        };
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(read(text.as_bytes()).unwrap().reveal(), "s3cret");
        }
        assert_eq!(read(b" s3cret ").unwrap().reveal(), " s3cret ");
        let longest = vec![b'x'; 64 << 10];
        assert_eq!(read(&longest).unwrap().reveal().len(), 64 << 10);
        for (bytes, expected) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"s3cret\nmore\n", "has several"),
            (b"s3cret\n\n", "has several"),
            (b"s3cret\xff", "is not UTF-8"),
            (&[&longest[..], b"x"].concat(), "may have 65536 bytes"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.contains("can't be read"), "{error}");
        assert!(Secret::read(dir.path()).is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "***");
        for (address, shown) in [
            ("sqlite:a@b.db", "sqlite:a@b.db"),
            ("memory:", "memory:"),
            ("postgres://db/bank", "postgres://db/bank"),
            (
                "postgres://ann:s3cret@db/bank?schema=x&password=s3cret&user=ann&sslkey=s3cret",
                "postgres://***@db/bank?schema=x&password=***&user=***&sslkey=***",
            ),
            ("postgre://ann:s3cret@db/bank", "***"),
        ] {
            assert_eq!(masked(address), shown);
        }
    }

    #[test]
    fn a_token_among_the_arguments_is_recognized() {
        let is_found = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            is_argument("--token", "s3cret", &arguments)
        };
        assert!(is_found(&["quipu", "status", "--token", "s3cret"]));
        assert!(is_found(&["quipu", "--token=s3cret", "status"]));
        for others in [
            &[][..],
            &["quipu", "status"],
            &["quipu", "append", "note-1", "noted", "s3cret"],
            &["quipu", "status", "--token", "another"],
            &["quipu", "status", "--token-file", "s3cret"],
        ] {
            assert!(!is_found(others), "{others:?}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_recognized() {
        for address in [
            "postgres://ann:s3cret@db/bank",
            "postgres://db/bank?a=b&password=s",
        ] {
            assert!(has_password(address), "{address}");
        }
        for address in [
            "sqlite:a:b@c.db",
            "memory:",
            "postgres://ann@db:5432/bank",
            "postgres://db:5432/bank?user=ann",
        ] {
            assert!(!has_password(address), "{address}");
        }
    }
}
