use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use quipu::runtime::Runtime;
use quipu_author::conform::{Depth, Finding, conform_file};
use quipu_author::scenario::Scenarios;

use crate::exit::reported;
use crate::table::{marked, printable};

/// Check a component against the contract of guests
///
/// Tries every rule: purity, batching, snapshots at any event, input that can't be read, limits,
/// imports and exports. Rules about histories are tried on those of the scenario files. Each
/// broken rule is printed with its page in the documentation; then the exit code is 1.
#[derive(Debug, Args)]
pub struct Conform {
    /// The component
    file: PathBuf,
    /// Scenario files (.yaml) whose events and commands are used
    scenarios: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Conform {
    pub fn run(self) -> Result<()> {
        let files: Result<Vec<_>, _> = self
            .scenarios
            .iter()
            .map(|it| Scenarios::read(it))
            .collect();
        let runtime = Runtime::new(Default::default())?;
        let findings = conform_file(&runtime, &self.file, &files?, Depth::Full)?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&findings)?)?,
            false => print(&findings, &mut out)?,
        }
        let broken = findings.iter().filter(|it| it.broken.is_some()).count();
        if broken > 0 {
            let all = findings.len();
            return Err(reported(format!("{broken} of {all} rules are broken")));
        }
        Ok(())
    }
}

fn print(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        let mark = match (&finding.broken, &finding.not_tried) {
            (Some(_), _) => "BROKEN   ",
            (None, Some(_)) => "not tried",
            (None, None) => "ok       ",
        };
        let rule = &finding.rule;
        writeln!(out, "{}", marked(mark, rule.name, rule.text))?;
        let text = finding.broken.as_ref().or(finding.not_tried.as_ref());
        if let Some(text) = text {
            writeln!(out, "           {}", printable(text))?;
        }
        if finding.broken.is_some() {
            writeln!(out, "           see {}", finding.rule.page)?;
        }
    }
    Ok(())
}
