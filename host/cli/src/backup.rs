use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::secret::Secret;
use super::table::grouped;
use super::transfer::{Bar, StoreFile};
use quipu::store;

/// Copy a SQLite store into a folder, also while its host runs
///
/// The copy has the name of the store's file, contains the log at one point in time, and is a store
/// itself. An existing file is not replaced. For PostgreSQL use `pg_dump`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The folder; created if missing
    dir: PathBuf,
    /// The store
    #[arg(long, value_name = "URL", default_value = "sqlite:quipu.db")]
    store: Secret,
    #[command(flatten)]
    store_file: StoreFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub async fn run(self) -> Result<()> {
        let url = self.store_file.or(&self.store)?;
        let bytes = match &url {
            store::StoreUrl::Sqlite(path) => path.metadata().map(|it| it.len()).ok(),
            _ => None,
        };
        let bar = Bar::new(bytes);
        let copied = store::backup(&url, &self.dir, &mut |bytes| bar.advance(bytes)).await;
        bar.finish();
        let copied = copied?;
        let (path, bytes) = (copied.path.display(), copied.bytes);
        let mut out = io::stdout().lock();
        if self.json {
            let json = json!({ "path": path.to_string(), "bytes": bytes });
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{path}: {} bytes", grouped(bytes))?;
        }
        Ok(())
    }
}
