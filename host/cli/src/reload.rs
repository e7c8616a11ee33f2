//! Reads the configuration a second time while the host runs: on SIGHUP, and on `POST /v1/reload`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::Signal;

use super::config::{Config, Flags};
use super::tenant_rules::TenantRules;
use super::{log, rules, tls};
use quipu::deploy::Signing;
use quipu_api::Reloaded;
use quipu_server::tls::Tls;
use quipu_server::{Limiter, Reload, Rules};

/// What the settings of a running host come from.
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The flags of `quipu serve`.
    pub flags: Flags,
}

/// What a reload changes in a running host.
pub struct Running {
    /// The certificate of a host that serves https.
    pub tls: Option<Arc<Tls>>,
    /// The rules of the main store.
    pub rules: Arc<Rules>,
    /// The limits of callers.
    pub limiter: Arc<Limiter>,
    /// The keys whose modules the main store accepts.
    pub signing: Signing,
    /// What is in force in open tenants.
    pub tenants: Arc<TenantRules>,
}

impl Sources {
    /// Reloads the settings of a host that was started with a configuration.
    pub fn reload(self, started: Config, running: Running) -> Reload {
        let callers = Mutex::new(started.clone());
        let log = Mutex::new(started.general().log);
        Reload::new(move || {
            let config = Config::load(self.file.as_deref(), &self.flags);
            let config = config.map_err(|error| error.0)?;
            let identity = tls::load(&config.tls()).map_err(|error| error.0)?;
            let in_force = running.rules.current();
            let read = rules::load(&config.access(), Some(&in_force)).map_err(|error| error.0)?;
            rules::check(&read, "access.", &config.tls()).map_err(|error| error.0)?;
            rules::check_replaced(&in_force, &read, "access.").map_err(|error| error.0)?;
            let keys = config.keys().map_err(|error| error.0)?;
            rules::check_keys_replaced(&running.signing.keys(), &keys, "")
                .map_err(|error| error.0)?;
            let of_tenants = running.tenants.read_again(&config.tls(), &keys);
            let of_tenants = of_tenants.map_err(|error| error.0)?;
            if in_force.know_callers() && !read.know_callers() {
                return Err(
                    "access.identities lists nobody any more: a store without tokens would \
                            be open to everybody; restart the host if that is meant"
                        .to_owned(),
                );
            }
            // Everything is right: only now something changes.
            let mut changed = Vec::new();
            let mut restart = started.differences(&config);
            if let (Some(tls), Some(identity)) = (&running.tls, identity) {
                restart.retain(|path| !path.starts_with("tls."));
                if tls.replace(identity) {
                    changed.push("tls.certificate".to_owned());
                }
            }
            let is_reloaded = |path: &String| path == "log" || path == "keys";
            restart.retain(|path| !is_reloaded(path) && !path.starts_with("access."));
            if running.signing.replace(&keys) {
                changed.push("keys".to_owned());
            }
            if !in_force.is_same(&read) {
                running.rules.replace(read);
                changed.push("access".to_owned());
            }
            of_tenants.apply(&keys, &mut changed, &mut restart);
            let wanted = config.general().log;
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if *log != wanted {
                log::set(&wanted)?;
                *log = wanted;
                changed.push("log".to_owned());
            }
            let mut in_force = callers.lock().unwrap_or_else(PoisonError::into_inner);
            let limits = Config::caller_keys();
            restart.retain(|path| !limits.contains(path));
            let differing = in_force.differences(&config).into_iter();
            changed.extend(differing.filter(|path| limits.contains(path)));
            running.limiter.replace(config.callers());
            *in_force = config;
            Ok(Reloaded { changed, restart })
        })
    }
}

/// Reloads at every signal. The result is logged.
pub async fn at_signals(mut hangup: Signal, reload: Reload) {
    while hangup.recv().await.is_some() {
        _ = reload.run().await;
    }
}
