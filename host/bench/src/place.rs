//! Where a measurement keeps its store: a new one each time.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Options;
use quipu::store::{self, StoreUrl};

/// A store of its own for one measurement.
pub struct Place {
    url: String,
    /// Removed with all that is in it when it is dropped.
    _folder: Option<TempDir>,
}

impl Place {
    /// A SQLite file in a temporary folder, or a fresh schema in the database that the
    /// options name.
    pub fn new(options: &Options) -> Result<Self> {
        if let Some(database) = &options.store {
            let separator = if database.contains('?') { '&' } else { '?' };
            let schema = format!("bench_{:016x}", rand::random::<u64>());
            return Ok(Self {
                url: format!("{database}{separator}schema={schema}"),
                _folder: None,
            });
        }
        let folder = match &options.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        };
        let folder = folder.context("no folder for the store")?;
        Ok(Self {
            url: format!("sqlite:{}", folder.path().join("bench.db").display()),
            _folder: Some(folder),
        })
    }

    /// The store's address.
    pub fn url(&self) -> Result<StoreUrl> {
        Ok(self.url.parse()?)
    }

    /// Removes the store. Nobody has it open any more.
    pub async fn remove(self) -> Result<()> {
        if let StoreUrl::Postgres(url) = self.url()? {
            store::drop_schema(&url).await?;
        }
        Ok(())
    }
}
