use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// The name of the program, as people install it.
const NAME: &str = "quipu";

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for a command line.
    pub fn run(&self, command: &Command) -> Result<()> {
        // Scripts for some shells would complete hidden commands, too.
        let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
        let mut command = Command::new(NAME)
            .args(command.get_arguments())
            .subcommands(visible.cloned());
        let mut script = Vec::new();
        generate(self.shell, &mut command, NAME, &mut script);
        // Written in one piece, because `generate` panics when a reader has seen enough.
        io::stdout().lock().write_all(&script)?;
        Ok(())
    }
}
