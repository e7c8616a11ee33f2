use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::secret::Secret;
use super::table::Table;
use super::transfer::StoreFile;
use quipu::store;

/// Bring a store to the schema version of this program
///
/// No host may have the store open. A store that does not exist is created.
#[derive(Debug, Args)]
pub struct Migrate {
    /// The store: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL", default_value = "sqlite:quipu.db")]
    store: Secret,
    #[command(flatten)]
    store_file: StoreFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub async fn run(self) -> Result<()> {
        let url = self.store_file.or(&self.store)?;
        let store::Migrated { from, to } = store::migrate(&url).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json!({ "from": from, "to": to }))?;
            return Ok(());
        }
        let mut table = Table::bare();
        table.row(["schema version before".to_owned(), from.to_string()]);
        table.row(["schema version now".to_owned(), to.to_string()]);
        table.write(&mut out)?;
        Ok(())
    }
}
