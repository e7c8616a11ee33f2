use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::execute::one_lined;
use super::table::{Table, grouped};
use super::{Client, Connection, runs};
use crate::http::{RunLine, VerifiedView};

/// Findings that are printed.
const PRINTED_MAX: usize = 10;

/// Decide the whole history again, and compare it with what is recorded
///
/// Every recorded command is decided anew by the module and the upcasters of its commit's
/// plan, on the state that the recorded events before it lead to; the events have to come
/// out the same, byte for byte. Snapshots are compared with the events, versions and commits
/// are checked. Nothing is written. Ends with 1 when something is found.
#[derive(Debug, Args)]
pub struct Verify {
    /// Streams of this category alone
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// So many streams, drawn at random
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    sample: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Verify {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut body = json!({});
        if let Some(category) = &self.category {
            body["category"] = category.as_str().into();
        }
        if let Some(sample) = self.sample {
            body["sample"] = sample.into();
        }
        let request = client.request(Method::POST, &["v1", "verify"]).json(&body);
        let response = client.send(request).await?;
        let (line, last) = runs::watched(response).await?;
        let RunLine::Verified(verified) = last else {
            bail!("the host answered with something else");
        };
        if self.json {
            writeln!(io::stdout(), "{}", line["verified"])?;
        } else {
            print(&verified)?;
        }
        match verified.found {
            0 => Ok(()),
            1 => bail!("the history is not sound: 1 finding"),
            found => bail!("the history is not sound: {} findings", grouped(found)),
        }
    }
}

fn print(verified: &VerifiedView) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let sum = |count: fn(&crate::http::TallyView) -> u64| verified.commands.iter().map(count).sum();
    let (same, different): (u64, u64) = (sum(|it| it.same), sum(|it| it.different));
    writeln!(
        out,
        "{} events up to position {}: {} decisions made again, {} the same",
        grouped(verified.events),
        grouped(verified.head),
        grouped(same + different),
        grouped(same),
    )?;
    if !verified.commands.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&["category", "command", "same", "different", "undecided"]);
        for tally in &verified.commands {
            table.row([
                one_lined(&tally.category),
                one_lined(&tally.command),
                grouped(tally.same),
                grouped(tally.different),
                grouped(tally.undecided),
            ]);
        }
        table.write(&mut out)?;
    }
    let (same, different): (u64, u64) = (sum(|it| it.refused_same), sum(|it| it.refused_different));
    if same + different > 0 {
        writeln!(
            out,
            "\n{} rejections made again, {} the same",
            grouped(same + different),
            grouped(same)
        )?;
    }
    let snapshots = &verified.snapshots;
    writeln!(
        out,
        "\n{} commits without a decision; snapshots: {} agree, {} differ, {} are not used",
        grouped(verified.raw),
        grouped(snapshots.agree),
        grouped(snapshots.differ),
        grouped(snapshots.unusable),
    )?;
    for finding in verified.findings.iter().take(PRINTED_MAX) {
        writeln!(out)?;
        runs::write_finding(finding, &mut out)?;
    }
    if verified.found > PRINTED_MAX as u64 {
        let left = verified.found - PRINTED_MAX as u64;
        writeln!(out, "\n{} more; --json has up to 100", grouped(left))?;
    }
    Ok(out.flush()?)
}
