use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::table::{counted, printable};
use super::{Client, Connection};

/// Number of lines that one request asks for.
const PAGE: u64 = 1_000;
/// How long a request waits for a line.
const WAIT_MS: u64 = 15_000;
/// How long a request may take in total.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Show the last lines of a host's log
///
/// The host keeps up to 5000 lines in memory; a restart forgets them. They are those that its log
/// level lets pass, also of its tenants.
#[derive(Debug, Args)]
pub struct Logs {
    /// Only lines of this level and more important ones
    #[arg(long, value_enum, default_value_t = Level::Trace)]
    level: Level,
    /// Only lines of this module and those within it, for example quipu_store
    #[arg(long, value_name = "MODULE")]
    target: Option<String>,
    /// The last N lines
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=PAGE))]
    limit: u64,
    /// Go on with new lines until interrupted
    #[arg(long)]
    follow: bool,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum Level {
    #[value(help = None)]
    Error,
    #[value(help = None)]
    Warn,
    #[value(help = None)]
    Info,
    #[value(help = None)]
    Debug,
    #[value(help = None)]
    Trace,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
    next: u64,
    lost: u64,
}

impl Logs {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut after = self.page(&client, None).await?;
        if !self.follow {
            return Ok(());
        }
        loop {
            after = self.page(&client, Some(after)).await?;
        }
    }

    /// Prints a page. Returns where the next one begins.
    async fn page(&self, client: &Client, after: Option<u64>) -> Result<u64> {
        let mut query = vec![("level", self.level.as_str().to_owned())];
        query.extend(self.target.iter().map(|target| ("target", target.clone())));
        match after {
            None => query.push(("limit", self.limit.to_string())),
            Some(after) => query.extend([
                ("after", after.to_string()),
                ("limit", PAGE.to_string()),
                ("wait_ms", WAIT_MS.to_string()),
            ]),
        }
        let request = client.request(Method::GET, &["v1", "logs"]).query(&query);
        let answer = client
            .send(request.timeout(TIME_MAX))
            .await?
            .bytes()
            .await?;
        let page: Page<'_> = serde_json::from_slice(&answer)?;
        if page.lost > 0 {
            let lines = counted(page.lost, "line was", "lines were");
            _ = writeln!(io::stderr(), "note: {lines} lost");
        }
        if page.lines.is_empty() && after.is_none() && !self.json {
            let level = self.level.as_str();
            _ = writeln!(io::stderr(), "note: no lines of level {level} or above yet");
        }
        let mut out = io::stdout().lock();
        for line in page.lines {
            match self.json {
                true => writeln!(out, "{}", line.get())?,
                false => writeln!(out, "{}", printable(&shown(line.get())))?,
            }
        }
        out.flush()?;
        Ok(page.next)
    }
}

/// A line for people.
fn shown(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let message = line["fields"]["message"].as_str().unwrap_or_default();
    let mut shown = format!(
        "{} {:>5} {}: {message}",
        text("timestamp"),
        text("level"),
        text("target")
    );
    let fields = line["fields"].as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| *name != "message");
    let known = ["timestamp", "level", "target", "fields"];
    let members = line.as_object().into_iter().flatten();
    let is_shown = |name: &str| known.contains(&name) || line["fields"].get(name).is_some();
    let members = members.filter(|(name, _)| !is_shown(name));
    for (name, value) in fields.chain(members) {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        shown += &format!(" {name}={value}");
    }
    shown.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_message_and_then_its_fields() {
        let line = r#"{"timestamp":"T","level":"WARN","target":"quipu","fields":{"message":"m","n":1,"s":"x"},"trace_id":"t"}"#;
        assert_eq!(shown(line), "T  WARN quipu: m n=1 s=x trace_id=t");
        let twice = line.replace("\"trace_id\"", "\"n\":2,\"trace_id\"");
        assert_eq!(shown(&twice), shown(line));
    }
}
