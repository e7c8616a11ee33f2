use std::io;

use anyhow::Result;
use clap::Args;

use quipu::runtime::{COMPILER_FAILED, Compiler};

/// Compile a component from stdin to stdout, for a host
#[derive(Debug, Args)]
pub struct CompileComponent {
    /// Bytes of stack of guests
    stack_bytes: usize,
}

impl CompileComponent {
    pub fn run(self) -> Result<()> {
        let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
        if let Err(report) = Compiler::serve(self.stack_bytes, &mut input, &mut output) {
            _ = io::Write::write_all(&mut io::stderr(), report.as_bytes());
            std::process::exit(COMPILER_FAILED);
        }
        Ok(())
    }
}
