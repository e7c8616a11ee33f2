mod section;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::exit::WrongUse;
use quipu::model::{Invalid, PublicKey, check_metadata};
use quipu::{engine, projection, runtime, subscribe};
use quipu_server as http;
use section::Section;
use sections::{Engine, Guests, Http, Limits, Projections, Subscriptions};

/// The file of `quipu serve --config`: TOML. Unknown keys are rejected; a command-line flag takes
/// precedence over the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// As `--store`.
    pub store: Option<String>,
    /// As `--listen`.
    pub listen: Option<String>,
    /// As `--allow-unauthenticated`.
    pub allow_unauthenticated: bool,
    /// As `--modules`.
    pub modules: Option<PathBuf>,
    /// Where compiled components are stored.
    pub cache_dir: Option<PathBuf>,
    /// Public keys: the host accepts only modules that one of them has signed. `quipu key` makes
    /// one.
    pub keys: Vec<String>,
    /// Added to the metadata of every command and raw append, after the caller's members and never
    /// replacing them.
    metadata: BTreeMap<String, String>,
    engine: Engine,
    limits: Limits,
    guests: Guests,
    http: Http,
    subscriptions: Subscriptions,
    projections: Projections,
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let wrong = |why: String| WrongUse(format!("{}: {why}", path.display()));
        let config: Self = toml::from_str(&text).map_err(|error| wrong(shown(&text, &error)))?;
        config.check_metadata().map_err(wrong)?;
        config.check_numbers().map_err(wrong)?;
        Ok(config)
    }

    /// Rejects numbers with which the host could not work.
    fn check_numbers(&self) -> Result<(), String> {
        self.engine.check()?;
        self.limits.check()?;
        self.guests.check()?;
        self.http.check()?;
        // Each body must fit, whatever else there is.
        let bodies = self.http.bodies_bytes_max.as_ref();
        let least = self.http().bodies_bytes_least() as u64;
        section::check("http.bodies_bytes_max", bodies, least..=u64::MAX)?;
        self.subscriptions.check()?;
        self.projections.check()
    }

    /// Rejects metadata with which the host would reject every request.
    fn check_metadata(&self) -> Result<(), String> {
        let json = serde_json::to_vec(&self.metadata).map_err(|error| error.to_string())?;
        check_metadata(&json).map_err(|error| error.to_string())?;
        let max = self.engine().limits.metadata_bytes_max;
        if json.len() > max {
            let found = json.len();
            return Err(format!("[metadata] takes {found} bytes, more than {max}"));
        }
        Ok(())
    }

    /// Which modules the host accepts.
    pub fn keys(&self) -> Result<Vec<PublicKey>, WrongUse> {
        let keys = self.keys.iter().map(|key| key.parse());
        let keys: Result<_, Invalid> = keys.collect();
        keys.map_err(|error| WrongUse(format!("keys: {error}")))
    }

    /// Metadata for every command and raw append.
    pub fn additions(&self) -> engine::Additions {
        engine::Additions {
            metadata: self.metadata.clone().into_iter().collect(),
            principal: None,
        }
    }

    /// How commands are executed.
    pub fn engine(&self) -> engine::Options {
        let mut options = engine::Options::default();
        self.engine.apply(&mut options);
        self.limits.apply(&mut options.limits);
        options
    }

    /// Limits of guests.
    pub fn guests(&self) -> runtime::Limits {
        let mut limits = runtime::Limits::default();
        self.guests.apply(&mut limits);
        self.limits.apply(&mut limits.decision);
        limits
    }

    /// The compiler of components: this program in a separate process.
    ///
    /// # Errors
    /// When the path of this program is unknown.
    pub fn compiler(&self) -> std::io::Result<runtime::Compiler> {
        let mut compiler = runtime::Compiler::new(std::env::current_exe()?);
        self.guests.apply(&mut compiler);
        Ok(compiler)
    }

    /// Limits of subscriptions.
    pub fn subscriptions(&self) -> subscribe::Options {
        let mut options = subscribe::Options::default();
        self.subscriptions.apply(&mut options);
        options
    }

    /// How projections are run.
    pub fn projections(&self) -> projection::Options {
        let mut options = projection::Options::default();
        self.projections.apply(&mut options);
        options
    }

    /// Limits of requests.
    pub fn http(&self) -> http::Options {
        let mut options = http::Options::default();
        self.http.apply(&mut options);
        options.allow_unauthenticated = self.allow_unauthenticated;
        if let Some(largest) = self.guests.component_bytes_max {
            options.module_bytes_max = largest;
        }
        if self.http.bodies_bytes_max.is_none() {
            let wider = options.bodies_bytes_least().max(options.bodies_bytes_max);
            options.bodies_bytes_max = wider;
        }
        options
    }
}

/// An error with the lines that it is about; only the number of the line if they may contain the
/// address of a store.
fn shown(text: &str, error: &toml::de::Error) -> String {
    let shown = error.to_string();
    if !shown.contains("store =") && !shown.contains(['@', '?']) {
        return shown;
    }
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests;
