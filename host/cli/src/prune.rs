use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::access::Reason;
use super::table::{Table, counted, grouped, id, number, short, time};
use super::{Client, Connection};
use quipu_api::PrunedView;

/// Remove components that were never activated
///
/// These are components that a preflight or a deployment uploaded, and that no activation and no
/// event names. A component that was active once stays forever, because the history is re-decided
/// with it.
#[derive(Debug, Args)]
pub struct Prune {
    /// Only those that were uploaded at least this many hours ago
    #[arg(long, value_name = "H", default_value_t = 24)]
    hours: u32,
    /// List them, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    reason: Reason,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Prune {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let older_than_s = u64::from(self.hours) * 3_600;
        let body = json!({ "older_than_s": older_than_s, "dry_run": self.dry_run });
        let request = client.request(Method::POST, &["v1", "modules", "prune"]);
        let pruned: PrunedView = client.json(self.reason.on(request.json(&body))).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&pruned)?)?;
            return Ok(());
        }
        let bytes: u64 = pruned.modules.iter().map(|module| module.bytes).sum();
        if !pruned.modules.is_empty() {
            let mut table = Table::new(&[id("digest"), number("bytes"), time("uploaded at")]);
            for module in &pruned.modules {
                let digest = short(&module.digest);
                table.row([digest, grouped(module.bytes), module.uploaded_at.clone()]);
            }
            table.write(&mut out)?;
        }
        let bytes = grouped(bytes);
        let count = counted(pruned.modules.len() as u64, "component", "components");
        let verb = if pruned.removed {
            "removed"
        } else {
            "to be removed"
        };
        writeln!(out, "{count} of {bytes} bytes {verb}")?;
        Ok(())
    }
}
