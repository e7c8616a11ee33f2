//! The program `quipu-bench` prints what the library measures. `quipu` does not depend on it, so users
//! do not compile it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use quipu_bench::{Options, Report};

/// Measure commands and guests on this machine
///
/// Measures durable commands on new SQLite files, with a closed loop of callers: commands/s,
/// latencies, processor time, bytes written and flushes, each compared with the bare
/// group-committed append of the same rows; a warm command in the guest, compared with the same
/// Rust code run natively; memory with every stream warm.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How long the end of the program waits for work on other threads.
const LEFT_RUNNING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let printed = measure(&cli.options).and_then(|report| print(&report, cli.json));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The reader may be gone.
            _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let progress = |what: &str| _ = writeln!(io::stderr(), "{what}");
    let report = runtime.block_on(quipu_bench::run(options, progress));
    // Nobody waits for the result of work on other threads.
    runtime.shutdown_timeout(LEFT_RUNNING);
    report
}

fn print(report: &Report, json: bool) -> Result<()> {
    let text = if json {
        format!("{}\n", serde_json::to_string(report)?)
    } else {
        report.to_string()
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has seen enough, like `head`, is not a failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
