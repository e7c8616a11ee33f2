use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::follow::Follow;
use super::table::{Table, id, number, text, time, word};
use super::{Client, Connection};

/// Number of events that one request asks for.
pub const PAGE: u64 = 500;

/// Read the log of all events
///
/// In a terminal it is a table, cut to the terminal's width; elsewhere complete lines without a
/// heading.
#[derive(Debug, Args)]
pub struct Events {
    /// Only after this position; with --backward, only before it
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// No events after this position
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    filters: Filters,
    /// Events of archived streams; by default they are left out only with --category
    #[arg(long, value_enum)]
    archived: Option<Archived>,
    /// Only events of commands that this module decided, as they are stored; by its digest or the
    /// first digits of it
    #[arg(
        long,
        value_name = "DIGEST",
        conflicts_with_all = ["Filters", "to", "archived", "backward", "follow", "stored"]
    )]
    module: Option<String>,
    /// Newest events first
    #[arg(long)]
    backward: bool,
    /// Continue with new events until interrupted, and reconnect when the connection is lost;
    /// includes events of archived streams
    #[arg(long, conflicts_with_all = ["backward", "archived", "to"])]
    follow: bool,
    /// Events as they are stored, not lifted to what the active decider reads
    #[arg(long)]
    stored: bool,
    /// Each value replaced by the name of its type, for which the action read is enough
    #[arg(long, conflicts_with_all = ["follow", "module"])]
    masked: bool,
    /// At most N events; the parts of a split event count as one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// The events to read.
#[derive(Debug, Args)]
struct Filters {
    /// Only events of this category; may be repeated
    #[arg(long)]
    category: Vec<String>,
    /// Only events of this type; may be repeated
    #[arg(long)]
    r#type: Vec<String>,
    /// Only events with this tag, name:value; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Only events of streams whose id begins with this prefix
    #[arg(long)]
    prefix: Option<String>,
    /// Without events of this category; may be repeated
    #[arg(long, value_name = "CATEGORY")]
    not_category: Vec<String>,
    /// Without events of this type; may be repeated
    #[arg(long, value_name = "TYPE")]
    not_type: Vec<String>,
    /// Without events with this tag, name:value; may be repeated
    #[arg(long, value_name = "TAG")]
    not_tag: Vec<String>,
    /// Without events of streams whose id begins with this prefix; may be repeated
    #[arg(long, value_name = "PREFIX")]
    not_prefix: Vec<String>,
}

/// Whether to include archived streams.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Archived {
    With,
    Without,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Event<'a> {
    stream: String,
    version: u64,
    position: u64,
    r#type: String,
    recorded_at: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    content_type: Option<String>,
}

impl Events {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut after = self.after;
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut printer = Printer::new(self.json);
        if self.follow {
            let path = ["v1", "events", "subscribe"];
            let mut query = self.filter();
            query.extend(after.map(|after| ("after", after.to_string())));
            query.extend(form(self.stored));
            let following = Follow::new(&client, &path, query);
            return following.run(each(left, printer)).await;
        }
        while left > 0 {
            let mut query = self.filter();
            query.extend(after.map(|after| ("after", after.to_string())));
            query.push(("limit", PAGE.min(left).to_string()));
            let request = match &self.module {
                Some(digest) => client.request(Method::GET, &["v1", "modules", digest, "events"]),
                None => {
                    let direction = if self.backward { "backward" } else { "forward" };
                    query.push(("direction", direction.to_owned()));
                    query.extend(self.to.map(|to| ("to", to.to_string())));
                    query.extend(form(self.stored));
                    query.extend(payload(self.masked));
                    client.request(Method::GET, &["v1", "events"])
                }
            };
            let request = request.query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= left.min(positions(&page.events)?);
            printer.print(&page.events)?;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}

impl Events {
    fn filter(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let filters = &self.filters;
        for (name, values) in [
            ("category", &filters.category),
            ("type", &filters.r#type),
            ("tag", &filters.tag),
            ("not_category", &filters.not_category),
            ("not_type", &filters.not_type),
            ("not_tag", &filters.not_tag),
            ("not_prefix", &filters.not_prefix),
        ] {
            query.extend(values.iter().map(|value| (name, value.clone())));
        }
        query.extend(filters.prefix.iter().map(|name| ("prefix", name.clone())));
        let archived = self.archived.map(|archived| match archived {
            Archived::With => "with",
            Archived::Without => "without",
        });
        query.extend(archived.map(|word| ("archived", word.to_owned())));
        query
    }
}

/// The parameter that asks for events as they are stored.
pub fn form(stored: bool) -> Option<(&'static str, String)> {
    stored.then(|| ("form", "stored".to_owned()))
}

/// The parameter that asks for masked payloads.
pub fn payload(masked: bool) -> Option<(&'static str, String)> {
    masked.then(|| ("payload", "masked".to_owned()))
}

/// The number of stored events from which these events come.
fn positions(events: &[&RawValue]) -> Result<u64> {
    #[derive(Deserialize)]
    struct Placed {
        position: u64,
    }
    let mut positions = Vec::with_capacity(events.len());
    for event in events {
        positions.push(serde_json::from_str::<Placed>(event.get())?.position);
    }
    positions.dedup();
    Ok(positions.len() as u64)
}

/// Prints events, each with all its parts, up to the remaining number.
pub fn each(mut left: u64, mut printer: Printer) -> impl FnMut(&[Vec<u8>]) -> Result<bool> {
    move |parts| {
        let parts: Vec<&RawValue> = parts
            .iter()
            .map(|part| serde_json::from_slice(part))
            .collect::<Result<_, _>>()?;
        printer.print(&parts)?;
        left -= 1;
        Ok(left > 0)
    }
}

/// Prints events, page by page: NDJSON, or a table.
pub struct Printer {
    json: bool,
    table: Table,
}

impl Printer {
    pub fn new(json: bool) -> Self {
        let columns = [
            number("position"),
            time("recorded at").if_there_is_room(),
            id("stream"),
            number("version"),
            word("type"),
            text("data"),
        ];
        Self {
            json,
            table: Table::of_lines(&columns),
        }
    }

    pub fn print(&mut self, events: &[&RawValue]) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            for event in events {
                writeln!(out, "{}", one_lined(event.get()))?;
            }
            return Ok(out.flush()?);
        }
        for event in events {
            let event: Event<'_> = serde_json::from_str(event.get())?;
            let data = match (event.data, event.content_type) {
                (Some(data), _) => one_lined(data.get()),
                (None, content_type) => content_type.unwrap_or_default(),
            };
            self.table.row([
                event.position.to_string(),
                event.recorded_at,
                event.stream,
                event.version.to_string(),
                event.r#type,
                data,
            ]);
        }
        self.table.write(&mut out)?;
        Ok(out.flush()?)
    }
}
