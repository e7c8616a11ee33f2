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

use clap::ValueEnum;
use quipu_author::project;

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
