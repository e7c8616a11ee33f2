use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use jiff::Timestamp;
use reqwest::{Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::expiry;
use super::exit::{WrongUse, reported};
use super::expected::Expected;
use super::file::{self, Input, Progress, Summary, Target};
use super::preview;
use super::proposals;
use super::table::{Table, counted, grouped, id, number, text};
use super::{Client, Connection};
use quipu::model::{StreamId, check_json, text_without_mark};
use quipu_api::line::one_line;

/// Execute one command, or a file of them
///
/// A file has one JSON object a line, plain or gzipped:
///
///   {"id" or "stream", "type", "schema_version"?, "data", "command_id"?,
///    "expected_version"?, "metadata"?, "at"?, "actor"?}
///
/// `id` is a key in the category of --category; `at` and `actor` become members of
/// the metadata. The lines of one stream are executed in order, different streams
/// concurrently. A line without `command_id` gets one from the name of the batch, the
/// stream and its content. When a file is run a second time, also a corrected one,
/// lines that were accepted are replays. Give other commands a file of another name,
/// or set --batch. The exit code is 0 with rejections, 1 with failures.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Execute {
    /// The stream, for example account-1
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    stream: Option<String>,
    /// The command's type
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    r#type: Option<String>,
    /// The command's data, JSON; `-` reads it from stdin
    #[arg(
        default_value = "{}",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    data: String,
    /// The command's id: a command with the same id is executed once
    #[arg(long, value_name = "KEY", conflicts_with = "file")]
    id: Option<String>,
    /// The expected version of the stream: a version, any, no-stream or stream-exists
    #[arg(long, value_name = "N", conflicts_with = "file")]
    expected_version: Option<Expected>,
    /// Only show the events that the command would add now, and what would change in the state; nothing
    /// is stored
    #[arg(long, conflicts_with_all = ["file", "id"])]
    dry_run: bool,
    /// Store the command with its effect, so that somebody else can approve it: see `quipu proposal`
    #[arg(long, conflicts_with_all = ["file", "dry_run"])]
    propose: bool,
    /// A note for whoever approves it: one line
    #[arg(long, requires = "propose")]
    note: Option<String>,
    /// Until when it can be approved: a time, or a duration from now on such as 12h, at most 30d
    /// [default: 24h]
    #[arg(long, value_name = "WHEN", requires = "propose", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Execute every line of a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The name of the batch [default: the file's name; of stdin, a digest of it]
    #[arg(long, value_name = "NAME", requires = "file")]
    batch: Option<String>,
    /// The category of the lines' ids
    #[arg(long, requires = "file")]
    category: Option<String>,
    /// Maximum number of streams with a command in flight
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096), requires = "file")]
    in_flight: u32,
    /// Store the last answered line of each stream in this file, and continue from there
    #[arg(long, value_name = "FILE", requires = "file")]
    resume: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Execute {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        match (&self.file, &self.stream, &self.r#type) {
            (Some(path), _, _) => self.file(path, client).await,
            (None, Some(stream), Some(name)) => self.one(stream, name, &client).await,
            _ => Err(WrongUse("a stream and a type, or --file".to_owned()).into()),
        }
    }

    async fn one(&self, stream: &str, name: &str, client: &Client) -> Result<()> {
        StreamId::new(stream).map_err(|error| WrongUse(error.0))?;
        let data = match self.data.as_str() {
            "-" => io::read_to_string(io::stdin().lock()).context("stdin")?,
            data => data.to_owned(),
        };
        let data = text_without_mark(&data);
        check_json(data.as_bytes()).map_err(|error| WrongUse(format!("data: {error}")))?;
        let data: &RawValue = serde_json::from_str(data)?;
        let body = serde_json::to_vec(&Body {
            r#type: name,
            data,
            note: self.note.as_deref(),
            expires_in_s: self.expires.map(seconds_until),
        })?;
        let action = match (self.dry_run, self.propose) {
            (true, _) => "preview",
            (_, true) => "proposals",
            _ => "commands",
        };
        let mut request = client
            .request(Method::POST, &["v1", "streams", stream, action])
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(id) = &self.id {
            request = request.header("Idempotency-Key", id);
        }
        if let Some(expected) = self.expected_version {
            request = expected.apply(request);
        }
        let mut answer = client.send(request).await?.bytes().await?.to_vec();
        let mut out = io::stdout().lock();
        if self.dry_run {
            return preview::print(&answer, self.json, &mut out);
        }
        if self.propose {
            return proposals::print(&answer, self.json, &mut out);
        }
        if self.json {
            one_line(&mut answer);
            out.write_all(&answer)?;
            writeln!(out)?;
            return Ok(());
        }
        let outcome: Outcome<'_> = serde_json::from_slice(&answer)?;
        let replayed = if outcome.replayed { ", replayed" } else { "" };
        let (stream, version) = (outcome.stream, outcome.version);
        writeln!(out, "{stream} is at version {version}{replayed}")?;
        let mut table = Table::bare();
        for event in outcome.events {
            let data = event.data.map_or("(binary)", RawValue::get);
            table.row([event.version.to_string(), event.r#type, one_lined(data)]);
        }
        table.write(&mut out)?;
        Ok(())
    }

    async fn file(&self, path: &Path, client: Client) -> Result<()> {
        client.check().await?;
        let mut input = Input::open(path)?;
        if let Some(batch) = &self.batch {
            input.batch.clone_from(batch);
        }
        let options = file::Options {
            category: self.category.clone(),
            in_flight: self.in_flight as usize,
            resume: self.resume.clone(),
        };
        let target = Target::http(&client, options.in_flight);
        let batch = input.batch.clone();
        let mut bar = Bar::new();
        let summary = file::run(&target, input, options, &mut bar).await;
        bar.finish();
        let summary = summary?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        } else {
            print(&summary, &mut out)?;
        }
        if summary.replayed > 0 {
            _ = writeln!(
                io::stderr(),
                "note: {} accepted before, by command_id or in a batch called {batch}; for other \
                 commands give the file another name, or --batch",
                counted(summary.replayed, "line was", "lines were")
            );
        }
        if summary.failed > 0 {
            tell_failures(&summary);
            let (failed, all) = (summary.failed, summary.commands);
            return Err(reported(format!("{failed} of {all} commands failed")));
        }
        Ok(())
    }
}

