use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::super::exit::reported;
use super::super::secret::Secret;
use super::super::table::{Table, counted, grouped};
use super::super::transfer::{Bar, StoreFile};
use super::super::{Client, Connection};
use super::archive::{Archive, check_folder};
use super::contents::Contents;
use super::host;
use super::manifest::Manifest;
use super::recover::{checked, into_store};
use super::replay::Replay;
use super::until::Until;
use quipu::Host;
use quipu::model::{Digest, Position};
use quipu::proof::{Progress, Scope, Verified};
use quipu::store::StoreUrl;

/// Try a recovery, and verify the recovered store
///
/// Recovers everything into a temporary store, re-decides every recorded command, and compares the
/// last position and every line with the folder. Prints how old the newest shipped commit is (RPO)
/// and how long recovery and verification took (RTO). The exit code is 1 if something is wrong.
#[derive(Debug, Args)]
pub struct Drill {
    /// The folder that `ship` writes
    dir: PathBuf,
    /// Recover into this empty store and keep it, in place of a temporary SQLite file
    #[arg(long = "to", value_name = "URL")]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With an address or a context, the log is also compared with that of the host
    #[command(flatten)]
    connection: Connection,
}

/// The result of a drill.
#[derive(Debug, Default, Serialize)]
struct Report {
    passed: bool,
    /// What is wrong.
    problems: Vec<String>,
    segments: u64,
    position: u64,
    chain: Option<Digest>,
    events: u64,
    decisions: u64,
    findings: u64,
    /// The last position of the host, if it was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_position: Option<u64>,
    /// Age of the newest shipped commit; 0 if the host has no newer one. None if nothing was
    /// recovered.
    rpo_seconds: Option<f64>,
    recovery_seconds: f64,
    verify_seconds: f64,
    rto_seconds: f64,
}

impl Drill {
    pub async fn run(self) -> Result<()> {
        check_folder(&self.dir)?;
        let to = self.store_file.or_option(self.store.as_ref())?;
        let mut report = Report::default();
        if let Err(error) = self.drill(to, &mut report).await {
            report.problems.push(format!("{error:#}"));
            // What can't be recovered is lost, however new it is.
            report.rpo_seconds = None;
        }
        report.rto_seconds = report.recovery_seconds + report.verify_seconds;
        report.passed = report.problems.is_empty();
        self.print(&report)?;
        match report.problems.first() {
            None => Ok(()),
            Some(problem) => Err(reported(format!("the drill failed: {problem}"))),
        }
    }

    async fn drill(&self, to: Option<StoreUrl>, report: &mut Report) -> Result<()> {
        let archive = Archive::open(&self.dir)?;
        self.measure_loss(&archive.manifest, report).await?;
        if archive.manifest.last() == 0 {
            bail!(
                "nothing was shipped into {}: there is nothing to recover",
                self.dir.display()
            );
        }
        // Removed when this function returns.
        let folder = tempfile::Builder::new().prefix("quipu-drill-").tempdir()?;
        let url = to.unwrap_or_else(|| StoreUrl::Sqlite(folder.path().join("recovered.db")));

        let begin = Instant::now();
        let contents = checked(&archive, &Until::End)?;
        report.segments = archive.manifest.segments.len() as u64;
        report.chain = Some(archive.manifest.chain());
        into_store(&archive, &contents, &url).await?;
        report.recovery_seconds = begin.elapsed().as_secs_f64();

        let begin = Instant::now();
        let builder = Host::builder().opened_store(quipu::store::open(&url).await?);
        let host = builder.cache_dir(folder.path().join("compiled")).build();
        let host = host.await.context("no host can use the recovered store")?;
        let judged = judge(&host, &archive, &contents, report).await;
        host.shutdown().await?;
        report.verify_seconds = begin.elapsed().as_secs_f64();
        judged
    }

    /// Measures what would be lost if the host and its store were lost now.
    async fn measure_loss(&self, manifest: &Manifest, report: &mut Report) -> Result<()> {
        let now = jiff::Timestamp::now();
        let newest: Option<jiff::Timestamp> = manifest.newest().map(str::parse).transpose()?;
        let age = newest.map(|newest| now.duration_since(newest).as_secs_f64().max(0.0));
        report.rpo_seconds = age;
        let Connection { url, context, .. } = &self.connection;
        if url.is_none() && context.is_none() {
            return Ok(());
        }
        let client = Client::of(&self.connection)?;
        match host::head(&client, manifest).await {
            Ok(head) => {
                report.host_position = Some(head);
                if head == manifest.last() {
                    report.rpo_seconds = Some(0.0);
                }
            }
            Err(error) => report.problems.push(format!("{error:#}")),
        }
        Ok(())
    }

