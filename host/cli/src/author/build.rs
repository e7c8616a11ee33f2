use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use quipu::runtime::{Module, Runtime};
use quipu_author::project::{self, FILE, Project};
use quipu_guest_build::Options;

use super::{warn_of_names, warn_of_schemas};
use crate::table::grouped;

/// Compile a guest project to a component
///
/// Prints the component's path, and on standard error its size, imports and types. The folder is
/// a project with a quipu.toml, or a Rust package that makes a guest. If a tool is missing, the
/// error names the command that installs it.
#[derive(Debug, Args)]
pub struct Build {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write the component, instead of the project's own place
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the messages of the tools, with their stacks
    #[arg(long)]
    verbose: bool,
}

impl Build {
    pub fn run(self) -> Result<()> {
        let mut project = None;
        let component = match self.dir.join(FILE).exists() {
            true => {
                let project = project.insert(Project::read(&self.dir)?);
                if let Some(output) = self.output {
                    project.component = output;
                }
                project::build(project, self.verbose)?.component
            }
            false if !self.dir.join("Cargo.toml").is_file() => {
                return Err(project::not_a_project(&self.dir).into());
            }
            // A package without a project file, as the examples of the repository.
            false => {
                let options = Options {
                    output: self.output,
                    ..Options::default()
                };
                quipu_guest_build::build(&self.dir, &options)?.component
            }
        };
        let path = component.display().to_string();
        let bytes = std::fs::read(&component).with_context(|| path.clone())?;
        let runtime = Runtime::new(Default::default())?;
        let module = runtime.load(&bytes).with_context(|| path.clone())?;
        if let Some(project) = &project {
            warn_of_names(project, &module);
        }
        warn_of_schemas(&module);
        summary(&module, &mut io::stderr().lock())?;
        writeln!(io::stdout(), "{path}")?;
        Ok(())
    }
}

/// Prints what a component is, in a few lines.
pub(super) fn summary(module: &Module, out: &mut impl Write) -> io::Result<()> {
    let manifest = module.manifest();
    let bytes = grouped(module.size() as u64);
    writeln!(out, "{} {}: {bytes} bytes", manifest.name, manifest.version)?;
    let listed = |names: Vec<&str>| match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    };
    let imports = module.imports().iter().map(String::as_str).collect();
    writeln!(out, "  imports      {}", listed(imports))?;
    let commands: Vec<&str> = manifest
        .commands
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let events: Vec<&str> = manifest.events.iter().map(|it| it.name.as_str()).collect();
    let steps: Vec<String> = module.steps().iter().map(ToString::to_string).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let projections: Vec<&str> = module.projections().iter().map(|it| &*it.name).collect();
    for (what, names) in [
        ("commands   ", commands),
        ("events     ", events),
        ("steps from ", steps),
        ("projections", projections),
    ] {
        if !names.is_empty() {
            writeln!(out, "  {what}  {}", names.join(", "))?;
        }
    }
    Ok(())
}
