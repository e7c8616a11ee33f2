use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{PAGE, Printer, each, form, payload};
use super::execute::one_lined;
use super::exit::WrongUse;
use super::follow::Follow;
use super::pretty::pretty;
use super::{Client, Connection};
use quipu::model::StreamId;

/// Read the events of a stream, or its present or past state
///
/// In a terminal events are a table, cut to the terminal's width; elsewhere complete lines without
/// a heading.
#[derive(Debug, Args)]
pub struct Stream {
    /// The stream, for example account-1
    stream: String,
    /// The first version to read
    #[arg(long, value_name = "N", conflicts_with = "state")]
    from: Option<u64>,
    /// No events after this version
    #[arg(long, value_name = "N", conflicts_with = "state")]
    to: Option<u64>,
    /// Newest events first
    #[arg(long, conflicts_with = "state")]
    backward: bool,
    /// Continue with new events until interrupted, and reconnect when the connection is lost
    #[arg(long, conflicts_with_all = ["state", "backward", "to"])]
    follow: bool,
    /// Events as they are stored, not lifted to what the active decider reads
    #[arg(long, conflicts_with = "state")]
    stored: bool,
    /// Each value replaced by the name of its type, for which the action read is enough
    #[arg(long, conflicts_with = "follow")]
    masked: bool,
    /// Show the state as the decider renders it, instead of events
    #[arg(long)]
    state: bool,
    /// With --state: the state at this version; 0 is before the first event
    #[arg(long, value_name = "N", requires = "state")]
    at_version: Option<u64>,
    /// With --state: the state at this time, for example 2026-01-31T12:00:00Z
    #[arg(
        long,
        value_name = "TIME",
        requires = "state",
        conflicts_with = "at_version"
    )]
    at_time: Option<String>,
    /// With --state: use the module with this digest, or these first digits; it must decide the
    /// same category
    #[arg(long, value_name = "DIGEST", requires = "state")]
    module: Option<String>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page<'a> {
    truncated_before: Option<u64>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<u64>,
}

impl Stream {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        StreamId::new(&self.stream).map_err(|error| WrongUse(error.0))?;
        if self.state {
            return self.print_state(&client).await;
        }
        let mut printer = Printer::new(self.json);
        if self.follow {
            let path = ["v1", "streams", &self.stream, "subscribe"];
            let from = self.from.map(|from| ("from", from.to_string()));
            let query = from.into_iter().chain(form(self.stored)).collect();
            let following = Follow::new(&client, &path, query);
            return following.run(each(u64::MAX, printer)).await;
        }
        let direction = if self.backward { "backward" } else { "forward" };
        let (mut from, mut is_first) = (self.from, true);
        loop {
            let mut query = vec![("direction", direction.to_owned())];
            query.push(("limit", PAGE.to_string()));
            query.extend(form(self.stored));
            query.extend(payload(self.masked));
            query.extend(from.map(|from| ("from", from.to_string())));
            query.extend(self.to.map(|to| ("to", to.to_string())));
            let path = ["v1", "streams", &self.stream, "events"];
            let request = client.request(Method::GET, &path).query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            if is_first {
                self.note_mark(page.truncated_before);
            }
            is_first = false;
            printer.print(&page.events)?;
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Prints what is not shown.
    fn note_mark(&self, before: Option<u64>) {
        if let Some(before) = before.filter(|before| self.from.is_none_or(|from| from < *before)) {
            _ = writeln!(
                io::stderr(),
                "note: {} is truncated: events before version {before} are in the log only",
                self.stream
            );
        }
    }

    async fn print_state(&self, client: &Client) -> Result<()> {
        #[derive(Deserialize)]
        struct State<'a> {
            version: u64,
            #[serde(borrow)]
            state: &'a RawValue,
            module: String,
        }
        let mut query = Vec::new();
        query.extend(self.at_version.map(|it| ("at_version", it.to_string())));
        query.extend(self.at_time.iter().map(|it| ("at_time", it.clone())));
        query.extend(self.module.iter().map(|it| ("module", it.clone())));
        query.extend(payload(self.masked));
        let path = ["v1", "streams", &self.stream, "state"];
        let request = client.request(Method::GET, &path).query(&query);
        let body = client.send(request).await?.text().await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", one_lined(&body))?;
            return Ok(());
        }
        let state: State<'_> = serde_json::from_str(&body)?;
        let (stream, version) = (&self.stream, state.version);
        match &self.module {
            Some(_) => writeln!(out, "{stream} at version {version} by {}", state.module)?,
            None => writeln!(out, "{stream} at version {version}")?,
        }
        writeln!(out, "{}", pretty(state.state.get()))?;
        Ok(())
    }
}
