use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::execute::one_lined;
use super::table::{Table, grouped, id, number, word};
use super::{Client, Connection};
use quipu_api::{NamedList, NamedView};

/// List the named subscriptions and their progress
#[derive(Debug, Args)]
pub struct Subscriptions {
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Show a named subscription, move it, or delete it
///
/// The first claim of a client creates the subscription. Its client reads the log in order and
/// acknowledges the events it has handled. Only one client at a time owns a name.
#[derive(Debug, Args)]
pub struct Subscription {
    /// Its name
    name: String,
    /// Move it after this position, 0 for all events, or `now`; its owner loses it
    #[arg(long, value_name = "POSITION")]
    seek: Option<Place>,
    /// Delete it; fails while a client owns it
    #[arg(long, conflicts_with = "seek")]
    delete: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A position, or `now`.
#[derive(Debug, Clone)]
enum Place {
    After(u64),
    Now,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("now", _) => Ok(Self::Now),
            (_, Ok(position)) => Ok(Self::After(position)),
            (_, Err(_)) => Err("neither a position nor `now`".to_owned()),
        }
    }
}

/// Number of names that one request asks for.
const PAGE: &str = "1000";

impl Subscriptions {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            id("name"),
            number("position"),
            number("lag"),
            word("held for"),
        ]);
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE.to_owned())];
            query.extend(after.map(|after| ("after", after)));
            let request = client.request(Method::GET, &["v1", "subscriptions"]);
            let page: NamedList = client.json(request.query(&query)).await?;
            for named in &page.subscriptions {
                match self.json {
                    true => writeln!(out, "{}", serde_json::to_string(named)?)?,
                    false => table.row(row(named, page.head)),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !self.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

impl Subscription {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let path = ["v1", "subscriptions", &self.name];
        let mut out = io::stdout().lock();
        if self.delete {
            client.send(client.request(Method::DELETE, &path)).await?;
            match self.json {
                true => writeln!(out, "{}", json!({ "name": self.name, "deleted": true }))?,
                false => writeln!(out, "{} is deleted", one_lined(&self.name))?,
            }
            return Ok(());
        }
        let request = match &self.seek {
            None => client.request(Method::GET, &path),
            Some(place) => {
                let after = match place {
                    Place::After(position) => json!(position),
                    Place::Now => json!("now"),
                };
                let seek = [path[0], path[1], path[2], "seek"];
                let request = client.request(Method::POST, &seek);
                request.json(&json!({ "after": after }))
            }
        };
        let named: NamedView = client.json(request).await?;
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&named)?)?;
            return Ok(());
        }
        let held = match named.held_ms {
            Some(_) => format!(
                "held for {} more unless the lease is renewed",
                held_for(&named)
            ),
            None => "held by nobody".to_owned(),
        };
        let (name, position) = (one_lined(&named.name), grouped(named.position));
        writeln!(out, "{name} is at position {position}, {held}")?;
        Ok(())
    }
}

fn row(named: &NamedView, head: u64) -> [String; 4] {
    [
        one_lined(&named.name),
        grouped(named.position),
        grouped(head.saturating_sub(named.position)),
        held_for(named),
    ]
}

/// The rest of the lease in seconds; empty when nobody owns the subscription.
fn held_for(named: &NamedView) -> String {
    let held = named.held_ms.map(Duration::from_millis);
    held.map_or_else(String::new, |held| {
        format!("{} s", held.as_secs_f32().ceil())
    })
}
