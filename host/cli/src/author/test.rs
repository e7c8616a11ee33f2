use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use quipu::runtime::{Functions, Options, Runtime};
use quipu_author::Components;
use quipu_author::project::{self, Project, Watch};
use quipu_author::scenario::{self, Report, Scenarios};

use super::record::Record;
use super::warn_of_names;
use crate::exit::{WrongUse, reported};

/// Play scenarios against components
///
/// Without a component the project in this folder is built and tested. Every scenario is played
/// twice in new instances: with few calls, and with each event in a call of its own and the state
/// taken through a snapshot. Ends with exit code 1 when a scenario fails.
#[derive(Debug, Args)]
pub struct Test {
    /// Components (.wasm) and scenario files (.yaml); without them, those of the project
    files: Vec<PathBuf>,
    /// The project's folder
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Fail, too, when a declared command, event or rejection, or a type in the sources of a
    /// projection, was never seen
    #[arg(long)]
    complete: bool,
    /// Test again whenever a file changes
    #[arg(long, conflicts_with_all = ["json", "from"])]
    watch: bool,
    /// Show the messages of the build's tools, with their stacks
    #[arg(long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    record: Record,
    /// Those of the tests before, while it watches.
    #[arg(skip)]
    functions: Functions,
}

impl Test {
    pub async fn run(self) -> Result<()> {
        if self.record.is_requested() {
            return self.record.run().await;
        }
        match self.watch {
            false => self.once(),
            true => self.watched().await,
        }
    }

    fn once(&self) -> Result<()> {
        let report = self.play()?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
            false => report.write(&mut out)?,
        }
        if let Some(path) = &self.junit {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            let mut file = BufWriter::new(file);
            report.write_junit(&mut file)?;
            file.flush()?;
        }
        let failed = report.failed();
        if failed > 0 {
            let all = report.verdicts.len();
            return Err(reported(format!("{failed} of {all} scenarios failed")));
        }
        if self.complete && !report.coverage.is_complete() {
            let why = "not every declared command, event, rejection and source was seen";
            return Err(reported(why.to_owned()));
        }
        Ok(())
    }

    /// Tests at once, and again after every change of the project's files.
    async fn watched(&self) -> Result<()> {
        let project = Project::read(&self.dir)?;
        let mut watch = Watch::also(&project, &self.files)?;
        loop {
            if let Err(error) = self.once() {
                writeln!(io::stderr(), "error: {error:#}")?;
            }
            writeln!(io::stderr(), "waiting for a change …")?;
            watch = changed(watch).await?.0;
        }
    }

    /// Plays every scenario.
    fn play(&self) -> Result<Report> {
        let is_component = |path: &&PathBuf| path.extension().is_some_and(|it| it == "wasm");
        let (mut components, mut scenarios): (Vec<PathBuf>, Vec<PathBuf>) =
            self.files.iter().cloned().partition(|it| is_component(&it));
        let mut built = None;
        if components.is_empty() || scenarios.is_empty() {
            let project = match Project::read(&self.dir) {
                Err(project::Error::NoProject(_)) if !components.is_empty() => {
                    let text = "name the scenario files (.yaml) to play against the component";
                    return Err(WrongUse(text.to_owned()).into());
                }
                project => project?,
            };
            let is_built = components.is_empty();
            if is_built {
                components.push(project::build(&project, self.verbose)?.component);
            }
            if scenarios.is_empty() {
                scenarios = of_project(&project)?;
            }
            built = is_built.then_some(project);
        }
        let runtime = Runtime::new(Options {
            functions: self.watch.then(|| self.functions.clone()),
            ..Options::default()
        })?;
        let components = Components::load(&runtime, &components)?;
        if let (Some(project), [component]) = (&built, components.modules()) {
            warn_of_names(project, component);
        }
        let files: Result<Vec<_>, _> = scenarios.iter().map(|it| Scenarios::read(it)).collect();
        Ok(scenario::play(&components, &files?))
    }
}

/// Waits for the next change, off the threads of the runtime.
pub(super) async fn changed(mut watch: Watch) -> Result<(Watch, Vec<PathBuf>)> {
    let waiting = tokio::task::spawn_blocking(move || {
        let changed = watch.wait();
        changed.map(|files| (watch, files))
    });
    Ok(waiting.await??)
}

/// The scenario files of a project.
pub(super) fn of_project(project: &Project) -> Result<Vec<PathBuf>> {
    let files = project.scenario_files()?;
    if files.is_empty() {
        let patterns = project.scenarios.join(", ");
        let dir = Path::new(&project.dir).display();
        bail!("{dir}: no scenario file fits {patterns}; `scenarios` in quipu.toml names them");
    }
    Ok(files)
}
