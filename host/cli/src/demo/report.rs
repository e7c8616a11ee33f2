use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::read_model::ReadModel;
use crate::execute;
use crate::file::Summary;
use crate::table::{Table, grouped, number, word};
use quipu::Host;

/// The result of the demo.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub summary: Summary,
    /// Commands a second.
    pub commands_per_second: u64,
    /// Events in the log.
    pub events: u64,
    /// Durable transactions that the commands shared.
    pub transactions: u64,
    /// Number of applications by final status, from their documents.
    pub applications: BTreeMap<String, u64>,
    /// Sum of the amounts granted, in euros.
    pub granted_euros: u64,
    /// Documents that were updated meanwhile.
    pub read_model: ReadModel,
}

impl Report {
    /// Waits for the documents, and reads them.
    pub async fn of(host: &Host, summary: Summary) -> Result<Self> {
        let transactions = host.batches();
        let head = host.log_head().await?;
        let mut read_model = ReadModel::of(host, head).await?;
        let commands_per_second = summary.rate();
        Ok(Self {
            summary,
            commands_per_second,
            events: head.0,
            transactions,
            applications: std::mem::take(&mut read_model.applications),
            granted_euros: read_model.granted_euros,
            read_model,
        })
    }

    /// Tables for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        execute::print(&self.summary, out)?;
        writeln!(out)?;
        let mut table = Table::new(&[word("applications"), number("count")]);
        for (status, count) in &self.applications {
            table.row([status.clone(), grouped(*count)]);
        }
        table.row(["all".to_owned(), grouped(self.applications.values().sum())]);
        table.write(out)?;
        writeln!(
            out,
            "\n{} euros granted; {} events in {} durable transactions",
            grouped(self.granted_euros),
            grouped(self.events),
            grouped(self.transactions)
        )?;
        self.read_model.print(out)
    }
}
