//! The file of the contexts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::WrongUse;
use crate::secret::Secret;

/// The file may have this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most contexts of a file.
const CONTEXTS_MAX: usize = 1_000;
/// Longest name of a context.
const NAME_BYTES_MAX: usize = 64;
/// The first lines of the file.
const HEAD: &str =
    "# Written by `quipu context`. Tokens are not in this file, but in the files that it names.\n";

/// A host, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The address of the host.
    pub url: String,
    /// The file of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The certificates of the authorities to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// All contexts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that commands use that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Saved>,
}

/// The file, wherever it is.
#[derive(Debug)]
pub struct ContextFile(PathBuf);

impl ContextFile {
    /// The file of `QUIPU_CONTEXTS`, or the usual one of the user; none without a home folder.
    pub fn usual() -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty());
        if let Some(path) = variable("QUIPU_CONTEXTS") {
            return Some(Self(path.into()));
        }
        let folder = match variable("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(variable("HOME")?).join(".config"),
        };
        Some(Self(folder.join("quipu").join("contexts.toml")))
    }

    /// The same, for commands that need the file.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn needed() -> Result<Self, WrongUse> {
        Self::usual().ok_or_else(|| {
            let why =
                "there is no place for contexts: HOME is not set; name a file in QUIPU_CONTEXTS";
            WrongUse(why.to_owned())
        })
    }

    /// Where it is.
    #[cfg(test)]
    fn path(&self) -> &Path {
        &self.0
    }

    /// The file with the token of a context, if the token was given to `quipu context`.
    pub fn token_file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.token"))
    }

    /// Reads all contexts. There are none if there is no file.
    ///
    /// # Errors
    /// When the file can't be read, or is not a file of contexts.
    pub fn read(&self) -> Result<Contexts, WrongUse> {
        let wrong = |why: String| WrongUse(format!("{}: {why}", self.0.display()));
        let mut text = String::new();
        match fs::File::open(&self.0) {
            Ok(file) => file
                .take(FILE_BYTES_MAX + 1)
                .read_to_string(&mut text)
                .map_err(|error| wrong(format!("the contexts can't be read: {error}")))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(wrong(format!("the contexts can't be read: {error}"))),
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(format!(
                "the file has more than {FILE_BYTES_MAX} bytes"
            )));
        }
        toml::from_str(&text).map_err(|error| {
            let why = error.message().trim().replace('\n', " ");
            wrong(format!("this is not a file of contexts: {why}"))
        })
    }

    /// Writes all contexts: a reader sees the old file or the new one.
    ///
    /// # Errors
    /// When there are too many, or the file can't be written.
    pub fn write(&self, contexts: &Contexts) -> Result<(), WrongUse> {
        let found = contexts.contexts.len();
        if found > CONTEXTS_MAX {
            let why = format!("a file has at most {CONTEXTS_MAX} contexts, this one {found}");
            return Err(WrongUse(why));
        }
        let text = toml::to_string(contexts).map_err(|error| WrongUse(error.to_string()))?;
        self.write_file(&self.0, &format!("{HEAD}\n{text}"))
    }

    /// Writes the token of a context into a file of its own, which only its owner can read.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_token(&self, name: &str, token: &Secret) -> Result<PathBuf, WrongUse> {
        let path = self.token_file(name);
        self.write_file(&path, &format!("{}\n", token.reveal()))?;
        absolute(&path)
    }

    fn folder(&self) -> &Path {
        match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Replaces a file as a whole. Temporary files are readable only for their owner.
    fn write_file(&self, path: &Path, text: &str) -> Result<(), WrongUse> {
        let wrong = |error: std::io::Error| {
            WrongUse(format!("{}: it can't be written: {error}", path.display()))
        };
        make_folder(self.folder()).map_err(wrong)?;
        // A link stays one.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = target.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(wrong)?;
        file.write_all(text.as_bytes()).map_err(wrong)?;
        file.as_file().sync_all().map_err(wrong)?;
        file.persist(&target).map_err(|error| wrong(error.error))?;
        Ok(())
    }
}

impl Contexts {
    /// A context by its name.
    ///
    /// # Errors
    /// When there is none; says which there are.
    pub fn get(&self, name: &str) -> Result<&Saved, WrongUse> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "there is none; make one with `quipu context add`".to_owned(),
                known => format!("known are {}", known.join(", ")),
            };
            WrongUse(format!("there is no context {name:?}; {known}"))
        })
    }
}

/// Checks a name, which is also a part of a file's name.
///
/// # Errors
/// When it is not well-formed.
pub fn check_name(name: &str) -> Result<(), WrongUse> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_right = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_part);
    match is_right {
        true => Ok(()),
        false => Err(WrongUse(format!(
            "the name of a context has 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and \
             underscores, and begins with a letter or a digit"
        ))),
    }
}

/// A path that means the same in every folder.
///
/// # Errors
/// When the current folder is unknown.
pub fn absolute(path: &Path) -> Result<PathBuf, WrongUse> {
    std::path::absolute(path).map_err(|error| WrongUse(format!("{}: {error}", path.display())))
}

/// Makes a folder that only its owner can enter, if it is missing.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn saved(url: &str) -> Saved {
        Saved {
            url: url.to_owned(),
            token_file: None,
            ca: None,
            tenant: None,
        }
    }

    #[test]
    fn only_the_owner_reads_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = ContextFile(dir.path().join("new").join("contexts.toml"));
        assert!(file.read().unwrap().contexts.is_empty());
        let mut contexts = Contexts::default();
        contexts.contexts.insert("a".to_owned(), saved("http://a"));
        file.write(&contexts).unwrap();
        let token = file.write_token("a", &Secret::from("s3cret")).unwrap();
        for path in [file.path(), &token] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let folder = fs::metadata(file.folder()).unwrap().permissions().mode();
        assert_eq!(folder & 0o777, 0o700);
        assert_eq!(file.read().unwrap().contexts["a"], saved("http://a"));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn what_is_no_file_of_contexts_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = ContextFile(dir.path().join("contexts.toml"));
        for wrong in [
            "{",
            "[contexts.a]\n",
            "[contexts.a]\nurl = \"x\"\ntoken = \"y\"\n",
        ] {
            fs::write(file.path(), wrong).unwrap();
            let why = file.read().unwrap_err().to_string();
            assert!(why.contains("not a file of contexts"), "{why}");
        }
        fs::write(file.path(), vec![b'\n'; (1 << 20) + 1]).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("more than"));
        let mut many = Contexts::default();
        for n in 0..=CONTEXTS_MAX {
            many.contexts.insert(format!("c{n}"), saved("http://a"));
        }
        assert!(file.write(&many).is_err());
    }

    #[test]
    fn a_name_is_a_part_of_a_file_name() {
        for name in ["a", "prod", "eu-1.prod_2", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "-a",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
