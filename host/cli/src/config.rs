//! The configuration: a file, over it the environment, over that the command line.

mod key;
mod nearest;
mod print;
mod section;
mod sections;
mod sources;
mod tenant_file;
mod tenants;
mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use toml::Value as Toml;

use super::exit::WrongUse;
use super::log_format;
use super::secret::Secret;
use quipu::model::{Invalid, PublicKey, check_metadata};
use quipu::store::StoreUrl;
use quipu::{engine, projection, runtime, subscribe};
use quipu_server as http;
use section::Section;

pub use key::Key;
pub use print::{inline, json, reference, schema, toml};
pub use sections::{AccessFiles, Addresses, General, TlsFiles};
pub use sources::{Flags, Source};
pub use tenant_file::TenantFile;

macro_rules! sections {
    ($($field:ident: $section:ident;)*) => {
        /// The settings of a host.
        #[derive(Debug, Default, Clone)]
        pub struct Config {
            $($field: sections::$section,)*
            /// Where the value of a key comes from; a key with its default is not here.
            sources: BTreeMap<String, Source>,
        }

        /// Every key, by section: what the section is about, and its keys.
        pub const SECTIONS: &[(&str, &[Key])] =
            &[$((sections::$section::ABOUT, sections::$section::KEYS),)*];

        impl Config {
            fn set_value(&mut self, key: &Key, value: &Toml) -> Result<(), String> {
                $(if sections::$section::KEYS.iter().any(|own| own.section == key.section) {
                    return self.$field.set(key, value);
                })*
                Err(format!("there is no key {}", key.path()))
            }
        }
    };
}

sections! {
    top: Top;
    server: Server;
    tls: Tls;
    access: Access;
    engine: Engine;
    limits: Limits;
    guests: Guests;
    http: Http;
    subscriptions: Subscriptions;
    projections: Projections;
    mcp: Mcp;
    tenants: Tenants;
}

/// Every key.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|(_, keys)| keys.iter())
}

/// Checks the text of a configuration file.
///
/// # Errors
/// The mistakes, each with its place.
pub fn check(text: &str) -> Result<(), Vec<String>> {
    let mut found = sources::SourceValues::default();
    found.read_file(Path::new("quipu.toml"), text);
    Config::of(found).map(drop)
}

/// The keys of a section.
fn keys_of(section: &str) -> &'static [Key] {
    let of = SECTIONS
        .iter()
        .find(|(_, keys)| keys.iter().any(|key| key.section == section));
    of.map_or(&[], |(_, keys)| keys)
}

/// A key and its value.
pub struct InForce {
    /// The key.
    pub key: &'static Key,
    /// The value; none if nothing is set and nothing is the default.
    pub value: Option<Toml>,
    /// Where it comes from.
    pub source: Source,
}

