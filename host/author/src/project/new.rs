use std::path::{Path, PathBuf};

use super::name::{check_category, check_project};
use super::template::{self, Values};
use super::{Error, Language, sdk};

/// The entry that a folder of a new project may have: the repository of git.
const REPOSITORY: &str = ".git";

/// What a new project contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decider for one category.
    Decider,
    /// A projection of events that a decider writes.
    Projection,
    /// An upcaster of stored events.
    Upcaster,
    /// In Rust: a decider whose events are a library of their own, and a projection that reads them.
    Domain,
}

/// A project to be made.
#[derive(Debug, Clone)]
pub struct New {
    /// Its name; also the category of a decider.
    pub name: String,
    /// The folder in which its folder is made.
    pub parent: PathBuf,
    /// Language of its source.
    pub language: Language,
    /// What it contains.
    pub kind: Kind,
    /// The category that a projection reads or an upcaster lifts.
    pub category: Option<String>,
}

/// Makes a project: source, native test, scenarios and the SDK. Returns its folder.
///
/// The folder may exist if it is empty, or has only the `.git` of a new repository, which stays as
/// it is.
///
/// # Errors
/// When the name does not fit, the folder has other entries, or a file can't be written. Then
/// nothing is left of the project.
pub fn new(new: &New) -> Result<PathBuf, Error> {
    check_project(&new.name).map_err(Error::New)?;
    if new.kind == Kind::Domain {
        check_domain(new)?;
    }
    let category = new.category.as_deref().unwrap_or(&new.name);
    check_category(category).map_err(Error::New)?;
    let dir = new.parent.join(&new.name);
    let is_new = made(&dir)?;
    let written = write_all(new, category, &dir);
    if written.is_err() {
        // The error that is returned is the first one.
        _ = match is_new {
            true => std::fs::remove_dir_all(&dir),
            false => clear(&dir),
        };
    }
    written.map(|()| dir)
}

/// Checks the names of the packages of a domain, and its language.
fn check_domain(new: &New) -> Result<(), Error> {
    if new.language != Language::Rust {
        let text = "the kind domain is for Rust; in other languages a projection imports what it \
                    shares from a module next to it";
        return Err(Error::New(text.to_owned()));
    }
    for part in ["events", "views"] {
        check_project(&format!("{}_{part}", new.name)).map_err(Error::New)?;
    }
    Ok(())
}

/// Makes the folder of a project. Returns false if it exists and can be used.
fn made(dir: &Path) -> Result<bool, Error> {
    match std::fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(dir)(error))
        }
        Err(_) if is_usable(dir) => Ok(false),
        Err(_) => Err(Error::New(format!(
            "{} exists; choose another name or remove it",
            dir.display()
        ))),
    }
}

/// Whether a folder has no entries but the repository of git.
fn is_usable(dir: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.all(|entry| entry.is_ok_and(|it| it.file_name() == REPOSITORY))
}

/// Removes every entry of a folder but the repository of git.
fn clear(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == REPOSITORY {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn write_all(new: &New, category: &str, dir: &Path) -> Result<(), Error> {
    let values = Values {
        name: &new.name,
        category,
        language: new.language,
    };
    for (path, text) in template::files(new.language, new.kind) {
        write(&dir.join(path), values.filled(text).as_bytes())?;
    }
    for (path, bytes) in sdk::files(new.language) {
        write(&dir.join("sdk").join(path), &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    std::fs::write(path, bytes).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn bank(parent: &Path) -> New {
        New {
            name: "bank".to_owned(),
            parent: parent.to_owned(),
            language: Language::Python,
            kind: Kind::Decider,
            category: None,
        }
    }

    #[test]
    fn a_folder_that_has_only_a_repository_becomes_a_project() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("bank");
        std::fs::create_dir_all(dir.join(".git")).unwrap();
        std::fs::write(dir.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(new(&bank(parent.path())).unwrap(), dir);
        assert_eq!(Project::read(&dir).unwrap().name, "bank");
        let head = std::fs::read_to_string(dir.join(".git/HEAD")).unwrap();
        assert_eq!(head, "ref: refs/heads/main\n");
    }

    #[test]
    fn a_folder_with_other_entries_is_refused_and_stays_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("bank");
        std::fs::create_dir_all(dir.join(".git")).unwrap();
        std::fs::write(dir.join("app.py"), "mine").unwrap();
        let error = new(&bank(parent.path())).unwrap_err().to_string();
        assert!(error.contains("bank exists"), "{error}");
        assert_eq!(std::fs::read(dir.join("app.py")).unwrap(), b"mine");
        assert!(!dir.join("quipu.toml").exists());
    }

    #[test]
    fn what_was_written_is_removed_and_the_repository_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join(".git")).unwrap();
        std::fs::create_dir_all(dir.join("src/rules")).unwrap();
        std::fs::write(dir.join("quipu.toml"), "").unwrap();
        clear(dir).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(dir.join(".git").exists() && is_usable(dir));
    }
}
