//! Shared code of export, import, backup and migrate.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use super::exit::WrongUse;
use quipu::store::StoreUrl;

/// The address of a store, as a person has typed it.
pub fn store_url(text: &str) -> Result<StoreUrl, WrongUse> {
    text.parse().map_err(|error| WrongUse(format!("{error}")))
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
