//! Creates a new store for each measurement.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Options;
use quipu::store::{self, StoreUrl};

/// A separate store for one measurement.
pub struct Place {
    url: String,
    /// Removed with its contents when it is dropped.
    _folder: Option<TempDir>,
}

impl Place {
    /// Creates a SQLite file in a temporary folder, or a new schema in the database given in the
    /// options.
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

    /// The store's address, as text.
    pub fn address(&self) -> &str {
        &self.url
    }

    /// The store's address.
    pub fn url(&self) -> Result<StoreUrl> {
        Ok(self.url.parse()?)
    }

    /// Removes the store, which must no longer be open.
    pub async fn remove(self) -> Result<()> {
        if let StoreUrl::Postgres(url) = self.url()? {
            store::drop_schema(&url).await?;
        }
        Ok(())
    }
}
