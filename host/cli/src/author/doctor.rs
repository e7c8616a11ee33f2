use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use quipu_author::project;

use super::Language;
use crate::exit::reported;
use crate::table::marked;

/// Check the tools that build guests on this machine
///
/// In a project, or with --lang, only the tools of its language; in a project also whether its
/// packages are installed. Prints for each tool what was found, or the command that installs it.
/// Ends with exit code 1 when something is missing or too old.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only the tools of this language
    #[arg(long, value_enum)]
    lang: Option<Language>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Result<()> {
        let findings = project::doctor(&self.dir, self.lang.map(Into::into));
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&findings)?)?;
        } else {
            for finding in &findings {
                let (mark, text) = match (&finding.found, &finding.advice) {
                    (Some(found), Some(advice)) => ("too old", format!("{found}; {advice}")),
                    (None, Some(advice)) => ("missing", advice.clone()),
                    (Some(found), None) => ("ok     ", found.clone()),
                    (None, None) => continue,
                };
                writeln!(out, "{}", marked(mark, &finding.tool, &text))?;
                if !finding.is_well() {
                    writeln!(out, "         needed for {}", finding.needed_by.join(", "))?;
                }
            }
        }
        let missing = findings.iter().filter(|it| !it.is_well()).count();
        if missing > 0 {
            let all = findings.len();
            return Err(reported(format!(
                "{missing} of {all} tools are missing or too old"
            )));
        }
        Ok(())
    }
}
