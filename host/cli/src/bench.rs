use std::io::{self, Write};

use anyhow::Result;
use clap::Args;

use quipu_bench as bench;

/// Measure commands and guests on this machine
///
/// Measures durable commands on new SQLite files, with a closed loop of callers: commands/s,
/// latencies, processor time, bytes written and flushes, each compared with the bare
/// group-committed append of the same rows; a warm command in the guest, compared with the same
/// Rust code run natively; memory with every stream warm.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    options: bench::Options,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub async fn run(self) -> Result<()> {
        let progress = |what: &str| _ = writeln!(io::stderr(), "{what}");
        let report = bench::run(&self.options, progress).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            write!(out, "{report}")?;
        }
        Ok(())
    }
}
