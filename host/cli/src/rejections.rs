use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::table::{Table, id, number, text, time, word};
use super::{Client, Connection};

/// Number of rejections that one request asks for.
const PAGE: u64 = 100;

/// List the last commands that the domain rejected, newest first
#[derive(Debug, Args)]
pub struct Rejections {
    /// Only of streams of this category
    category: Option<String>,
    /// Only of this stream
    #[arg(long, value_name = "STREAM", conflicts_with = "category")]
    stream: Option<String>,
    /// At most N rejections
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    rejections: Vec<&'a RawValue>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Rejected<'a> {
    accepted_at: String,
    stream: String,
    version: u64,
    command: String,
    principal: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    content_type: Option<String>,
    code: String,
    message: String,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
    details_content_type: Option<String>,
}

impl Rejections {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            time("accepted at").if_there_is_room(),
            id("stream"),
            number("version").if_there_is_room(),
            word("command"),
            word("principal").if_not_empty(),
            text("data").if_there_is_room(),
            word("code"),
            text("message"),
            text("details").if_not_empty(),
        ]);
        let (mut left, mut before) = (self.limit, None::<u64>);
        while left > 0 {
            let mut query = vec![("limit", PAGE.min(left).to_string())];
            query.extend(self.category.iter().map(|name| ("category", name.clone())));
            query.extend(self.stream.iter().map(|name| ("stream", name.clone())));
            query.extend(before.map(|before| ("before", before.to_string())));
            let request = client.request(Method::GET, &["v1", "rejections"]);
            let body = client.send(request.query(&query)).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= left.min(page.rejections.len() as u64);
            for rejected in page.rejections {
                match self.json {
                    true => writeln!(out, "{}", one_lined(rejected.get()))?,
                    false => table.row(row(serde_json::from_str(rejected.get())?)),
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        if !self.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn row(rejected: Rejected<'_>) -> [String; 9] {
    [
        rejected.accepted_at,
        one_lined(&rejected.stream),
        rejected.version.to_string(),
        one_lined(&rejected.command),
        rejected.principal.unwrap_or_else(|| "-".to_owned()),
        shown(rejected.data, rejected.content_type),
        one_lined(&rejected.code),
        one_lined(&rejected.message),
        shown(rejected.details, rejected.details_content_type),
    ]
}

/// JSON on one line; of anything else the media type.
fn shown(data: Option<&RawValue>, content_type: Option<String>) -> String {
    match data {
        Some(data) => one_lined(data.get()),
        None => content_type.unwrap_or_default(),
    }
}
