use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use quipu::runtime::Runtime;
use quipu_author::conform::{Depth, Finding, conform_file};
use quipu_author::project::{self, FILE, Project};
use quipu_author::scenario::Scenarios;

use crate::exit::{WrongUse, reported};
use crate::table::{marked, printable};

/// Check a component against the contract of guests
///
/// Without a component the project in this folder is built and checked. Tries every rule: purity,
/// batching, snapshots at any event, input that can't be read, limits, imports and exports. Rules
/// about histories are tried on the events and commands of the scenario files. Each broken rule is
/// printed with its page in the documentation; then the exit code is 1.
#[derive(Debug, Args)]
pub struct Conform {
    /// A component, and scenario files (.yaml); without them, those of the project
    files: Vec<PathBuf>,
    /// The project's folder
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Show the messages of the build's tools, with their stacks
    #[arg(long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Conform {
    pub fn run(self) -> Result<()> {
        let (component, scenarios) = self.chosen()?;
        let files: Result<Vec<_>, _> = scenarios.iter().map(|it| Scenarios::read(it)).collect();
        let runtime = Runtime::new(Default::default())?;
        let findings = conform_file(&runtime, &component, &files?, Depth::Full)?;
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

    /// The component and the scenario files: those that are named, otherwise those of the project.
    fn chosen(&self) -> Result<(PathBuf, Vec<PathBuf>)> {
        let is_scenarios = |path: &PathBuf| {
            path.extension()
                .is_some_and(|it| it == "yaml" || it == "yml")
        };
        let (mut scenarios, mut components): (Vec<PathBuf>, Vec<PathBuf>) =
            self.files.iter().cloned().partition(is_scenarios);
        if components.len() > 1 {
            return Err(WrongUse("name one component, not several".to_owned()).into());
        }
        let Some(component) = components.pop() else {
            let project = self.project()?;
            let component = project::build(&project, self.verbose)?.component;
            if scenarios.is_empty() {
                scenarios = project.scenario_files()?;
            }
            return Ok((component, scenarios));
        };
        // A file with the name of a project file may be the configuration of a host.
        if scenarios.is_empty()
            && let Ok(project) = Project::read(&self.dir)
        {
            scenarios = project.scenario_files()?;
        }
        Ok((component, scenarios))
    }

    fn project(&self) -> Result<Project> {
        match Project::read(&self.dir) {
            Err(project::Error::NoProject(dir)) => Err(WrongUse(format!(
                "name the component (.wasm) to check; there is no {FILE} in {}",
                dir.display()
            ))
            .into()),
            project => Ok(project?),
        }
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
        if let Some(broken) = &finding.broken {
            writeln!(out, "           {}", printable(broken))?;
            writeln!(out, "           run `quipu explain {}`", rule.name)?;
        }
        for why in finding.not_tried.iter().flat_map(|it| it.lines()) {
            writeln!(out, "           {}", printable(why))?;
        }
    }
    Ok(())
}
