use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::access::{LocalDeed, line};
use super::exit::WrongUse;
use super::secret::Secret;
use super::transfer::StoreFile;
use quipu::access;
use quipu::model::SystemClock;
use quipu::store::{self, Loss, StoreUrl};

/// Accept that acknowledged events are lost, so that hosts write
///
/// After the promotion of a standby that lacks acknowledged events, no host writes. This command
/// prints which positions are missing, records the reason in the audit, and lets hosts that are
/// started afterwards write. Restart every host, because states in its memory may contain lost
/// events. No lost position is used for another event.
#[derive(Debug, Args)]
pub struct AcceptLoss {
    /// The store: postgres://…
    #[arg(long, value_name = "URL", required_unless_present = "store_file")]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Why, for the audit: one line
    #[arg(long, value_name = "TEXT", value_parser = line, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Only show what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl AcceptLoss {
    pub async fn run(self) -> Result<()> {
        let Some(url) = self.store_file.or_option(self.store.as_ref())? else {
            return Err(WrongUse("there is no store; name it with --store".to_owned()).into());
        };
        let Some(loss) = store::lost(&url).await? else {
            bail!("no host has found that acknowledged events are missing in this store");
        };
        if !self.dry_run && !accept(&url, &loss, self.reason.as_deref()).await? {
            match store::lost(&url).await? {
                Some(_) => bail!(
                    "meanwhile a host has found that more is missing; run the command once more"
                ),
                None => bail!(
                    "somebody else has accepted it meanwhile; restart every host of this store"
                ),
            }
        }
        let mut out = io::stdout().lock();
        if self.json {
            let line = json!({
                "from": loss.from,
                "to": loss.to,
                "accepted": !self.dry_run,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "missing   the events at {}", loss.range())?;
            if !self.dry_run {
                writeln!(out, "accepted  restart every host of this store")?;
            }
        }
        Ok(())
    }
}

/// Accepts a loss, and records that in the audit. Returns false when more is missing by now.
async fn accept(url: &StoreUrl, loss: &Loss, reason: Option<&str>) -> Result<bool> {
    let store = store::open(url).await?;
    let audit = access::Audit::new(Arc::clone(&store.audit), Arc::new(SystemClock));
    let deed = LocalDeed::begin(audit, "accept_loss", &loss.range(), reason).await?;
    let is_accepted = store::accept_loss(url, loss).await?;
    match is_accepted {
        true => deed.done().await?,
        false => deed.withdraw().await?,
    }
    store.writer.close().await?;
    Ok(is_accepted)
}
