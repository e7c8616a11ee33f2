use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::{self, Config, Flags};
use super::exit::WrongUse;
use super::secret::{PASSWORD_SHOWN, Secret, has_password};
use super::tenant_rules::{TenantFiles, TenantRules};
use super::{log, log_format, modules, otlp, reload, rules, tls};
use quipu::deploy::Signing;
use quipu::store::{self, StoreUrl};
use quipu::{Host, engine, projection, subscribe};
use quipu_server::tls::Tls;
use quipu_server::{self as http, Rules};

/// Run the host
///
/// Prints one line on stdout when it is ready: `ready http://ADDR`, and with --admin-listen a second
/// one: `admin http://ADDR`. Shuts down gracefully on
/// SIGTERM or SIGINT: requests in flight are answered first. A second signal ends the process at
/// once. In both cases nothing that was answered is lost. SIGHUP re-reads the certificate, the
/// keys that sign components, the limits of callers and the log level.
///
/// Every setting can also be a variable of the environment: QUIPU_STORE, QUIPU_HTTP__IDLE_MAX_MS. A
/// flag takes precedence over a variable, a variable over the file. `quipu config` shows the result.
///
/// Compiled components are stored in FILE.compiled next to the SQLite file. Only the host may be
/// able to write there.
#[derive(Debug, Args)]
pub struct Serve {
    /// The store: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME, created if missing, or memory: [default: sqlite:quipu.db]
    #[arg(long, value_name = "URL")]
    store: Option<Secret>,
    /// A file whose only line is the address of the store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    store_file: Option<PathBuf>,
    /// The address to listen on; port 0 picks a port [default: 127.0.0.1:7878]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// An address of its own for administration, which --listen then does not answer
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
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
    /// A certificate and those of its authorities, in PEM: serve https
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A TOML file with the same settings and more; `quipu config --reference` prints all of them
    #[arg(
        long,
        value_name = "FILE",
        env = "QUIPU_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
}

