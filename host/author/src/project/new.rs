use std::path::{Path, PathBuf};

use super::manifest::check_name;
use super::template::{self, Values};
use super::{Error, Language, sdk};

/// What a new project contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decider for one category.
    Decider,
    /// A projection of events that a decider writes.
    Projection,
    /// An upcaster of stored events.
    Upcaster,
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
/// # Errors
/// When the name does not fit, the folder exists, or a file can't be written. Then nothing is left
/// of the project.
pub fn new(new: &New) -> Result<PathBuf, Error> {
    check_name(&new.name).map_err(Error::New)?;
    let category = new.category.as_deref().unwrap_or(&new.name);
    check_name(category).map_err(Error::New)?;
    let dir = new.parent.join(&new.name);
    if let Err(error) = std::fs::create_dir(&dir) {
        return Err(match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::New(format!(
                "{} exists; choose another name or remove it",
                dir.display()
            )),
            _ => Error::io(dir)(error),
        });
    }
    let written = write_all(new, category, &dir);
    if written.is_err() {
        // The error that is returned is the first one.
        _ = std::fs::remove_dir_all(&dir);
    }
    written.map(|()| dir)
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
