use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::PAGE;
use super::execute::one_lined;
use super::exit::WrongUse;
use super::follow::Follow;
use super::pretty::pretty;
use super::table::{Table, counted, id, text};
use super::{Client, Connection};
use quipu::model::StreamId;

/// Number of documents in a list without --limit.
const LIMIT: u64 = 100;

/// Read documents of a projection, by key or by index
///
/// A document is formatted for people in a terminal; elsewhere and with --json it is printed
/// unchanged. A list is a table of keys and documents, in a terminal cut to its width; with --json
/// it has one line for each document: {"key", "document", "change"}.
#[derive(Debug, Args)]
pub struct View {
    /// The projection
    projection: String,
    /// The document's key
    #[arg(conflicts_with_all = ["conditions", "order", "limit", "all"])]
    key: Option<String>,
    /// Only documents that match this condition on an index, for example status=open or
    /// amount>=1000; may be repeated, then documents must match all
    #[arg(long = "where", value_name = "INDEX=VALUE")]
    conditions: Vec<String>,
    /// Order by an index, with - before it from the greatest value down; $key orders by key
    #[arg(long, value_name = "INDEX", allow_hyphen_values = true)]
    order: Option<String>,
    /// At most N documents [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// List every document
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Wait until the documents contain everything up to this position of the log
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// With --after: wait at most MS milliseconds [default: 5000]
    #[arg(long, value_name = "MS", requires = "after")]
    timeout: Option<u64>,
    /// The documents of only this stream's events, folded now; for any projection
    #[arg(
        long,
        value_name = "STREAM",
        conflicts_with_all = ["conditions", "order", "limit", "all", "after", "follow"]
    )]
    live: Option<String>,
    /// Print every document, then those that change, until interrupted; reconnect when the
    /// connection is lost
    #[arg(long, conflicts_with_all = ["conditions", "order", "limit", "all", "after"])]
    follow: bool,
    /// Print JSON, lists as NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    documents: Vec<&'a RawValue>,
    next: Option<String>,
    #[serde(default)]
    stale: bool,
    #[serde(default)]
    parked: u64,
}

/// A document that was read by its key.
#[derive(Deserialize)]
struct One<'a> {
    #[serde(borrow)]
    document: Option<&'a RawValue>,
    #[serde(default)]
    stale: bool,
    parked: Option<Parked>,
}

/// Parked events of the document.
#[derive(Deserialize)]
struct Parked {
    events: u64,
    first_position: u64,
}

/// A document of a list, or a change of one.
#[derive(Deserialize)]
struct Entry<'a> {
    key: Option<String>,
    #[serde(borrow)]
    document: Option<&'a RawValue>,
    version: Option<u32>,
}