impl Serve {
    pub async fn run(self) -> Result<()> {
        let _written = log::start();
        // Before anything else, so that no signal finds its default.
        let mut signals = signals()?;
        let hangup = signal(SignalKind::hangup())?;
        check_clock(SystemTime::now())?;
        let config = Config::load(self.config.as_deref(), &self.flags())?;
        let general = config.general();
        log::set(&general.log).map_err(WrongUse)?;
        log_format::set(&general.log_format).map_err(WrongUse)?;
        if self
            .store
            .as_ref()
            .is_some_and(|it| has_password(it.reveal()))
        {
            tracing::warn!("{PASSWORD_SHOWN}");
        }
        let url: StoreUrl = general
            .store
            .reveal()
            .parse()
            .map_err(|error| WrongUse(format!("{error}")))?;
        let traces = otlp::Exporter::start()?;
        let tls = tls::load(&config.tls())?.map(|identity| Arc::new(Tls::new(identity)));
        let rules = rules::load(&config.access(), None)?;
        rules::check(&rules, "access.", &config.tls())?;
        let (know_callers, rules) = (rules.know_callers(), Arc::new(Rules::new(rules)));
        // Listening comes first: an address in use is reported before the store is opened.
        let main = bound(&general.listen).await?;
        let admin = match config.addresses().admin_listen {
            Some(address) => Some(bound(&address).await?),
            None => None,
        };
        let listeners = http::Listeners { main, admin };
        let exposed = match general.allow_unauthenticated || know_callers {
            true => None,
            false => reachable(&listeners)?,
        };
        let store = shown(&url);
        if let Some(address) = exposed
            && is_new(&url)
        {
            return Err(open_to_all(address, &store));
        }

        let (mut http, force) = (config.http(), self.modules_force);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let sources = reload::Sources {
            flags: self.flags(),
            file: self.config,
        };
        let signing = Signing::by(config.keys()?);
        let of_tenants = config.tenants().rules;
        let of_tenants = TenantRules::new(of_tenants, config.tls(), signing.clone());
        let of_tenants = Arc::new(of_tenants);
        let running = reload::Running {
            tls: tls.clone(),
            rules: Arc::clone(&rules),
            limiter: Arc::clone(&http.limits),
            signing: signing.clone(),
            tenants: Arc::clone(&of_tenants),
        };
        let reload = sources.reload(config.clone(), running);
        (http.tls, http.reload, http.rules) = (tls, Some(reload.clone()), rules);
        http.allow_unauthenticated = general.allow_unauthenticated;
        http.console = console(&config);
        http.logs = Some(log::ring());
        http.tenants = tenants(&url, &config, &of_tenants);
        let (modules, name) = (general.modules, url.to_string());
        // In a separate task, so that a store that does not answer, or a file that never ends, does
        // not delay the handling of signals.
        let starting = tokio::spawn(async move {
            let host = open(&url, &config, signing).await?;
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
        if let Some(address) = exposed
            && !host.tokens().are_used().await?
        {
            host.shutdown().await?;
            return Err(open_to_all(address, &store));
        }
        // A panic of a reload is its result, and is logged. The next signal is another reload.
        tokio::spawn(reload::at_signals(hangup, reload));
        let address = listeners.main.local_addr()?;
        tracing::info!(%address, store = name, version = env!("CARGO_PKG_VERSION"), "serving");
        let mut lines = format!("ready {scheme}://{address}\n");
        if let Some(admin) = &listeners.admin {
            lines += &format!("admin {scheme}://{}\n", admin.local_addr()?);
        }
        io::stdout().write_all(lines.as_bytes())?;
        io::stdout().flush()?;
        let served = http::serve(listeners, host, http, until_signal(signals)).await;
        if let Some(traces) = traces {
            traces.close().await;
        }
        served
    }

    /// The flags that set keys of the configuration.
    fn flags(&self) -> Flags {
        let allow = self.allow_unauthenticated.then_some(true);
        Flags::default()
            .with("store", "--store", self.store.as_ref().map(Secret::reveal))
            .path("store_file", "--store-file", self.store_file.as_deref())
            .with("listen", "--listen", self.listen.clone())
            .with(
                "server.admin_listen",
                "--admin-listen",
                self.admin_listen.clone(),
            )
            .with("allow_unauthenticated", "--allow-unauthenticated", allow)
            .path("modules", "--modules", self.modules.as_deref())
            .path(
                "tls.certificate",
                "--tls-certificate",
                self.tls_certificate.as_deref(),
            )
            .path("tls.key", "--tls-key", self.tls_key.as_deref())
    }
}

/// The console, with the configuration that it shows. Secrets are not in it.
fn console(config: &Config) -> http::Console {
    let settings = config.in_force().into_iter();
    let settings = settings.map(|it| http::ConsoleSetting {
        key: it.key.path(),
        value: it.value.as_ref().map(config::inline),
        source: it.source.to_string(),
    });
    http::Console {
        mode: config.addresses().console,
        settings: settings.collect(),
    }
}

/// Listens on an address.
///
/// # Errors
/// When another program does, or the address is not one of this machine.
pub(super) async fn bound(address: &str) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "can't listen on {address}: another program does; stop it, or choose another \
             address with --listen"
        ),
        bound => bound.with_context(|| format!("can't listen on {address}")),
    }
}

