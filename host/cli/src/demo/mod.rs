//! The main use case from end to end, on a temporary store.

mod input;
mod read_model;
mod report;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::report::Report;
use super::execute::Bar;
use super::exit::reported;
use super::file::{self, Input, Options, Target};
use super::table::counted;
use quipu::{Demand, Deploy, Host};

/// Run a loan process on a new store, and show its read side
///
/// Builds the loan guest and its projections, starts a host on a new SQLite file, deploys both, and
/// executes the commands of a simulated loan process, whose figures follow the published log of a
/// real bank, or the commands of a file in the same format. Then it shows documents of the
/// projections.
#[derive(Debug, Args)]
pub struct Demo {
    /// Commands to simulate
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "file")]
    commands: u64,
    /// Seed of the simulation; the same seed gives the same commands
    #[arg(long, value_name = "S", default_value_t = 1, conflicts_with = "file")]
    seed: u64,
    /// Execute the commands of this file: NDJSON, plain or gzipped
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Keep the store in this folder, as demo.db, which must not exist yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Commands in flight
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const STORE: &str = "demo.db";

impl Demo {
    pub async fn run(self) -> Result<()> {
        // Held to the end: dropping it removes the store.
        let (store, _temporary) = self.store()?;
        let input = match &self.file {
            Some(path) => Input::open(path)?,
            None => input::simulated(self.seed, self.commands),
        };
        let host = Host::builder()
            .store(format!("sqlite:{}", store.display()))
            .build()
            .await?;
        for (name, what) in [("loan", "loan guest"), ("loan-views", "projections")] {
            deploy(&host, name, what).await?;
        }
        let options = Options {
            category: Some("loan".to_owned()),
            in_flight: self.in_flight as usize,
            resume: None,
        };
        let mut bar = Bar::new();
        let target = Target::Host(host.clone());
        let summary = file::run(&target, input, options, &mut bar).await;
        bar.finish();
        let report = Report::of(&host, summary?).await?;
        drop(target);
        host.shutdown().await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            report.print(&mut out)?;
            self.tell_more(&report, &mut out)?;
        }
        if report.summary.failed > 0 {
            let failed = counted(report.summary.failed, "command", "commands");
            return Err(reported(format!("{failed} failed")));
        }
        Ok(())
    }

    fn store(&self) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
        let Some(dir) = &self.keep else {
            let dir = tempfile::tempdir().context("no folder for the store")?;
            return Ok((dir.path().join(STORE), Some(dir)));
        };
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let store = dir.join(STORE);
        if store.exists() {
            bail!(
                "{} is there already; name another folder with --keep",
                store.display()
            );
        }
        Ok((store, None))
    }

    fn tell_more(&self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\nTo look further:")?;
        match &self.keep {
            Some(dir) => {
                let store = dir.join(STORE);
                writeln!(out, "  quipu serve --store sqlite:{} &", store.display())?;
                writeln!(out, "  quipu events --limit 20")?;
                writeln!(out, "  quipu stream loan-ID --state")?;
                writeln!(out, "  quipu deployments")?;
                writeln!(out, "  quipu verify")?;
                writeln!(out, "  quipu projections")?;
                writeln!(out, "  quipu view officers --order -events --limit 5")?;
                if let Some(key) = report.read_model.application_key() {
                    writeln!(out, "  quipu view applications {key}")?;
                }
                writeln!(out, "  quipu view applications --where status=granted")
            }
            None => {
                writeln!(
                    out,
                    "  add --keep DIR, and look into the store with `quipu serve`"
                )?;
                writeln!(
                    out,
                    "  --file F runs a log of your own, --commands N a longer simulation"
                )
            }
        }
    }
}

/// Builds an example guest and activates it.
async fn deploy(host: &Host, name: &str, what: &str) -> Result<()> {
    say(&format!("building the {what}"));
    let dir = quipu_guest_build::example(name)?;
    let component =
        tokio::task::spawn_blocking(move || quipu_guest_build::component(&dir)).await??;
    let bytes = component.len();
    let module = host.upload(component).await?.module;
    // The store is new, so a preflight has nothing to decide; and it would object, because the
    // projections also know events that only the next version of the decider writes.
    let deploy = Deploy::new(module.digest()).preflight(Demand::Skip);
    let deployment = host.deploy(deploy.by("demo")).await?;
    say(&format!(
        "deployed {} {} ({}, {} KiB)",
        deployment.name,
        module.manifest().version,
        deployment.digest.short(),
        bytes / 1024
    ));
    Ok(())
}

fn say(what: &str) {
    let (begin, end) = if io::stderr().is_terminal() {
        ("\x1b[2m", "\x1b[0m")
    } else {
        ("", "")
    };
    _ = writeln!(io::stderr(), "{begin}{what}{end}");
}
