//! The documents that the projections of `loan-views` made from the commands.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::table::{Table, grouped, number, word};
use quipu::Host;
use quipu::model::Position;
use quipu::projection::{Error, Freshness, OrderBy, Query, View, WAIT_MAX};

const PROJECTIONS: [&str; 3] = ["applications", "officers", "pipeline"];
/// Documents of a page.
const PAGE: usize = 1_000;
/// Number of officers to show.
const OFFICERS: usize = 5;

/// Documents that were updated while the commands were executed.
#[derive(Debug, Serialize)]
pub struct ReadModel {
    /// How long after the last command the documents contained everything.
    pub caught_up_ms: u64,
    /// Number of applications by status.
    #[serde(skip)]
    pub applications: BTreeMap<String, u64>,
    /// Sum of the amounts granted, in euros.
    #[serde(skip)]
    pub granted_euros: u64,
    /// Statistics of all applications.
    pub pipeline: Option<Value>,
    /// The officers with the most events, the busiest first.
    pub busiest_officers: Vec<Value>,
    /// The application that was changed last.
    pub application: Option<Value>,
}

/// The part of an application that is shown.
#[derive(Deserialize)]
struct Application {
    status: String,
    granted: Option<u64>,
}

/// The part of the pipeline that is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Pipeline {
    reached: BTreeMap<String, u64>,
    requested_euros: u64,
    granted_euros: u64,
    offers: BTreeMap<String, u64>,
    work: BTreeMap<String, u64>,
}

/// The part of an officer that is shown.
#[derive(Deserialize)]
struct Officer {
    name: String,
    events: u64,
    offers: u64,
    approved: u64,
}

impl ReadModel {
    /// Waits until the documents contain everything up to `head`, and reads them.
    pub async fn of(host: &Host, head: Position) -> Result<Self> {
        let begin = Instant::now();
        for projection in PROJECTIONS {
            caught_up(host, projection, head).await?;
        }
        let caught_up_ms = u64::try_from(begin.elapsed().as_millis())?;
        let (mut applications, mut granted_euros) = (BTreeMap::new(), 0u64);
        let mut newest: Option<View> = None;
        let mut query = Query {
            limit: PAGE,
            ..Query::default()
        };
        loop {
            let page = host.views("applications", &query, any()).await?;
            for view in page.documents {
                let application: Application = read(&view)?;
                *applications.entry(application.status).or_default() += 1;
                granted_euros = granted_euros.saturating_add(application.granted.unwrap_or(0));
                if newest
                    .as_ref()
                    .is_none_or(|newest| newest.change < view.change)
                {
                    newest = Some(view);
                }
            }
            query.cursor = page.cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        Ok(Self {
            caught_up_ms,
            applications,
            granted_euros,
            pipeline: pipeline(host).await?,
            busiest_officers: officers(host).await?,
            application: newest.map(|view| read(&view)).transpose()?,
        })
    }

    /// Tables for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "documents of three projections had every event {} ms after the last command",
            grouped(self.caught_up_ms)
        )?;
        if let Some(pipeline) = &self.pipeline {
            print_pipeline(&Pipeline::deserialize(pipeline)?, out)?;
        }
        let mut table = Table::new(&[
            word("busiest officers"),
            number("events"),
            number("offers"),
            number("euros approved"),
        ]);
        for officer in &self.busiest_officers {
            let officer = Officer::deserialize(officer)?;
            table.row([
                officer.name,
                grouped(officer.events),
                grouped(officer.offers),
                grouped(officer.approved),
            ]);
        }
        writeln!(out)?;
        table.write(out)?;
        if let Some(application) = &self.application {
            writeln!(
                out,
                "\nthe application that was changed last:\n{application}"
            )?;
        }
        Ok(())
    }

    /// Key of the application to show.
    pub fn application_key(&self) -> Option<&str> {
        self.application.as_ref()?["id"].as_str()
    }
}

fn print_pipeline(pipeline: &Pipeline, out: &mut impl Write) -> io::Result<()> {
    let counts = |counts: &BTreeMap<String, u64>| {
        let mut counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let counts = counts.into_iter();
        let each: Vec<String> = counts
            .map(|(name, count)| format!("{} {name}", grouped(*count)))
            .collect();
        each.join(", ")
    };
    writeln!(out, "\npipeline")?;
    for (what, text) in [
        ("reached", counts(&pipeline.reached)),
        ("offers", counts(&pipeline.offers)),
        ("work", counts(&pipeline.work)),
    ] {
        writeln!(out, "  {what:<8}{text}")?;
    }
    writeln!(
        out,
        "  {:<8}{} requested, {} granted",
        "euros",
        grouped(pipeline.requested_euros),
        grouped(pipeline.granted_euros)
    )
}

/// Waits as long as the projection makes progress.
async fn caught_up(host: &Host, projection: &str, head: Position) -> Result<()> {
    let freshness = Freshness {
        after: head,
        wait: WAIT_MAX,
    };
    let query = Query {
        limit: 1,
        ..Query::default()
    };
    let mut last = None;
    loop {
        match host.views(projection, &query, freshness).await {
            Err(Error::NotFresh { position, .. }) if last < Some(position) => {
                last = Some(position);
            }
            other => return Ok(other.map(|_| ())?),
        }
    }
}

async fn pipeline(host: &Host) -> Result<Option<Value>> {
    match host.view("pipeline", "all", any()).await {
        Ok(view) => Ok(Some(read(&view)?)),
        Err(Error::NoDocument { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn officers(host: &Host) -> Result<Vec<Value>> {
    let query = Query {
        order: Some(OrderBy {
            index: Some("events".to_owned()),
            is_descending: true,
        }),
        limit: OFFICERS,
        ..Query::default()
    };
    let page = host.views("officers", &query, any()).await?;
    page.documents.iter().map(read).collect()
}

/// The document, unchanged.
fn any() -> Freshness {
    Freshness::default()
}

fn read<'a, T: Deserialize<'a>>(view: &'a View) -> Result<T> {
    serde_json::from_str(&view.document).with_context(|| format!("the document {}", view.key))
}