/// The first address that other machines can reach.
fn reachable(listeners: &http::Listeners) -> io::Result<Option<SocketAddr>> {
    for listener in [Some(&listeners.main), listeners.admin.as_ref()] {
        if let Some(listener) = listener
            && is_reachable(listener)?
        {
            return listener.local_addr().map(Some);
        }
    }
    Ok(None)
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

/// The address of a store as a person gives it, without a password.
fn shown(url: &StoreUrl) -> String {
    match url {
        StoreUrl::Sqlite(file) => format!("sqlite:{}", file.display()),
        StoreUrl::Memory => "memory:".to_owned(),
        StoreUrl::Postgres(_) => "URL".to_owned(),
    }
}

/// Other machines can reach the host, and it would not ask who sends a request.
fn open_to_all(place: SocketAddr, store: &str) -> anyhow::Error {
    WrongUse(format!(
        "other machines can reach {place}, and the store has no token, so the host would take every \
         request without asking who sends it; make a token with `quipu token create NAME --role \
         admin --store {store}`, or listen on 127.0.0.1, or allow it with --allow-unauthenticated"
    ))
    .into()
}

pub(super) async fn open(url: &StoreUrl, config: &Config, signing: Signing) -> Result<Host> {
    let options = (
        config.engine(),
        config.subscriptions(),
        config.projections(),
    );
    open_with(url, config, cache_dir(url, config), signing, options).await
}

/// How tenants are served; none without a place for them.
fn tenants(
    url: &StoreUrl,
    config: &Config,
    rules: &Arc<TenantRules>,
) -> Option<http::TenantOptions> {
    let settings = config.tenants();
    if settings.place.is_empty() {
        return None;
    }
    let identities = rules.has_folder();
    let (config, rules) = (Arc::new(config.clone()), Arc::clone(rules));
    let open: http::Opener = Arc::new(move |url, tenant, limiter| {
        let (config, rules) = (Arc::clone(&config), Arc::clone(&rules));
        Box::pin(async move {
            // Before the store is opened, which a mistake in a file would have to close.
            let files = rules.open(&tenant, limiter)?;
            open_tenant(&url, &config, files).await
        })
    });
    Some(http::TenantOptions {
        store: url.clone(),
        place: settings.place,
        open_max: settings.open_max,
        share: settings.share,
        identities,
        open,
    })
}

/// Opens a tenant, with its share of the bounds, a cache and rules of its own.
async fn open_tenant(
    url: &StoreUrl,
    config: &Config,
    files: TenantFiles,
) -> Result<http::OpenedTenant> {
    let TenantFiles {
        rules,
        signing,
        share,
    } = files;
    let cache_dir = match (config.general().cache_dir, url) {
        (Some(dir), StoreUrl::Sqlite(file)) => file.file_stem().map(|name| dir.join(name)),
        (Some(dir), StoreUrl::Postgres(url)) => Some(dir.join(url.schema())),
        _ => cache_dir(url, config),
    };
    let host = open_with(url, config, cache_dir, signing, config.of_tenant(share)).await?;
    Ok(http::OpenedTenant { host, rules, share })
}

type Bounds = (engine::Options, subscribe::Options, projection::Options);

async fn open_with(
    url: &StoreUrl,
    config: &Config,
    cache_dir: Option<PathBuf>,
    signing: Signing,
    (engine, subscriptions, projections): Bounds,
) -> Result<Host> {
    let mut builder = Host::builder()
        .opened_store(store::open(url).await?)
        .engine(engine)
        .limits(config.guests())
        .compiler(config.compiler()?)
        .subscriptions(subscriptions)
        .projections(projections)
        .signing(signing);
    let additions = config.additions();
    if !additions.metadata.is_empty() {
        builder = builder.enrich(move |_| additions.clone());
    }
    if let Some(dir) = cache_dir {
        builder = builder.cache_dir(dir);
    }
    let host = builder.build().await?;
    if let Some(sink) = otlp::sink() {
        host.meters().spans.send_to(sink);
    }
    Ok(host)
}

/// Where compiled components are stored.
pub(super) fn cache_dir(url: &StoreUrl, config: &Config) -> Option<PathBuf> {
    let next_to_it = match url {
        StoreUrl::Sqlite(file) => Some(file.with_added_extension("compiled")),
        StoreUrl::Postgres(_) | StoreUrl::Memory => None,
    };
    config.general().cache_dir.or(next_to_it)
}

/// The signals that ask a process to end.
pub(super) fn signals() -> io::Result<(Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    ))
}

/// Completes at the first signal. The second one ends the process.
pub(super) async fn until_signal((mut terminate, mut interrupt): (Signal, Signal)) {
    either(&mut terminate, &mut interrupt).await;
    tracing::info!("shutting down: answering what is in flight");
    // It waits for a signal and ends the process: there is nothing that could be restarted.
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