impl Config {
    /// Reads all sources. A variable of the environment takes precedence over the file, a flag of
    /// the command line over both.
    ///
    /// # Errors
    /// When the file can't be read, or something in a source is wrong. Each mistake has a line, with
    /// its place.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, WrongUse> {
        let found = sources::read(file, std::env::vars_os(), flags);
        Self::of(found).map_err(|problems| WrongUse(problems.join("\n")))
    }

    /// The settings of what was found in the sources, from the weakest to the strongest.
    fn of(found: sources::SourceValues) -> Result<Self, Vec<String>> {
        let sources::SourceValues {
            settings,
            mut problems,
        } = found;
        let mut config = Self::default();
        for setting in settings {
            match config.set_value(setting.key, &setting.value) {
                Ok(()) => {
                    let path = setting.key.path();
                    config.sources.insert(path, setting.source);
                }
                Err(why) => problems.push(format!("{}: {why}", setting.source)),
            }
        }
        problems.extend(config.read_store().err());
        let checks = [
            ("store", config.check_store()),
            ("log", config.check_log()),
            (
                "log_format",
                log_format::is_json(&config.general().log_format).map(drop),
            ),
            ("keys", config.keys().map(drop).map_err(|error| error.0)),
            ("metadata", config.check_metadata()),
            ("http.bodies_bytes_max", config.check_bodies()),
            ("tls.certificate", config.check_tls()),
            ("mcp.mode", config.mcp().map(drop)),
            ("tenants.place", config.check_tenants()),
        ];
        for (path, checked) in checks {
            if let Err(why) = checked {
                problems.push(format!("{}: {why}", config.source(path)));
            }
        }
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// The keys whose values differ in another configuration.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (own, others) = (self.in_force(), other.in_force());
        let pairs = own.iter().zip(&others);
        let differing = pairs.filter(|(own, other)| own.value != other.value);
        let mut paths: Vec<String> = differing.map(|(own, _)| own.key.path()).collect();
        // Its secret parts are not in what is shown.
        let is_other = self.general().store != other.general().store;
        if is_other && !paths.iter().any(|path| path == "store") {
            paths.insert(0, "store".to_owned());
        }
        paths
    }

    /// Where the value of a key comes from.
    pub fn source(&self, path: &str) -> Source {
        let known = self.sources.get(path);
        // The certificate and its key belong together.
        let known = known.or_else(|| match path {
            "tls.certificate" => self.sources.get("tls.key"),
            _ => None,
        });
        known.cloned().unwrap_or(Source::Default)
    }

    /// Reads the address of the store from its file, if that takes precedence over an address.
    fn read_store(&mut self) -> Result<(), String> {
        let Some(path) = &self.top.store_file else {
            return Ok(());
        };
        let (given, file) = (self.source("store"), self.source("store_file"));
        if given.rank() > file.rank() {
            self.top.store_file = None;
            self.sources.remove("store_file");
            return Ok(());
        }
        if given.rank() == file.rank() {
            return Err(format!(
                "{file}: store_file and store ({given}) exclude each other; leave one out"
            ));
        }
        let store = Secret::read(path).map_err(|why| format!("{file}: store_file: {why}"))?;
        self.top.store = Some(store);
        self.sources.insert("store".to_owned(), file);
        Ok(())
    }

    fn check_store(&self) -> Result<(), String> {
        let url = self.general().store.reveal().parse::<StoreUrl>();
        url.map(drop).map_err(|error| format!("{error}"))
    }

    fn check_log(&self) -> Result<(), String> {
        let log = self.general().log;
        super::log::filter(&log).map(drop).map_err(|error| {
            format!("log is {log:?}, which is not a filter as info or quipu=debug: {error}")
        })
    }

    /// Rejects metadata with which the host would reject every request.
    fn check_metadata(&self) -> Result<(), String> {
        let metadata = self.general().metadata;
        let json = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
        check_metadata(&json).map_err(|error| error.to_string())?;
        let max = self.engine().limits.metadata_bytes_max;
        if json.len() > max {
            let found = json.len();
            return Err(format!("metadata takes {found} bytes, more than {max}"));
        }
        Ok(())
    }

    /// Each body must fit, whatever else there is.
    fn check_bodies(&self) -> Result<(), String> {
        let least = self.http().bodies_bytes_least();
        match self.http.bodies_bytes_max {
            Some(given) if given < least => Err(key::out_of_range(
                "http.bodies_bytes_max",
                given as u64,
                &format!("{least} or more"),
            )),
            _ => Ok(()),
        }
    }

    fn check_tls(&self) -> Result<(), String> {
        let why = match self.tls() {
            TlsFiles {
                certificate: Some(_),
                key: None,
                ..
            } => "tls.key is missing: tls.certificate needs the private key, too",
            TlsFiles {
                certificate: None,
                key: Some(_),
                ..
            } => "tls.certificate is missing: tls.key needs the certificate, too",
            TlsFiles {
                certificate: None,
                client_authorities: Some(_),
                ..
            } => "tls.certificate is missing: only with TLS can a client show a certificate",
            TlsFiles {
                client_authorities: None,
                client_required: true,
                ..
            } => "tls.client_authorities is missing: tls.client_required needs it",
            _ => return Ok(()),
        };
        Err(why.to_owned())
    }

    /// What the host serves, and where.
    pub fn general(&self) -> General {
        let mut general = General::default();
        self.top.apply(&mut general);
        general
    }

    /// Further addresses.
    pub fn addresses(&self) -> Addresses {
        let mut addresses = Addresses::default();
        self.server.apply(&mut addresses);
        addresses
    }

    /// Limits of each caller.
    pub fn callers(&self) -> http::Limits {
        let mut limits = http::Limits::default();
        self.limits.apply(&mut limits);
        limits
    }

    /// The keys of these limits. Their section has limits of appends, too.
    pub fn caller_keys() -> Vec<String> {
        let values = sections::Limits::values(&http::Limits::default());
        let keys = values.into_iter().map(|(name, _)| format!("limits.{name}"));
        keys.collect()
    }

    /// The files of the certificate.
    pub fn tls(&self) -> TlsFiles {
        let mut tls = TlsFiles::default();
        self.tls.apply(&mut tls);
        tls
    }

    /// The files of identities and of the policy.
    pub fn access(&self) -> AccessFiles {
        let mut access = AccessFiles::default();
        self.access.apply(&mut access);
        access
    }

    /// Which modules the host accepts.
    pub fn keys(&self) -> Result<Vec<PublicKey>, WrongUse> {
        let keys = self.general().keys;
        let keys: Result<_, Invalid> = keys.iter().map(|key| key.parse()).collect();
        keys.map_err(|error| WrongUse(format!("keys: {error}")))
    }

    /// Metadata for every command and direct append.
    pub fn additions(&self) -> engine::Additions {
        engine::Additions {
            metadata: self.general().metadata.into_iter().collect(),
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

    /// Which tools for agents there are; none without any.
    pub fn mcp(&self) -> Result<Option<quipu_mcp::Mode>, String> {
        match &*self.mcp_settings().mode {
            "off" => Ok(None),
            "read" => Ok(Some(quipu_mcp::Mode::Read)),
            "propose" => Ok(Some(quipu_mcp::Mode::Propose)),
            "act" => Ok(Some(quipu_mcp::Mode::Act)),
            other => Err(format!(
                "mode is {other:?}; expected off, read, propose or act"
            )),
        }
    }

    fn mcp_settings(&self) -> sections::McpSettings {
        let mut settings = sections::McpSettings::default();
        self.mcp.apply(&mut settings);
        settings
    }

    /// Limits of requests.
    pub fn http(&self) -> http::Options {
        let mut options = http::Options::default();
        self.http.apply(&mut options);
        options.limits = Arc::new(http::Limiter::new(self.callers()));
        // It was checked when the configuration was read.
        options.mcp = self.mcp().unwrap_or_default();
        options.approve_own_proposals = self.mcp_settings().approve_own;
        if let Some(largest) = self.guests.component_bytes_max {
            options.module_bytes_max = largest;
        }
        if self.http.bodies_bytes_max.is_none() {
            let wider = options.bodies_bytes_least().max(options.bodies_bytes_max);
            options.bodies_bytes_max = wider;
        }
        options
    }

    /// Every key with the value that is in force.
    pub fn in_force(&self) -> Vec<InForce> {
        let mut compiler = runtime::Compiler::new(Default::default());
        self.guests.apply(&mut compiler);
        let values = [
            ("", sections::Top::values(&self.general())),
            ("server", sections::Server::values(&self.addresses())),
            ("tls", sections::Tls::values(&self.tls())),
            ("access", sections::Access::values(&self.access())),
            ("engine", sections::Engine::values(&self.engine())),
            ("limits", sections::Limits::values(&self.engine().limits)),
            ("limits", sections::Limits::values(&self.callers())),
            ("guests", sections::Guests::values(&self.guests())),
            ("guests", sections::Guests::values(&compiler)),
            ("http", sections::Http::values(&self.http())),
            (
                "subscriptions",
                sections::Subscriptions::values(&self.subscriptions()),
            ),
            (
                "projections",
                sections::Projections::values(&self.projections()),
            ),
            ("mcp", sections::Mcp::values(&self.mcp_settings())),
            ("tenants", sections::Tenants::values(&self.tenants())),
        ];
        let values = values.into_iter().flat_map(|(section, values)| {
            let values = values.into_iter();
            values.filter_map(move |(name, value)| {
                let key = keys_of(section).iter().find(|key| key.name == name)?;
                Some((key, value))
            })
        });
        let in_force = values.map(|(key, value)| InForce {
            key,
            // The address is not shown; its file is.
            value: value.filter(|_| key.name != "store" || self.top.store_file.is_none()),
            source: self.source(&key.path()),
        });
        in_force.collect()
    }
}

#[cfg(test)]
mod tests;
