use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::PAGE;
use super::execute::one_lined;
use super::table::{Table, id, number, time};
use super::{Client, Connection};

/// List streams, in the order of their ids
#[derive(Debug, Args)]
pub struct Streams {
    /// Only streams of this category
    #[arg(long)]
    category: Option<String>,
    /// Include archived streams, or list only those
    #[arg(long, value_enum, default_value_t = Archived::Without)]
    archived: Archived,
    /// Only streams after this one
    #[arg(long, value_name = "STREAM")]
    after: Option<String>,
    /// At most N streams
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Whether to include archived streams.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Archived {
    Without,
    With,
    Only,
}

impl Archived {
    fn as_str(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::With => "with",
            Self::Only => "only",
        }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    streams: Vec<&'a RawValue>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    stream: String,
    version: u64,
    recorded_at: String,
    archived_at: Option<String>,
    truncated_before: Option<u64>,
}

impl Streams {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut after = self.after.clone();
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut table = Table::new(&[
            id("stream"),
            number("version"),
            time("last event").if_there_is_room(),
            time("archived").if_not_empty(),
            number("truncated before").if_not_empty(),
        ]);
        while left > 0 {
            let mut query = vec![("archived", self.archived.as_str().to_owned())];
            query.push(("limit", PAGE.min(left).to_string()));
            query.extend(self.category.iter().map(|name| ("category", name.clone())));
            query.extend(after.iter().map(|after| ("after", after.clone())));
            let request = client
                .request(Method::GET, &["v1", "streams"])
                .query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= left.min(page.streams.len() as u64);
            self.print(&page.streams, &mut table)?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn print(&self, streams: &[&RawValue], table: &mut Table) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            for stream in streams {
                writeln!(out, "{}", one_lined(stream.get()))?;
            }
            return Ok(out.flush()?);
        }
        for stream in streams {
            let entry: Entry = serde_json::from_str(stream.get())?;
            let mark = entry.truncated_before.map(|mark| mark.to_string());
            table.row([
                entry.stream,
                entry.version.to_string(),
                entry.recorded_at,
                entry.archived_at.unwrap_or_default(),
                mark.unwrap_or_default(),
            ]);
        }
        table.write(&mut out)?;
        Ok(out.flush()?)
    }
}
