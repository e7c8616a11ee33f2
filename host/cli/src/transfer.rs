//! Shared code of export, import, backup and migrate.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::WrongUse;
use super::secret::{PASSWORD_SHOWN, Secret, has_password};
use quipu::store::{self, Store, StoreUrl};

/// In place of `--store`, of the commands that open a store.
#[derive(Debug, Args)]
pub struct StoreFile {
    /// A file whose only line is the address of the store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    store_file: Option<PathBuf>,
}

impl StoreFile {
    /// The address of the store, from the file if there is one.
    ///
    /// # Errors
    /// When the file can't be read, or the address is malformed.
    pub fn or(&self, given: &Secret) -> Result<StoreUrl, WrongUse> {
        let url = self.or_option(Some(given))?;
        url.ok_or_else(|| WrongUse("there is no store; name it with --store".to_owned()))
    }

    /// The same for a command that can do without a store.
    ///
    /// # Errors
    /// As [`StoreFile::or`].
    pub fn or_option(&self, given: Option<&Secret>) -> Result<Option<StoreUrl>, WrongUse> {
        let address = match &self.store_file {
            Some(path) => Some(Secret::read(path)?),
            None => given.cloned(),
        };
        let Some(address) = address else {
            return Ok(None);
        };
        if self.store_file.is_none() && has_password(address.reveal()) {
            // The reader may be gone.
            _ = writeln!(io::stderr(), "warning: {PASSWORD_SHOWN}");
        }
        let url = address.reveal().parse();
        url.map(Some).map_err(|error| WrongUse(format!("{error}")))
    }
}

/// Another host has the store open, and can do what the command does.
#[derive(Debug, thiserror::Error)]
#[error("{0}, or leave out --store to ask that host")]
struct HasHost(#[source] store::Error);

/// Opens a store for a command that asks a host if it is not given a store.
///
/// # Errors
/// When it can't be opened, or another host has it open.
pub async fn open(url: &StoreUrl) -> Result<Store> {
    match store::open(url).await {
        Err(error @ store::Error::InUse(_)) => Err(HasHost(error).into()),
        opened => Ok(opened?),
    }
}

/// A progress bar for bytes on stderr; none if stderr is not a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for this many bytes, if known.
    pub fn new(bytes: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let (bar, style) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{bar:20} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left",
            ),
            None => (
                ProgressBar::no_length(),
                "{spinner} {bytes}  {bytes_per_sec}  {msg}",
            ),
        };
        let style = ProgressStyle::with_template(style);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// This many bytes have passed.
    pub fn advance(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// Prints a message next to the bar.
    pub fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new(None)
    }
}