impl View {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        match (&self.live, &self.key) {
            (Some(stream), _) => self.live(&client, stream).await,
            _ if self.follow => self.follow(&client).await,
            (None, Some(key)) => self.one(&client, key).await,
            (None, None) => self.list(&client).await,
        }
    }

    async fn one(&self, client: &Client, key: &str) -> Result<()> {
        check_key(key)?;
        let path = ["v1", "views", &self.projection, key];
        let request = client.request(Method::GET, &path).query(&self.freshness());
        let body = client.send(request).await?.bytes().await?;
        let found: One<'_> = serde_json::from_slice(&body)?;
        self.warn_of_stale(found.stale);
        if let Some(parked) = &found.parked {
            let (name, first) = (&self.projection, parked.first_position);
            // The reader may be gone.
            _ = writeln!(
                io::stderr(),
                "note: {} parked for this document, the first at position {first}: `quipu \
                 projection {name} parked --document KEY` lists them",
                counted(parked.events, "event is", "events are")
            );
        }
        self.print_one(found.document.map_or("null", RawValue::get))
    }

    fn warn_of_stale(&self, is_stale: bool) {
        if is_stale {
            let name = &self.projection;
            _ = writeln!(
                io::stderr(),
                "note: {name} is stale: events that it was folded from are read in another way by \
                 now; `quipu projection {name}` shows the rebuild"
            );
        }
    }

    fn print_one(&self, document: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match (self.json, io::stdout().is_terminal()) {
            (true, _) => writeln!(out, "{}", one_lined(document))?,
            (false, true) => writeln!(out, "{}", pretty(document))?,
            (false, false) => writeln!(out, "{document}")?,
        }
        Ok(())
    }

    async fn list(&self, client: &Client) -> Result<()> {
        let limit = match self.all {
            true => u64::MAX,
            false => self.limit.unwrap_or(LIMIT),
        };
        let mut left = limit;
        let mut cursor: Option<String> = None;
        let mut out = Printer::new(self.json);
        loop {
            let mut query = self.freshness();
            query.extend(self.conditions.iter().map(|it| ("where", it.clone())));
            query.extend(self.order.iter().map(|order| ("order", order.clone())));
            query.extend(cursor.iter().map(|cursor| ("cursor", cursor.clone())));
            query.push(("limit", PAGE.min(left).to_string()));
            let path = ["v1", "views", &self.projection];
            let request = client.request(Method::GET, &path).query(&query);
            let body = client.send(request).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            if cursor.is_none() {
                self.warn_of_stale(page.stale);
            }
            if cursor.is_none() && page.parked > 0 {
                let name = &self.projection;
                let parked = counted(page.parked, "document or stream", "documents or streams");
                _ = writeln!(
                    io::stderr(),
                    "note: events are parked for {parked} of {name}: `quipu \
                     projection {name} parked` lists them"
                );
            }
            left -= left.min(page.documents.len() as u64);
            for document in page.documents {
                out.entry(document)?;
            }
            out.flush()?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
            if left == 0 {
                if self.limit.is_none() {
                    _ = writeln!(io::stderr(), "note: there are more; see --limit and --all");
                }
                return Ok(());
            }
        }
    }

    fn freshness(&self) -> Vec<(&'static str, String)> {
        let after = self.after.map(|after| ("after", after.to_string()));
        let timeout = self.timeout.map(|ms| ("timeout", ms.to_string()));
        after.into_iter().chain(timeout).collect()
    }

    async fn live(&self, client: &Client, stream: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Live<'a> {
            #[serde(borrow)]
            documents: &'a RawValue,
        }
        StreamId::new(stream).map_err(|error| WrongUse(error.0))?;
        let path = ["v1", "projections", &self.projection, "live", stream];
        let request = client.request(Method::GET, &path);
        let body = client.send(request).await?.bytes().await?;
        let live: Live<'_> = serde_json::from_slice(&body)?;
        let documents: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(live.documents.get())?;
        if let Some(key) = &self.key {
            let document = documents.get(key).ok_or_else(|| {
                anyhow::anyhow!("the events of {stream} make no document {key:?}")
            })?;
            return self.print_one(document.get());
        }
        let mut out = Printer::new(self.json);
        for (key, document) in documents {
            out.document(&key, Some(document))?;
        }
        out.flush()
    }

    async fn follow(&self, client: &Client) -> Result<()> {
        let path = ["v1", "projections", &self.projection, "changes"];
        let following = Follow::new(client, &path, Vec::new());
        let mut out = Printer::new(self.json);
        let following = following.run(|parts| {
            for part in parts {
                let change: &RawValue = serde_json::from_slice(part)?;
                let entry: Entry<'_> = serde_json::from_str(change.get())?;
                match (entry.version, &self.key) {
                    (Some(version), _) => {
                        // The reader may be gone.
                        _ = writeln!(
                            io::stderr(),
                            "version {version} has taken over: all of its documents follow"
                        );
                    }
                    (None, Some(key)) if entry.key.as_ref() != Some(key) => {}
                    _ => out.entry(change)?,
                }
            }
            out.flush()?;
            Ok(true)
        });
        following.await
    }
}

fn check_key(key: &str) -> Result<(), WrongUse> {
    match key {
        "" => Err(WrongUse("a key is not empty".to_owned())),
        // A client may remove them from an address.
        "." | ".." => Err(WrongUse(format!(
            "a document with the key {key:?} can't be asked for by an address; \
             a list has it"
        ))),
        _ => Ok(()),
    }
}

/// Prints documents: NDJSON, or a table.
struct Printer {
    out: io::BufWriter<io::StdoutLock<'static>>,
    json: bool,
    table: Table,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self {
            out: io::BufWriter::new(io::stdout().lock()),
            json,
            table: Table::of_lines(&[id("key"), text("document")]),
        }
    }

    fn entry(&mut self, raw: &RawValue) -> Result<()> {
        if self.json {
            writeln!(self.out, "{}", one_lined(raw.get()))?;
            return Ok(());
        }
        let entry: Entry<'_> = serde_json::from_str(raw.get())?;
        self.document(&entry.key.unwrap_or_default(), entry.document)
    }

    fn document(&mut self, key: &str, document: Option<&RawValue>) -> Result<()> {
        if self.json {
            let key = serde_json::to_string(key)?;
            let document = one_lined(document.map_or("null", RawValue::get));
            writeln!(self.out, "{{\"key\":{key},\"document\":{document}}}")?;
            return Ok(());
        }
        let text = document.map_or_else(|| "deleted".to_owned(), |it| one_lined(it.get()));
        self.table.row([one_lined(key), text]);
        Ok(())
    }

    /// Writes the entries that were added.
    fn flush(&mut self) -> Result<()> {
        if !self.json {
            self.table.write(&mut self.out)?;
        }
        Ok(self.out.flush()?)
    }
}
