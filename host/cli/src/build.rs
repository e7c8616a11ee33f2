use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use quipu_guest_build::Options;

/// Compile a guest project to a component
///
/// Prints the component's path. Needs a Rust toolchain that compiles for WebAssembly; if there is
/// none, the error names the command that installs it.
#[derive(Debug, Args)]
pub struct Build {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write the component, instead of the target folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub fn run(self) -> anyhow::Result<()> {
        let options = Options {
            output: self.output,
            ..Options::default()
        };
        let built = quipu_guest_build::build(&self.dir, &options)?;
        writeln!(io::stdout(), "{}", built.component.display())?;
        Ok(())
    }
}
