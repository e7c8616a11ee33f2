use std::io::{self, Write};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;

use super::exit::WrongUse;
use super::secret::Secret;
use super::table::counted;
use super::transfer::{Bar, StoreFile};
use super::{Client, Connection};
use quipu::model::Position;
use quipu::store::{self, StoreUrl};
use quipu::transfer::{self, END, FAILED};

/// Write the log to stdout as CloudEvents, which `import` reads
///
/// The output is NDJSON and contains everything that the store has of its log, up to the event that
/// is the last one when the export begins. Without --store it asks a running host.
#[derive(Debug, Args)]
pub struct Export {
    /// Only entries after this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Read this store directly, also while its host runs: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL")]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Export also commits that do not have their digest, because they were changed: needs --store
    /// or --store-file
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Export {
    pub async fn run(self) -> Result<()> {
        let store = self.store_file.or_option(self.store.as_ref())?;
        if self.unchecked && store.is_none() {
            let why = "--unchecked reads a store directly: name it with --store or --store-file";
            return Err(WrongUse(why.to_owned()).into());
        }
        let mut out = Output::default();
        let written = match &store {
            Some(url) => self.write_store(url, &mut out).await,
            None => self.write_host(&mut out).await,
        };
        out.bar.finish();
        written?;
        out.finish()
    }

    async fn write_store(&self, url: &StoreUrl, out: &mut Output) -> Result<()> {
        let source = store::open_reading(url).await?;
        let mut export = transfer::Export::begin(source, Position(self.after)).await?;
        if self.unchecked {
            export = export.unchecked();
        }
        while let Some(chunk) = export.next().await? {
            out.write(&chunk)?;
        }
        Ok(())
    }

    async fn write_host(&self, out: &mut Output) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "export"]);
        let request = request.query(&[("after", self.after)]);
        let mut response = client.send(request).await?;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => out.write(&chunk)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(client.unreached(&error)),
            }
        }
    }
}

/// Longest line that is parsed: the last one is short.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Stdout, and the state of the output so far.
#[derive(Default)]
struct Output {
    bar: Bar,
    bytes: u64,
    lines: u64,
    /// The last complete line; empty when it was a long one.
    last: Vec<u8>,
    /// The part after it.
    rest: Vec<u8>,
}

impl Output {
    fn write(&mut self, chunk: &Bytes) -> Result<()> {
        io::stdout().lock().write_all(chunk)?;
        self.bytes += chunk.len() as u64;
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() <= LINE_BYTES_MAX {
                self.rest.extend_from_slice(part);
            } else {
                self.rest.clear();
            }
            if part.ends_with(b"\n") {
                self.lines += 1;
                self.last.clear();
                self.last.append(&mut self.rest);
            }
        }
        self.bar.advance(self.bytes);
        self.bar.say(counted(self.lines, "line", "lines"));
        Ok(())
    }

    /// Reports what was written, if it is complete.
    fn finish(self) -> Result<()> {
        io::stdout().lock().flush()?;
        if let Ok(failed) = serde_json::from_slice::<Ended>(&self.last)
            && failed.r#type == FAILED
        {
            bail!(
                "the export ended early, and the output is incomplete: {}",
                failed.data.detail
            );
        }
        let end: Option<End<'_>> = serde_json::from_slice(&self.last).ok();
        let Some(End { data, .. }) = end.filter(|end| end.r#type == END && self.rest.is_empty())
        else {
            bail!("the export was cut off; the output is incomplete");
        };
        let (events, head) = (counted(data.events, "event", "events"), data.head);
        _ = writeln!(io::stderr(), "exported {events}, up to position {head}");
        Ok(())
    }
}

/// The last line of an export that ended early.
#[derive(Deserialize)]
struct Ended {
    r#type: String,
    data: Reason,
}

#[derive(Deserialize)]
struct Reason {
    detail: String,
}

#[derive(Deserialize)]
struct End<'a> {
    r#type: &'a str,
    data: Counts,
}

#[derive(Deserialize)]
struct Counts {
    events: u64,
    head: u64,
}