    fn print(&self, report: &Report) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return Ok(writeln!(out, "{}", serde_json::to_string(report)?)?);
        }
        let seconds = |seconds: f64| format!("{seconds:.1} s");
        let mut table = Table::bare();
        let mut row = |name: &str, text: String| table.row([name.to_owned(), text]);
        row("segments", grouped(report.segments));
        row("events", grouped(report.events));
        row("re-decided commands", grouped(report.decisions));
        row("findings", grouped(report.findings));
        row("last position", grouped(report.position));
        if let Some(position) = report.host_position {
            row("last position of the host", grouped(position));
        }
        let rpo = report.rpo_seconds.map_or("unknown".to_owned(), seconds);
        row("RPO: age of the newest shipped commit", rpo);
        row(
            "RTO: recovery and verification",
            seconds(report.rto_seconds),
        );
        row("  recovery", seconds(report.recovery_seconds));
        row("  verification", seconds(report.verify_seconds));
        table.write(&mut out)?;
        if let Some(chain) = report.chain {
            writeln!(out, "chain digest {chain}")?;
        }
        for problem in &report.problems {
            writeln!(out, "wrong: {problem}")?;
        }
        if report.passed {
            writeln!(out, "the drill passed")?;
        }
        Ok(())
    }
}

/// Verifies the recovered store, and compares it with the folder.
async fn judge(
    host: &Host,
    archive: &Archive,
    contents: &Contents,
    report: &mut Report,
) -> Result<()> {
    let bar = Bar::new(None);
    let mut progress = |it: Progress| {
        let (position, head) = (grouped(it.position.0), grouped(it.head.0));
        bar.say(format!("position {position} of {head} verified"));
    };
    let verified = host.verify(&Scope::default(), &mut progress).await;
    bar.finish();
    let verified = verified?;
    count(&verified, report);
    let (found, expected) = (verified.head.0, archive.manifest.last());
    if found != expected {
        let why = format!("the recovered log ends at position {found}, the manifest at {expected}");
        report.problems.push(why);
    }
    if !verified.is_sound() {
        let findings = counted(report.findings, "finding", "findings");
        report
            .problems
            .push(format!("the history is not sound: {findings}"));
    }
    if let Some(line) = first_difference(host, archive, contents).await? {
        let why = format!("line {line} of the recovered store's export is not what was shipped");
        report.problems.push(why);
    }
    Ok(())
}

fn count(verified: &Verified, report: &mut Report) {
    report.position = verified.head.0;
    report.events = verified.events;
    let tallies = verified.commands.values();
    report.decisions = tallies.map(|tally| tally.same + tally.not_the_same()).sum();
    let found: u64 = verified.found.values().sum();
    let acknowledged: u64 = verified.acknowledged.values().sum();
    report.findings = found.saturating_sub(acknowledged);
}

/// The number of the first line in which the export of the recovered store differs from what was
/// shipped; none if they are equal, byte for byte.
async fn first_difference(
    host: &Host,
    archive: &Archive,
    contents: &Contents,
) -> Result<Option<u64>> {
    let mut export = host.export(Position(0)).await?;
    let mut replay = Replay::new(archive, contents)?;
    let (mut found, mut expected) = (Bytes::new(), Bytes::new());
    let mut line = 1;
    loop {
        if found.is_empty() {
            found = export.next().await?.unwrap_or_default();
        }
        if expected.is_empty() {
            expected = replay.next()?.unwrap_or_default();
        }
        let length = found.len().min(expected.len());
        if length == 0 {
            return Ok((found.len() != expected.len()).then_some(line));
        }
        let (one, other) = (found.split_to(length), expected.split_to(length));
        if one != other {
            let same = one
                .iter()
                .zip(&other)
                .take_while(|(one, other)| one == other);
            let breaks = same.filter(|(byte, _)| **byte == b'\n').count();
            return Ok(Some(line + breaks as u64));
        }
        line += one.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}
