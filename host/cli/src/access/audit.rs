use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use crate::exit::reported;
use crate::table::{Table, counted, number, text, time, word};
use crate::{Client, Connection};
use quipu_api::{AuditCheck, AuditList, AuditView};

/// Records that one request asks for.
const PAGE: usize = 1_000;
/// Pause between two checks for new records.
const FOLLOW: Duration = Duration::from_secs(1);

/// Show who did what to the store, and what was denied
///
/// Each record has a digest over itself and the digest before it. Keep the digest that --verify
/// prints somewhere else: it shows later whether records were removed at the end.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only records after this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Check the digests; exit code 1 when a record was changed, added or removed
    #[arg(long, conflicts_with_all = ["after", "follow"])]
    verify: bool,
    /// Go on with new records as they come
    #[arg(long)]
    follow: bool,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Audit {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        if self.verify {
            return self.check(&client).await;
        }
        let columns = [
            number("number"),
            time("at"),
            word("who"),
            word("operation"),
            text("path"),
            word("result"),
            text("reason").if_not_empty(),
            word("from").if_there_is_room(),
        ];
        let mut table = Table::new(&columns);
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut after = self.after;
        loop {
            let page = page(&client, after).await?;
            for record in &page.records {
                after = record.number;
                match self.json {
                    true => writeln!(out, "{}", serde_json::to_string(record)?)?,
                    false => table.row(row(record)),
                }
            }
            if page.next.is_some() {
                continue;
            }
            if !self.json {
                table.write(&mut out)?;
            }
            out.flush()?;
            if !self.follow {
                return Ok(());
            }
            table = Table::bare();
            tokio::time::sleep(FOLLOW).await;
        }
    }

    async fn check(&self, client: &Client) -> Result<()> {
        let request = client.request(Method::GET, &["v1", "audit", "check"]);
        let checked: AuditCheck = client.json(request).await?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&checked)?)?,
            false => {
                let records = counted(checked.records, "record", "records");
                let digest = &checked.digest;
                writeln!(out, "{records} in order; the last has the digest {digest}")?;
            }
        }
        match checked.broken {
            None => Ok(()),
            Some(number) => Err(reported(format!(
                "the audit is broken at record {number}: {}",
                checked.why.unwrap_or_default()
            ))),
        }
    }
}

async fn page(client: &Client, after: u64) -> Result<AuditList> {
    let query = [("after", after.to_string()), ("limit", PAGE.to_string())];
    let request = client.request(Method::GET, &["v1", "audit"]);
    client.json(request.query(&query)).await
}

fn row(record: &AuditView) -> [String; 8] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        record.number.to_string(),
        record.at.clone(),
        or_none(&record.principal),
        record.operation.clone(),
        record.object.clone(),
        record.result.clone(),
        record.reason.clone().unwrap_or_default(),
        or_none(&record.origin),
    ]
}
