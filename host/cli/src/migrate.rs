use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::access::LocalDeed;
use super::exit::reported;
use super::runs::bar;
use super::secret::Secret;
use super::table::{Table, counted, grouped};
use super::transfer::StoreFile;
use quipu::access::Audit;
use quipu::model::SystemClock;
use quipu::store::{self, Migrated, Proving, StoreUrl};

/// Bring a store to the schema version of this program
///
/// A SQLite file must exist; in PostgreSQL, a store that does not exist is created. Hosts on
/// PostgreSQL may run meanwhile if only tables and columns are added; otherwise the command is
/// refused until they are stopped. A host has a SQLite file for itself.
///
/// With --prove, it also adds digests to commits that have none, because they are older than digests
/// or were imported without. A run that was interrupted can be repeated.
#[derive(Debug, Args)]
pub struct Migrate {
    /// The store: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL", default_value = "sqlite:quipu.db")]
    store: Secret,
    #[command(flatten)]
    store_file: StoreFile,
    /// Add digests to commits that have none
    #[arg(long)]
    prove: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub async fn run(self) -> Result<()> {
        let url = self.store_file.or(&self.store)?;
        if matches!(url, StoreUrl::Sqlite(_)) {
            // A wrong path would create a store that nobody uses.
            store::check_exists(&url).await?;
        }
        let migrated = store::migrate(&url).await?;
        let Migrated { from, to } = migrated;
        if from != to {
            record(&url, migrated).await.with_context(|| {
                format!(
                    "the store was migrated from schema version {from} to {to}, but the audit has \
                     no record of it"
                )
            })?;
        }
        let proving = match self.prove {
            true => Some(prove(&url).await?),
            false => None,
        };
        let mut out = io::stdout().lock();
        if self.json {
            let mut line = json!({ "from": from, "to": to });
            if let Some(proving) = proving {
                line["added"] = proving.added.into();
                line["present"] = proving.present.into();
                line["wrong"] = proving.wrong.into();
            }
            writeln!(out, "{line}")?;
        } else {
            let mut table = Table::bare();
            table.row(["schema version before".to_owned(), from.to_string()]);
            table.row(["schema version now".to_owned(), to.to_string()]);
            if let Some(proving) = proving {
                table.row(["digests added".to_owned(), grouped(proving.added)]);
                table.row(["digests present".to_owned(), grouped(proving.present)]);
            }
            table.write(&mut out)?;
        }
        match proving.map_or(0, |proving| proving.wrong) {
            0 => Ok(()),
            wrong => Err(reported(format!(
                "{} not as written, and got no digest: start a host, and run `quipu verify \
                 --digests`, which names them",
                counted(wrong, "place of the log is", "places of the log are")
            ))),
        }
    }
}

/// Records a migration, after it: the store may not have had an audit before.
async fn record(url: &StoreUrl, Migrated { from, to }: Migrated) -> Result<()> {
    let store = store::open(url).await?;
    let audit = Audit::new(store.audit, Arc::new(SystemClock));
    let object = format!("schema version {from} to {to}");
    let deed = LocalDeed::begin(audit, "migrate", &object, None).await?;
    deed.done().await?;
    store.writer.close().await?;
    Ok(())
}

/// Adds digests to the commits of a store, and records that if one was missing.
async fn prove(url: &StoreUrl) -> Result<Proving> {
    let store = store::open(url).await?;
    let audit = Audit::new(store.audit, Arc::new(SystemClock));
    let deed = LocalDeed::begin(audit, "prove", "digests of commits", None).await?;
    let bar = bar();
    let mut report = |proving: Proving| {
        bar.set_length(proving.head.0);
        bar.set_position(proving.position.0);
    };
    let proving = store::prove(&*store.reader, &*store.digests, &mut report).await;
    bar.finish_and_clear();
    match &proving {
        Ok(proving) if proving.added > 0 => deed.done().await?,
        Ok(_) => deed.withdraw().await?,
        // What was added before is stored.
        Err(_) => deed.failed(true).await,
    }
    store.writer.close().await?;
    Ok(proving?)
}
