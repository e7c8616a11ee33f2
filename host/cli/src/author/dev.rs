use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use quipu::deploy::Signing;
use quipu::proof::Policy;
use quipu::runtime::{self, Definition, Functions, Module, Runtime};
use quipu::store::{self, StoreUrl};
use quipu::{Deploy, DeployError, Host};
use quipu_api::PreflightView;
use quipu_author::project::{self, Project, Watch};
use quipu_author::scenario::{self, Scenarios};
use quipu_author::{Components, conform};

use super::test::changed;
use super::{warn_of_names, warn_of_schemas};
use crate::config::Config;
use crate::exit::WrongUse;
use crate::{log, preflight, serve, table};

/// Build, test and serve a project after every change
///
/// Runs a host on the project's development store, prints `ready http://ADDR` on stdout, and
/// watches the project. After a change it builds the component, plays the scenarios, checks the
/// component, runs a preflight against the events of the development store, and activates it. If a
/// step fails, the module that was active stays active. Nothing is deleted unless --fresh asks for it.
#[derive(Debug, Args)]
pub struct Dev {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The address to listen on; port 0 picks a port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7878")]
    listen: String,
    /// The development store, instead of the project's
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Begin with an empty development store; asks before it deletes the file
    #[arg(long)]
    fresh: bool,
    /// With --fresh: do not ask
    #[arg(long, requires = "fresh")]
    yes: bool,
    /// Keep the version before, too, when a recorded command would be decided differently
    #[arg(long)]
    strict: bool,
    /// Show the messages of the build's tools, with their stacks
    #[arg(long)]
    verbose: bool,
}

/// What saves compiling: the folder of compiled components, and the functions of those before.
type Cache = (Option<PathBuf>, Functions);

/// Objections about rules that the author may be changing on purpose.
const RULES: [&str; 5] = ["decision", "rejected", "accepted", "rejection", "command"];
/// A line announces the compilation of a larger component, because it takes seconds.
const LARGE_BYTES: u64 = 1 << 20;
/// The longest time in which a preflight reads events.
const PREFLIGHT: Duration = Duration::from_secs(20);

impl Dev {
    pub async fn run(self) -> Result<()> {
        let _written = log::start();
        let signals = serve::signals()?;
        let project = Project::read(&self.dir)?;
        let url = self.store(&project)?;
        let listener = serve::bound(&self.listen).await?;
        if serve::is_reachable(&listener)? {
            let why = "other machines can reach this address; `dev` listens on 127.0.0.1 only";
            return Err(WrongUse(why.to_owned()).into());
        }
        // Nothing is deleted before everything else is possible.
        if self.fresh {
            self.clear(&url)?;
        }
        let config = Config::default();
        let host = serve::open(&url, &config, Signing::default()).await;
        let host = host.map_err(in_use)?;
        let cache = (serve::cache_dir(&url, &config), Functions::default());
        let mut watch = Watch::new(&project)?;
        writeln!(io::stdout(), "ready http://{}", listener.local_addr()?)?;
        let mut http = config.http();
        http.logs = Some(log::ring());
        let until = serve::until_signal(signals);
        let serving = quipu_server::serve(listener, host.clone(), http, until);
        let mut serving = std::pin::pin!(serving);
        loop {
            tokio::select! {
                served = &mut serving => return served,
                () = self.step(&host, &project, &cache) => {}
            }
            tokio::select! {
                served = &mut serving => return served,
                next = changed(watch) => {
                    let (next, files) = next?;
                    watch = next;
                    for file in &files {
                        let shown = file.strip_prefix(&project.dir).unwrap_or(file);
                        eprintln!("changed: {}", shown.display());
                    }
                }
            }
        }
    }

    /// Brings the project's present state into the host, or says why not.
    async fn step(&self, host: &Host, project: &Project, cache: &Cache) {
        let begun = Instant::now();
        // The file may have changed as well.
        let done = match Project::read(&project.dir) {
            Ok(project) => self.renew(host, &project, cache).await,
            Err(error) => Err(error.into()),
        };
        let seconds = begun.elapsed().as_secs_f64();
        match done {
            Ok(text) => eprintln!("{text} ({seconds:.1} s)"),
            Err(error) => {
                // The component may have another name than the project.
                let after = match host.plan().number {
                    0 => "; no module is active yet",
                    _ => "; the module that was active stays active",
                };
                eprintln!("error: {}{after}", crate::shown(&error));
            }
        }
    }

