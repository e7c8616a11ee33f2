use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Host;
use crate::cli::execute;
use crate::cli::file::Summary;
use crate::cli::table::{Table, grouped};
use crate::model::{Name, Position, StreamId};
use crate::store::{Direction, Filter, LOG_PAGE_MAX};

/// States that are folded at a time.
const STATES_AT_ONCE: usize = 4;

/// What the demo came to.
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
    /// Applications by the status that they ended with, as their decider tells it.
    pub applications: BTreeMap<String, u64>,
    /// Sum of the amounts granted, in euros.
    pub granted_euros: u64,
}

/// What the loan guest shows of an application.
#[derive(Deserialize)]
struct View {
    status: String,
    granted_amount: Option<u64>,
}

impl Report {
    /// Asks every application for its state.
    pub async fn of(host: &Host, summary: Summary) -> Result<Self> {
        let transactions = host.batches();
        let streams = applications(host).await?;
        let views: Vec<View> = futures::stream::iter(streams)
            .map(|stream| view(host, stream))
            .buffer_unordered(STATES_AT_ONCE)
            .try_collect()
            .await?;
        let mut applications = BTreeMap::new();
        let mut granted_euros = 0u64;
        for view in views {
            *applications.entry(view.status).or_default() += 1;
            granted_euros = granted_euros.saturating_add(view.granted_amount.unwrap_or(0));
        }
        let events = host.log_head().await?.0;
        let commands_per_second = summary.rate();
        Ok(Self {
            summary,
            commands_per_second,
            events,
            transactions,
            applications,
            granted_euros,
        })
    }

    /// Tables for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        execute::print(&self.summary, out)?;
        writeln!(out)?;
        let mut table = Table::new(&["applications", "count"]);
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
        )
    }
}

/// The stream of every application: each begins with the same type of event.
async fn applications(host: &Host) -> Result<Vec<StreamId>> {
    let filter = Filter {
        categories: Some(vec!["loan".into()]),
        types: Some(vec![Name::new("application-submitted")?]),
        ..Filter::default()
    };
    let (mut streams, mut after) = (Vec::new(), Position(0));
    loop {
        let page = host
            .read_log(after, Direction::Forward, LOG_PAGE_MAX, &filter)
            .await?;
        streams.extend(page.events.into_iter().map(|event| event.stream));
        match page.next {
            Some(next) => after = next,
            None => return Ok(streams),
        }
    }
}

async fn view(host: &Host, stream: StreamId) -> Result<View> {
    let shown = host.state(&stream).await?;
    serde_json::from_str(&shown.state).with_context(|| format!("the state of {stream}"))
}
