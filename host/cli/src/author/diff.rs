use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use quipu::deploy::{Change, changes};
use quipu::runtime::{Module, Runtime};

use crate::exit::reported;

/// Compare two components: what changes, and whom it breaks
///
/// Compares names, types, schemas, steps and projections. A rule that decides differently is not
/// found here, but by a preflight on recorded history.
#[derive(Debug, Args)]
pub struct Diff {
    /// The component before
    old: PathBuf,
    /// The component that takes its place
    new: PathBuf,
    /// End with exit code 1 when something breaks
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(self) -> Result<()> {
        let runtime = Runtime::new(Default::default())?;
        let (old, new) = (load(&runtime, &self.old)?, load(&runtime, &self.new)?);
        let found = changes(&old, &new);
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&found)?)?,
            false => print(&found, &mut out)?,
        }
        let breaking = found.iter().filter(|change| change.breaks).count();
        if self.check && breaking > 0 {
            let all = found.len();
            return Err(reported(format!(
                "{breaking} of {all} changes break something"
            )));
        }
        Ok(())
    }
}

fn load(runtime: &Runtime, path: &Path) -> Result<Arc<Module>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let module = runtime.load(&bytes);
    module.with_context(|| path.display().to_string())
}

/// The first word of a line about a change.
pub fn mark(breaks: bool) -> &'static str {
    match breaks {
        true => "breaks",
        false => "note  ",
    }
}

fn print(found: &[Change], out: &mut impl Write) -> io::Result<()> {
    for Change {
        breaks,
        affected,
        text,
    } in found
    {
        let mark = mark(*breaks);
        let text = crate::table::printable(text);
        writeln!(out, "{mark}  {affected}: {text}")?;
    }
    if found.is_empty() {
        writeln!(out, "they describe themselves in the same way")?;
    }
    Ok(())
}