    async fn renew(&self, host: &Host, project: &Project, cache: &Cache) -> Result<String> {
        let (project, cache, is_verbose) = (project.clone(), cache.clone(), self.verbose);
        let checked = tokio::task::spawn_blocking(move || check(&project, cache, is_verbose));
        let bytes = checked.await??;
        let module = host.upload(bytes).await?.module;
        let manifest = module.manifest();
        let (name, digest) = (
            format!("{} {}", manifest.name, manifest.version),
            module.digest(),
        );
        if host.plan().active(&manifest.name) == Some(digest) {
            return Ok(format!("{name} is unchanged and serves"));
        }
        let before = active(host, &manifest.name);
        let allowed: &[&str] = if self.strict { &[] } else { &RULES };
        let allowed: Vec<String> = allowed.iter().map(|&kind| kind.to_owned()).collect();
        let deploy = Deploy::new(digest)
            .allowing(Policy::allowing(&allowed)?)
            .within(PREFLIGHT)
            .by("quipu dev");
        let prepared = host.prepare(deploy, &mut |_| {}).await?;
        if let Some(found) = prepared.preflight()
            && !found.objections.is_empty()
        {
            let view = PreflightView::of(found.clone());
            let mut err = io::stderr().lock();
            preflight::print(&view, table::width(&console::Term::stderr()), &mut err)?;
        }
        match prepared.activate().await {
            Ok(deployment) => {
                for (projection, version) in before.iter().flat_map(|it| same(it, &module)) {
                    eprintln!(
                        "projection {projection} still has version {version}: its documents stay \
                         as they are; if its code changed, raise `version` to rebuild them, or \
                         start with --fresh"
                    );
                }
                Ok(format!("{name} serves with plan {}", deployment.plan))
            }
            Err(DeployError::Blocked(_)) => {
                bail!(
                    "the preflight objects; correct the guest, or start with an empty store: --fresh"
                )
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The development store. A relative path is meant from the project's folder.
    fn store(&self, project: &Project) -> Result<StoreUrl> {
        let text = self.store.as_deref().unwrap_or(&project.store);
        let url: StoreUrl = text.parse().map_err(|error| WrongUse(format!("{error}")))?;
        Ok(match url {
            StoreUrl::Sqlite(file) if self.store.is_none() => {
                let file = project.dir.join(file);
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder)
                        .with_context(|| folder.display().to_string())?;
                }
                StoreUrl::Sqlite(file)
            }
            url => url,
        })
    }

    /// Deletes the development store, after asking.
    fn clear(&self, url: &StoreUrl) -> Result<()> {
        let StoreUrl::Sqlite(file) = url else {
            let text = "--fresh deletes a SQLite file; empty a database of a server yourself";
            return Err(WrongUse(text.to_owned()).into());
        };
        if !file.exists() {
            return Ok(());
        }
        if !self.yes && !is_wanted(file)? {
            bail!("{} was not deleted", file.display());
        }
        store::delete(url).map_err(|error| in_use(error.into()))
    }
}

/// Says what may have the development store open. Other errors are returned as they are.
fn in_use(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<store::Error>() {
        Some(store::Error::InUse(file)) => anyhow!(
            "another `quipu dev` or another host has {file} open; use that one, stop it, or name \
             another store for this one, as --store sqlite:other.db"
        ),
        _ => error,
    }
}

/// The module that is active under a name.
fn active(host: &Host, name: &str) -> Option<Arc<Module>> {
    let plan = host.plan();
    let mut modules = plan.modules();
    modules.find(|it| it.manifest().name == name).cloned()
}

/// The projections that two modules define with the same version, whose documents are not rebuilt.
fn same<'a>(before: &'a Module, now: &'a Module) -> impl Iterator<Item = (&'a str, u32)> {
    let projections = now.projections().iter();
    let is_same = move |it: &&Definition| {
        let was = before.projection(&it.name);
        was.is_some_and(|was| was.version == it.version)
    };
    let projections = projections.filter(is_same);
    projections.map(|it| (&*it.name, it.version))
}

/// Asks a person whether a store is to be deleted.
fn is_wanted(file: &Path) -> Result<bool> {
    if !io::stdin().is_terminal() {
        let text = "--fresh asks before it deletes; --yes answers without a terminal";
        return Err(WrongUse(text.to_owned()).into());
    }
    eprint!("delete {} with all its events? [y/N] ", file.display());
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

/// Builds the component, plays the scenarios and checks it. Returns its bytes. The host takes the
/// compiled component from the cache, so that it is compiled once.
fn check(project: &Project, (cache_dir, functions): Cache, is_verbose: bool) -> Result<Vec<u8>> {
    let component = project::build(project, is_verbose)?.component;
    let options = runtime::Options {
        cache_dir,
        functions: Some(functions),
        ..runtime::Options::default()
    };
    let runtime = Runtime::new(options)?;
    let bytes = std::fs::metadata(&component).map_or(0, |file| file.len());
    if bytes > LARGE_BYTES {
        eprintln!("compiling {:.1} MiB …", bytes as f64 / (1 << 20) as f64);
    }
    let components = Components::load(&runtime, &[&component])?;
    if let [component] = components.modules() {
        warn_of_names(project, component);
        warn_of_schemas(component);
    }
    let files = project.scenario_files()?;
    let scenarios: Result<Vec<_>, _> = files.iter().map(|file| Scenarios::read(file)).collect();
    let scenarios = scenarios?;
    if !scenarios.is_empty() {
        let report = scenario::play(&components, &scenarios);
        let failed = report.failed();
        if failed > 0 {
            report.write(&mut io::stderr().lock())?;
            bail!("{failed} of {} scenarios failed", report.verdicts.len());
        }
    }
    let findings = conform::conform(&runtime, &components, &scenarios, conform::Depth::Short);
    if let Some(broken) = findings.iter().find(|finding| finding.broken.is_some()) {
        bail!("{broken}");
    }
    std::fs::read(&component).with_context(|| component.display().to_string())
}
