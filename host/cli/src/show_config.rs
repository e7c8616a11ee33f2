//! `quipu config`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::config::{self, Config, Flags};
use super::tenant_rules::TenantRules;
use super::{log, rules, tls};

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
    /// Only check the configuration, with the files that it names
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
            tls::load(&config.tls())?;
            let rules = rules::load(&config.access(), None)?;
            rules::check(&rules, "access.", &config.tls())?;
            TenantRules::new(config.tenants().rules, config.tls()).check_all()?;
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
