use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::exit::WrongUse;
use super::table::Table;
use super::{Client, Connection};
use crate::model::StreamId;

/// Events that one request asks for.
const PAGE: u64 = 500;
/// Between two looks at the log while nothing new comes.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// Read the log of all events
#[derive(Debug, Args)]
pub struct Events {
    /// Only behind this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Only of this category; may be repeated
    #[arg(long)]
    category: Vec<String>,
    /// Only of this type; may be repeated
    #[arg(long)]
    r#type: Vec<String>,
    /// Only of streams whose id begins so
    #[arg(long)]
    prefix: Option<String>,
    /// Go on with new events until interrupted
    #[arg(long)]
    follow: bool,
    /// At most so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Read the events of a stream, or its state
#[derive(Debug, Args)]
pub struct Stream {
    /// The stream, as account-1
    stream: String,
    /// The first version to read
    #[arg(long, value_name = "N", conflicts_with = "state")]
    from: Option<u64>,
    /// From newer to older
    #[arg(long, conflicts_with = "state")]
    backward: bool,
    /// The state as the decider renders it, instead of events
    #[arg(long)]
    state: bool,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<u64>,
    head: Option<u64>,
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
        while left > 0 {
            let mut query = vec![("after", after.to_string())];
            query.push(("limit", PAGE.min(left).to_string()));
            query.extend(self.category.iter().map(|name| ("category", name.clone())));
            query.extend(self.r#type.iter().map(|name| ("type", name.clone())));
            query.extend(self.prefix.iter().map(|name| ("prefix", name.clone())));
            let request = client.request(Method::GET, &["v1", "events"]).query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= page.events.len() as u64;
            print(&page.events, self.json)?;
            match (page.next, page.head) {
                (Some(next), _) => after = next,
                (None, Some(head)) if self.follow => {
                    after = after.max(head);
                    tokio::time::sleep(FOLLOW_PAUSE).await;
                }
                _ => break,
            }
        }
        Ok(())
    }
}

impl Stream {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        StreamId::new(&self.stream).map_err(|error| WrongUse(error.0))?;
        if self.state {
            return self.print_state(&client).await;
        }
        let direction = if self.backward { "backward" } else { "forward" };
        let mut from = self.from;
        loop {
            let mut query = vec![("direction", direction.to_owned())];
            query.push(("limit", PAGE.to_string()));
            query.extend(from.map(|from| ("from", from.to_string())));
            let path = ["v1", "streams", &self.stream, "events"];
            let request = client.request(Method::GET, &path).query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            print(&page.events, self.json)?;
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn print_state(&self, client: &Client) -> Result<()> {
        #[derive(Deserialize)]
        struct State<'a> {
            version: u64,
            #[serde(borrow)]
            state: &'a RawValue,
        }
        let path = ["v1", "streams", &self.stream, "state"];
        let body = client.send(client.request(Method::GET, &path)).await?;
        let body = body.text().await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", one_lined(&body))?;
            return Ok(());
        }
        let state: State<'_> = serde_json::from_str(&body)?;
        writeln!(out, "{} at version {}", self.stream, state.version)?;
        let value: serde_json::Value = serde_json::from_str(state.state.get())?;
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        Ok(())
    }
}

fn print(events: &[&RawValue], json: bool) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for event in events {
            writeln!(out, "{}", one_lined(event.get()))?;
        }
        return Ok(out.flush()?);
    }
    let mut table = Table::bare();
    for event in events {
        let event: Event<'_> = serde_json::from_str(event.get())?;
        let data = match (event.data, event.content_type) {
            (Some(data), _) => one_lined(data.get()),
            (None, content_type) => content_type.unwrap_or_default(),
        };
        table.row([
            event.position.to_string(),
            event.recorded_at,
            // A stream's name may look like a number.
            format!("{} ", event.stream),
            event.version.to_string(),
            event.r#type,
            data,
        ]);
    }
    table.write(&mut out)?;
    Ok(out.flush()?)
}