#[derive(serde::Serialize)]
struct Body<'a> {
    r#type: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_s: Option<i64>,
}

/// Whole seconds until a time, rounded up. None are left of a time that has passed.
fn seconds_until(time: Timestamp) -> i64 {
    let left = time.duration_since(Timestamp::now());
    (left.as_secs() + i64::from(left.subsec_nanos() > 0)).max(0)
}

#[derive(Deserialize)]
struct Outcome<'a> {
    stream: String,
    version: u64,
    replayed: bool,
    #[serde(borrow)]
    events: Vec<OutcomeEvent<'a>>,
}

#[derive(Deserialize)]
struct OutcomeEvent<'a> {
    version: u64,
    r#type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// JSON without its line breaks.
pub fn one_lined(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// The result of a file, for people.
pub fn print(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::bare();
    let counts = [
        ("commands", summary.commands),
        ("accepted", summary.accepted),
        ("rejected", summary.rejected),
        ("replayed", summary.replayed),
        ("failed", summary.failed),
    ];
    for (name, count) in counts {
        table.row([name.to_owned(), grouped(count)]);
    }
    table.row(["seconds".to_owned(), format!("{:.1}", summary.seconds)]);
    table.row(["commands/s".to_owned(), grouped(summary.rate())]);
    table.write(out)?;
    if summary.rejections.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[id("rejected as"), number("count"), text("for example")]);
    for (code, count) in &summary.rejections {
        let example = summary.examples.get(code).map(ToString::to_string);
        table.row([code.clone(), grouped(*count), example.unwrap_or_default()]);
    }
    table.write(out)
}

fn tell_failures(summary: &Summary) {
    for (code, count) in &summary.failures {
        let example = summary.failure_examples.get(code);
        let example = example.map_or_else(String::new, |example| format!(", {example}"));
        _ = writeln!(io::stderr(), "{code}: {}{example}", grouped(*count));
    }
}

/// A progress bar on stderr; none if stderr is not a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar at zero.
    pub fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = "{bar:20} {human_pos}/{human_len}  {rate}/s  {msg}  {eta} left";
        let bar = ProgressBar::no_length();
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(
            style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A bar that can't be drawn is no reason to stop.
                _ = out.write_str(&grouped(state.per_sec() as u64));
            }),
        );
        Self(bar)
    }
}

impl Bar {
    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&mut self, lines: u64) {
        self.0.set_length(lines);
    }

    fn advance(&mut self, lines: u64, summary: &Summary) {
        self.0.set_position(lines);
        if summary.rejected + summary.failed > 0 {
            let (rejected, failed) = (summary.rejected, summary.failed);
            let failed = match failed {
                0 => String::new(),
                failed => format!(", {failed} failed"),
            };
            self.0.set_message(format!("{rejected} rejected{failed}"));
        }
    }
}
