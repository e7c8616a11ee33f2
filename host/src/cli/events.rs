use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::exit::WrongUse;
use super::follow::Follow;
use super::table::Table;
use super::{Client, Connection};
use crate::model::StreamId;

/// Events that one request asks for.
pub const PAGE: u64 = 500;

/// Read the log of all events
#[derive(Debug, Args)]
pub struct Events {
    /// Only behind this position; with --backward, only before it
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// Only of this category; may be repeated
    #[arg(long)]
    category: Vec<String>,
    /// Only of this type; may be repeated
    #[arg(long)]
    r#type: Vec<String>,
    /// Only with this tag, name:value; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Only of streams whose id begins so
    #[arg(long)]
    prefix: Option<String>,
    /// Events of archived streams; without this, they are left out with --category only
    #[arg(long, value_enum)]
    archived: Option<Archived>,
    /// From newer to older
    #[arg(long)]
    backward: bool,
    /// Go on with new events until interrupted, over connections that are lost; also
    /// with those of archived streams
    #[arg(long, conflicts_with_all = ["backward", "archived"])]
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

/// What becomes of archived streams.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Archived {
    With,
    Without,
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
    /// Go on with new events until interrupted, over connections that are lost
    #[arg(long, conflicts_with_all = ["state", "backward"])]
    follow: bool,
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
        if self.follow {
            let path = ["v1", "events", "subscribe"];
            let mut query = self.filter();
            query.extend(after.map(|after| ("after", after.to_string())));
            let following = Follow::new(&client, &path, query);
            return following.run(each(left, self.json)).await;
        }
        while left > 0 {
            let mut query = self.filter();
            let direction = if self.backward { "backward" } else { "forward" };
            query.push(("direction", direction.to_owned()));
            query.extend(after.map(|after| ("after", after.to_string())));
            query.push(("limit", PAGE.min(left).to_string()));
            let request = client.request(Method::GET, &["v1", "events"]).query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= left.min(page.events.len() as u64);
            print(&page.events, self.json)?;
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
        query.extend(self.category.iter().map(|name| ("category", name.clone())));
        query.extend(self.r#type.iter().map(|name| ("type", name.clone())));
        query.extend(self.tag.iter().map(|tag| ("tag", tag.clone())));
        query.extend(self.prefix.iter().map(|name| ("prefix", name.clone())));
        let archived = self.archived.map(|archived| match archived {
            Archived::With => "with",
            Archived::Without => "without",
        });
        query.extend(archived.map(|word| ("archived", word.to_owned())));
        query
    }
}

impl Stream {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        StreamId::new(&self.stream).map_err(|error| WrongUse(error.0))?;
        if self.state {
            return self.print_state(&client).await;
        }
        if self.follow {
            let path = ["v1", "streams", &self.stream, "subscribe"];
            let from = self.from.map(|from| ("from", from.to_string()));
            let following = Follow::new(&client, &path, from.into_iter().collect());
            return following.run(each(u64::MAX, self.json)).await;
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

/// Prints events one by one, as many as are left.
fn each(mut left: u64, json: bool) -> impl FnMut(&[u8]) -> Result<bool> {
    move |event| {
        print(&[serde_json::from_slice(event)?], json)?;
        left -= 1;
        Ok(left > 0)
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
