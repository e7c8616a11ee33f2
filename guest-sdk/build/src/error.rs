use std::{io, path::PathBuf, process::ExitStatus};

use crate::{TARGET, toolchain::Missing};

/// Why a component was not built, or no toolchain was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No Rust at all.
    #[error("no Rust compiler: `{program}` {detail}; {advice}")]
    NoRust {
        /// The program that was run.
        program: String,
        /// How it failed.
        detail: String,
        /// The command that installs Rust.
        advice: String,
    },

    /// Rust is there, but no compiler for the target. [`crate::ensure()`] installs one.
    #[error("can't compile for {TARGET}: {missing}; {advice}")]
    NoWasm {
        /// The part that the machine lacks.
        missing: Missing,
        /// The command to run.
        advice: String,
    },

    /// Set-up has tried every installer of this machine, and there is still no compiler for the
    /// target.
    #[error("can't compile for {TARGET}: {missing}{}; {advice}", list(.tried))]
    Setup {
        /// The part that the machine still lacks.
        missing: Missing,
        /// The installers that failed, each with its error.
        tried: Vec<String>,
        /// The action to take, which is none of those that were tried.
        advice: String,
    },

    /// The installation of packages failed.
    #[error("`{command}` failed: {detail}; {advice}")]
    Install {
        /// The command, as a person would type it.
        command: String,
        /// The exit status, or why it did not start.
        detail: String,
        /// The action to take.
        advice: String,
    },

    /// The folder holds no package that could be a guest.
    #[error("{}: {detail}", .dir.display())]
    NotAGuest {
        /// The folder that was named.
        dir: PathBuf,
        /// The problem with it.
        detail: String,
    },

    /// The guest depends on another guest: both export a component, and the linker could not make
    /// one component of both.
    #[error(
        "guest {} can't depend on guest {} ({}): each exports a component of its own; move the \
         types that they share into a library crate without `cdylib`, and let both depend on it",
        .path.first().map_or("", String::as_str),
        .path.last().map_or("", String::as_str),
        .path.join(" depends on ")
    )]
    DependsOnGuest {
        /// Names of packages, from the guest to the one that it depends on.
        path: Vec<String>,
    },

    /// cargo failed; its messages are on standard error.
    #[error("guest {package}: cargo could not compile it ({status}); its messages are above")]
    Compile {
        /// The guest's package.
        package: String,
        /// How cargo ended.
        status: ExitStatus,
    },

    /// The guest compiles, but is not a component.
    #[error("guest {package}: {detail}")]
    NotAComponent {
        /// The guest's package.
        package: String,
        /// The problem with it.
        detail: String,
    },

    /// There is no checkout of Quipu around the current folder.
    #[error("no example-guests/{name} here; run this in a checkout of Quipu")]
    NoExample {
        /// The example's name.
        name: String,
    },

    /// A file could not be read or written, or a process not started.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn list(tried: &[String]) -> String {
    tried.iter().map(|it| format!("; {it}")).collect()
}
