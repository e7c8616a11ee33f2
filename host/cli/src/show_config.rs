//! `quipu config`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::config::{self, Config, Flags};
use super::exit::WrongUse;
use super::tenant_rules::TenantRules;
use super::{log, rules, tls};
use quipu::deploy::Signing;
use quipu::store::StoreUrl;

/// Show the configuration that `serve` would use
///
/// Prints every key with its value as TOML. A variable of the environment takes precedence over the
/// file. Secrets are shown as ***. Ends with exit code 2 when something is wrong; each mistake is
/// named with its place.
#[derive(Debug, Args)]
pub struct ShowConfig {
    /// The configuration file of the host
    #[arg(
        long,
        value_name = "FILE",
        env = "QUIPU_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Also print where each value comes from: default, file and line, variable of the environment
    #[arg(long)]
    sources: bool,
    /// Only check the configuration, with the files that it names and the folder of the store
    #[arg(long, conflicts_with = "sources")]
    check: bool,
    /// Print the JSON Schema of the file
    #[arg(long, conflicts_with_all = ["sources", "check", "json"])]
    schema: bool,
    /// Print a file with every key, its default and a description
    #[arg(long, conflicts_with_all = ["sources", "check", "json", "schema"])]
    reference: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ShowConfig {
    pub fn run(self) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.reference {
            write!(out, "{}", config::reference())?;
            return Ok(());
        }
        if self.schema {
            writeln!(out, "{:#}", config::schema())?;
            return Ok(());
        }
        // Unknown parameters of a store's address are logged.
        let _written = log::start();
        let config = Config::load(self.config.as_deref(), &Flags::default())?;
        if self.check {
            check_store(&config)?;
            tls::load(&config.tls())?;
            let rules = rules::load(&config.access(), None)?;
            rules::check(&rules, "access.", &config.tls())?;
            let signing = Signing::by(config.keys()?);
            TenantRules::new(config.tenants().rules, config.tls(), signing).check_all()?;
            match self.json {
                true => writeln!(out, "{}", json!({ "valid": true }))?,
                false => writeln!(out, "the configuration is valid")?,
            }
            return Ok(());
        }
        let in_force = config.in_force();
        match (self.json, self.sources) {
            (false, with_sources) => write!(out, "{}", config::toml(&in_force, with_sources))?,
            (true, false) => writeln!(out, "{}", config::json(&in_force))?,
            (true, true) => {
                for it in &in_force {
                    let line = json!({
                        "key": it.key.path(),
                        "value": it.value,
                        "source": it.source.name(),
                        "place": it.source.to_string(),
                    });
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(())
    }
}

/// Checks that a host could write its SQLite file. Neither creates nor opens the store.
///
/// # Errors
/// When the folder is missing, or the folder or the file can't be written.
fn check_store(config: &Config) -> Result<(), WrongUse> {
    let wrong = |why: String| WrongUse(format!("{}: store: {why}", config.source("store")));
    let store = config.general().store;
    let url = store.reveal().parse::<StoreUrl>();
    let StoreUrl::Sqlite(file) = url.map_err(|error| wrong(error.to_string()))? else {
        return Ok(());
    };
    // The WAL and the lock are next to the file itself, not next to a link.
    let file = file.canonicalize().unwrap_or(file);
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(wrong(format!(
            "there is no folder {shown}; make it, or name another path"
        )));
    }
    let remedy = "let the user who runs the host write there, or name another path";
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(wrong(format!(
            "the folder {shown} can't be written: {error}; {remedy}"
        )));
    }
    if file.is_file()
        && let Err(error) = OpenOptions::new().write(true).open(&file)
    {
        let shown = file.display();
        return Err(wrong(format!(
            "the file {shown} can't be written: {error}; {remedy}"
        )));
    }
    Ok(())
}
