//! Commands for authors of guests. They need no host.

mod build;
mod conform;
mod dev;
pub mod diff;
mod doctor;
mod new;
mod record;
mod test;

pub use build::Build;
pub use conform::Conform;
pub use dev::Dev;
pub use diff::Diff;
pub use doctor::Doctor;
pub use new::New;
pub use test::Test;

use std::io::{self, Write};

use clap::ValueEnum;
use quipu::runtime::Module;
use quipu_author::project::{self, Project};
use quipu_author::unsupported_schemas;

use crate::table::printable;

/// Language of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    #[value(alias = "typescript")]
    Ts,
    #[value(alias = "javascript")]
    Js,
    Python,
}

impl From<Language> for project::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::Rust => Self::Rust,
            Language::Ts => Self::TypeScript,
            Language::Js => Self::JavaScript,
            Language::Python => Self::Python,
        }
    }
}

/// Warns if a project has another name than its component.
fn warn_of_names(project: &Project, component: &Module) {
    if let Some(text) = project.other_name(&component.manifest().name) {
        // The reader may be gone.
        _ = writeln!(io::stderr(), "warning: {}", printable(&text));
    }
}

/// Warns of JSON Schemas that can't be checked.
fn warn_of_schemas(component: &Module) {
    for text in unsupported_schemas(component.manifest()) {
        _ = writeln!(io::stderr(), "warning: {}", printable(&text));
    }
}
