use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::Config;
use super::exit::WrongUse;
use super::{log, modules};
use quipu::Host;
use quipu::store::{self, StoreUrl};
use quipu_server as http;

/// Run the host
///
/// Prints one line on stdout when it is ready: `ready http://ADDR`. Shuts down gracefully on
/// SIGTERM or SIGINT: requests in flight are answered first. A second signal ends the process at
/// once. In both cases nothing that was answered is lost.
///
/// Compiled components are stored in FILE.compiled next to the SQLite file. Only the host may be
/// able to write there.
#[derive(Debug, Args)]
pub struct Serve {
    /// The store: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME, created if missing, or memory: [default: sqlite:quipu.db]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The address to listen on; port 0 picks a port [default: 127.0.0.1:7878]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Take requests without a token, also from other machines, as if the store had no tokens. Without
    /// it, a host that other machines reach needs a store with a token: see `quipu token`
    #[arg(long)]
    allow_unauthenticated: bool,
    /// Upload every component of this folder; activate those whose name never had an active module
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// With --modules: also replace active modules that differ
    #[arg(long)]
    modules_force: bool,
    /// A TOML file with the same settings and more: [engine], [limits], [guests], [http], [subscriptions], [projections], [metadata], and keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub async fn run(self) -> Result<()> {
        let _written = log::start();
        // Before anything else, so that no signal finds its default.
        let mut signals = signals()?;
        check_clock(SystemTime::now())?;
        let config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        let store = self.store.as_ref().or(config.store.as_ref());
        let store = store.map_or("sqlite:quipu.db", String::as_str).to_owned();
        let url: StoreUrl = store
            .parse()
            .map_err(|error| WrongUse(format!("{error}")))?;
        let listen = self.listen.as_ref().or(config.listen.as_ref());
        let listen = listen.map_or("127.0.0.1:7878", String::as_str);
        // Listening comes first: an address in use is reported before the store is opened.
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("can't listen on {listen}"))?;
        let mut http = config.http();
        http.allow_unauthenticated |= self.allow_unauthenticated;
        let needs_tokens = is_reachable(&listener)? && !http.allow_unauthenticated;
        if needs_tokens && is_new(&url) {
            return Err(open_to_all(&listener, &store));
        }
        let force = self.modules_force;
        let modules = self.modules.clone().or_else(|| config.modules.clone());
        // In a separate task, so that a store that does not answer, or a file that never ends, does
        // not delay the handling of signals.
        let starting = tokio::spawn(async move {
            let host = open(&url, &config).await?;
            if let Some(dir) = modules {
                modules::bring(&host, &dir, force).await?;
            }
            anyhow::Ok(host)
        });
        let host = tokio::select! {
            host = starting => host??,
            () = either(&mut signals.0, &mut signals.1) => {
                tracing::info!("asked to shut down before the host was ready");
                return Ok(());
            }
        };
        if needs_tokens && !host.tokens().are_used().await? {
            host.shutdown().await?;
            return Err(open_to_all(&listener, &store));
        }
        writeln!(io::stdout(), "ready http://{}", listener.local_addr()?)?;
        io::stdout().flush()?;
        http::serve(listener, host, http, asked_to_end(signals)).await
    }
}

/// Whether other machines can reach the host.
pub(super) fn is_reachable(listener: &TcpListener) -> io::Result<bool> {
    Ok(!listener.local_addr()?.ip().is_loopback())
}

/// Whether a store is certain to have no tokens, without opening it.
fn is_new(url: &StoreUrl) -> bool {
    match url {
        StoreUrl::Sqlite(file) => !file.exists(),
        StoreUrl::Memory => true,
        StoreUrl::Postgres(_) => false,
    }
}

/// Other machines can reach the host, and it would not ask who sends a request.
fn open_to_all(listener: &TcpListener, store: &str) -> anyhow::Error {
    let place = listener.local_addr();
    let place = place.map_or_else(|_| "the address".to_owned(), |address| address.to_string());
    // A password stays out of the message.
    let store = match store.contains('@') {
        true => "URL",
        false => store,
    };
    WrongUse(format!(
        "other machines can reach {place}, and the store has no token, so the host would take every \
         request without asking who sends it; make a token with `quipu token create NAME --role \
         admin --store {store}`, or listen on 127.0.0.1, or allow it with --allow-unauthenticated"
    ))
    .into()
}

pub(super) async fn open(url: &StoreUrl, config: &Config) -> Result<Host> {
    let mut builder = Host::builder()
        .opened_store(store::open(url).await?)
        .engine(config.engine())
        .limits(config.guests())
        .compiler(config.compiler()?)
        .subscriptions(config.subscriptions())
        .projections(config.projections())
        .keys(config.keys()?);
    let additions = config.additions();
    if !additions.metadata.is_empty() {
        builder = builder.enrich(move |_| additions.clone());
    }
    if let Some(dir) = cache_dir(url, config) {
        builder = builder.cache_dir(dir);
    }
    Ok(builder.build().await?)
}

/// Where compiled components are stored.
pub(super) fn cache_dir(url: &StoreUrl, config: &Config) -> Option<PathBuf> {
    let next_to_it = match url {
        StoreUrl::Sqlite(file) => Some(file.with_added_extension("compiled")),
        StoreUrl::Postgres(_) | StoreUrl::Memory => None,
    };
    config.cache_dir.clone().or(next_to_it)
}

/// The signals that ask a process to end.
pub(super) fn signals() -> io::Result<(Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    ))
}

/// Completes at the first signal. The second one ends the process.
pub(super) async fn asked_to_end((mut terminate, mut interrupt): (Signal, Signal)) {
    either(&mut terminate, &mut interrupt).await;
    tracing::info!("shutting down: answering what is in flight");
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        _ = writeln!(io::stderr(), "a second signal: ending at once");
        std::process::exit(1);
    });
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Times in stores and in answers are counted from 1970.
fn check_clock(now: SystemTime) -> Result<()> {
    match now.duration_since(UNIX_EPOCH) {
        Ok(_) => Ok(()),
        Err(_) => {
            bail!(
                "the clock of this machine is set to a time before 1970: set it, then start the host"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_before_1970_is_refused() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let why = check_clock(before).unwrap_err().to_string();
        assert!(why.contains("before 1970"), "{why}");
        assert!(check_clock(SystemTime::now()).is_ok());
    }
}
