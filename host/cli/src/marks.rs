use std::io::{self, Write};

use anyhow::Result;
use clap::{ArgGroup, Args};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Reason;
use super::execute::one_lined;
use super::exit::WrongUse;
use super::{Client, Connection};
use quipu::model::StreamId;

/// Archive a stream: close it to appends, and keep its events
///
/// Lists and pages by category leave it out unless asked. Archiving an archived stream changes
/// nothing.
#[derive(Debug, Args)]
pub struct Archive {
    #[command(flatten)]
    marking: Marking,
}

/// Restore an archived stream, so that it accepts appends
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    marking: Marking,
}

/// Truncate a stream: hide events before a version
///
/// These events are hidden from stream reads and replay, and stay in the log. A snapshot of all
/// events is taken first and replaces them; the last event always stays.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true))]
pub struct Truncate {
    /// The first version that stays
    #[arg(long, value_name = "N", group = "where", value_parser = clap::value_parser!(u64).range(1..))]
    before: Option<u64>,
    /// Undo the truncation
    #[arg(long, group = "where")]
    undo: bool,
    #[command(flatten)]
    marking: Marking,
}

#[derive(Debug, Args)]
struct Marking {
    /// The stream, for example account-1
    stream: String,
    #[command(flatten)]
    reason: Reason,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Archive {
    pub async fn run(self) -> Result<()> {
        self.marking.run("archive", "archived").await
    }
}

impl Restore {
    pub async fn run(self) -> Result<()> {
        self.marking.run("restore", "restored").await
    }
}

impl Truncate {
    pub async fn run(self) -> Result<()> {
        #[derive(Deserialize)]
        struct Truncated {
            stream: String,
            truncated_before: u64,
            position: Option<u64>,
        }
        let before = self.before.unwrap_or(0);
        let body = json!({ "before": before });
        let answer = self.marking.post("truncate", Some(body)).await?;
        if self.marking.json {
            return Ok(());
        }
        let done: Truncated = serde_json::from_str(&answer)?;
        let (stream, before) = (done.stream, done.truncated_before);
        let mut out = io::stdout().lock();
        match (before, done.position) {
            (0, Some(position)) => writeln!(out, "{stream} is whole again at position {position}")?,
            (0, None) => writeln!(out, "{stream} was not truncated")?,
            (_, Some(position)) => writeln!(
                out,
                "{stream} is truncated before version {before} at position {position}"
            )?,
            (_, None) => writeln!(
                out,
                "{stream} was truncated before version {before} already"
            )?,
        }
        Ok(())
    }
}

impl Marking {
    /// Posts the action, and prints the answer if JSON is requested.
    async fn post(&self, act: &str, body: Option<Value>) -> Result<String> {
        let client = Client::of(&self.connection)?;
        StreamId::new(&self.stream).map_err(|error| WrongUse(error.0))?;
        let mut request = client.request(Method::POST, &["v1", "streams", &self.stream, act]);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let request = self.reason.on(request);
        let answer = client.send(request).await?.text().await?;
        if self.json {
            writeln!(io::stdout(), "{}", one_lined(&answer))?;
        }
        Ok(answer)
    }

    async fn run(self, act: &str, done: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Marked {
            stream: String,
            archived: bool,
            position: Option<u64>,
        }
        let answer = self.post(act, None).await?;
        if self.json {
            return Ok(());
        }
        let marked: Marked = serde_json::from_str(&answer)?;
        let stream = marked.stream;
        let mut out = io::stdout().lock();
        match (marked.position, marked.archived) {
            (Some(position), _) => writeln!(out, "{stream} is {done} at position {position}")?,
            (None, true) => writeln!(out, "{stream} was archived before")?,
            (None, false) => writeln!(out, "{stream} was not archived")?,
        }
        Ok(())
    }
}
