//! A guest project: a folder with a `quipu.toml`.

mod build;
mod doctor;
mod manifest;
mod name;
mod new;
mod sdk;
mod template;
mod watch;

pub use build::{Built, build};
pub use doctor::{Finding, doctor};
pub use manifest::{FILE, Language, Project, not_a_project};
pub use new::{Kind, New, new};
pub use watch::Watch;

use std::path::PathBuf;

/// Why something about a project failed. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The folder is not a project.
    #[error("{0}: no {FILE} there; `quipu new NAME` makes a project")]
    NoProject(PathBuf),
    /// The folder is neither in a project nor a Rust package.
    #[error(
        "{}: no quipu.toml here or in a folder above; `quipu new NAME` makes a project, and \
         `quipu build DIR` builds the one in DIR",
        .0.display()
    )]
    NothingToBuild(PathBuf),
    /// The project is in a folder above.
    #[error(
        "{}: no quipu.toml here; the project is in a folder above: quipu build {}",
        .dir.display(),
        .found.display()
    )]
    ProjectAbove {
        /// The folder that was named.
        dir: PathBuf,
        /// The folder of the project.
        found: PathBuf,
    },
    /// The project file does not fit.
    #[error("{path}{line}: {text}", line = line.map(|line| format!(":{line}")).unwrap_or_default())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What does not fit.
        text: String,
    },
    /// The new project can't be made.
    #[error("{0}")]
    New(String),
    /// A tool is missing.
    #[error("{what} is missing; {install}")]
    Missing {
        /// The tool.
        what: String,
        /// The command that installs it, or where it is.
        install: String,
    },
    /// A tool failed. Its own output came before.
    #[error("{0}")]
    Failed(String),
    /// A Rust guest was not built.
    #[error(transparent)]
    Rust(#[from] quipu_guest_build::Error),
}

impl Error {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}
