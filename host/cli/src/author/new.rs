use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use quipu_author::project::{self, Kind};

use super::Language;
use crate::exit::WrongUse;

/// Make a guest project that builds and passes its tests
///
/// Writes the folder NAME with source, a native test, scenarios and the guest SDK of this program.
/// Nothing is fetched; the language's own tools do that when they build. The folder may exist if it
/// is empty or has only `.git`.
#[derive(Debug, Args)]
pub struct New {
    /// Name of the project, and of the category that its decider decides
    name: String,
    /// Language of the source
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// What the project contains; a domain, in Rust, is a decider, the library of its events, and a
    /// projection that reads them
    #[arg(long, value_enum, default_value = "decider")]
    kind: Content,
    /// The category that a projection reads or an upcaster lifts
    #[arg(long)]
    category: Option<String>,
    /// The folder in which the project's folder is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    parent: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Content {
    Decider,
    Projection,
    Upcaster,
    Domain,
}

impl New {
    pub fn run(self) -> Result<()> {
        let kind = match self.kind {
            Content::Decider => Kind::Decider,
            Content::Projection => Kind::Projection,
            Content::Upcaster => Kind::Upcaster,
            Content::Domain => Kind::Domain,
        };
        match (kind, &self.category) {
            (Kind::Decider | Kind::Domain, Some(_)) => {
                let text = "a decider's category is the name of its project; leave out --category";
                return Err(WrongUse(text.to_owned()).into());
            }
            (Kind::Projection | Kind::Upcaster, None) => {
                let text = "name the category whose events it reads with --category";
                return Err(WrongUse(text.to_owned()).into());
            }
            _ => {}
        }
        let language = self.lang.into();
        let dir = project::new(&project::New {
            name: self.name,
            parent: self.parent,
            language,
            kind,
            category: self.category,
        })?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", dir.display())?;
        let mut err = io::stderr().lock();
        writeln!(err, "\nNext:\n  cd {}", dir.display())?;
        for command in install(language).iter().chain(&["quipu test", "quipu dev"]) {
            writeln!(err, "  {command}")?;
        }
        Ok(())
    }
}

/// The commands that install the SDK and its tools into a project.
fn install(language: project::Language) -> &'static [&'static str] {
    match language {
        project::Language::Rust => &[],
        project::Language::TypeScript | project::Language::JavaScript => &["npm install"],
        project::Language::Python => &[
            "python3 -m venv .venv",
            ".venv/bin/pip install -r requirements.txt",
        ],
    }
}
