use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use console::Term;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::access::Reason;
use super::exit::WrongUse;
use super::runs::Watch;
use super::table::{self, Table, grouped, id, number, printable, short, text, time, word};
use super::{Client, Connection, preflight, signing};
use quipu::model::{Invalid, Lifecycle, OnError, SettingsChange};
use quipu_api::{DeploymentList, DeploymentView, ModuleList, ModuleView, RunLine, SummaryView};

/// Upload components and activate them together, in one plan
#[derive(Debug, Args)]
pub struct Deploy {
    /// The components: they become active together, and are rolled back together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set the lifecycle of one of their projections: asynchronous, in the transactions of appends,
    /// or on demand; may be repeated
    #[arg(long = "projection", value_name = "NAME=async|inline|live", value_parser = named::<Lifecycle>)]
    lifecycles: Vec<(String, Lifecycle)>,
    /// Set what happens with an event that a projection can't fold: stop the projection, skip the
    /// event, or park it with later ones for the same document; may be repeated
    #[arg(long = "on-error", value_name = "NAME=stop|skip|park", value_parser = named::<OnError>)]
    on_errors: Vec<(String, OnError)>,
    /// Take over a projection that belongs to another component now; may be repeated
    #[arg(long, value_name = "NAME")]
    take_over: Vec<String>,
    /// Let new builds of projections wait for `quipu projection NAME switch`
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    check: Check,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Whether a preflight runs before a module replaces another one.
#[derive(Debug, Args)]
pub struct Check {
    /// Activate without a preflight
    #[arg(long)]
    no_preflight: bool,
    /// A kind of objection that does not block it, for example decision or rejected; may be
    /// repeated
    #[arg(long, value_name = "KIND", conflicts_with = "no_preflight")]
    allow: Vec<String>,
    #[command(flatten)]
    reason: Reason,
}

impl Check {
    /// The part of an activation request that is about the preflight.
    fn add_to(&self, body: &mut Value) {
        body["allow"] = self.allow.as_slice().into();
        if self.no_preflight {
            body["preflight"] = "skip".into();
        }
    }
}

/// Kinds of objections that never block.
const NOTES: &[&str] = &["fuel", "snapshot", "rebuild", "unwritten"];

/// Requests an activation, and prints the result of the preflight.
async fn activated(
    client: &Client,
    path: &[&str],
    body: &Value,
    reason: &Reason,
) -> Result<DeploymentView> {
    let request = reason.on(client.request(Method::POST, path));
    let request = request.header(header::ACCEPT, "application/x-ndjson");
    let mut watch = Watch::new(client.send(request.json(body)).await?);
    let mut is_blocked = false;
    loop {
        match watch.next().await {
            Ok((_, RunLine::Preflight(found))) => {
                let mut out = io::stderr().lock();
                is_blocked = !found.passes;
                if is_blocked {
                    preflight::print(&found, table::width(&Term::stderr()), &mut out)?;
                    continue;
                }
                for objection in &found.objections {
                    let (kind, text) = (printable(&objection.kind), printable(&objection.text));
                    let label = match NOTES.contains(&&*objection.kind) {
                        true => "note",
                        false => "allowed",
                    };
                    writeln!(out, "{label}: {kind}: {text}")?;
                }
                preflight::print_changes(&found.changes, &mut out)?;
            }
            Ok((_, RunLine::Deployment(deployed))) => return Ok(*deployed),
            Ok(_) => bail!("the host sent an unexpected answer"),
            Err(_) if is_blocked => bail!(
                "nothing was activated; --allow KIND lets a kind of objection pass, \
                 --no-preflight all of them"
            ),
            Err(error) => return Err(error),
        }
    }
}

/// Activate the previous module of a name
///
/// If it was replaced together with others by one deploy, all of them are restored. A preflight
/// runs first, as before any activation: it names events that were written meanwhile and that the
/// module can't read.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The name, as listed by `deployments`
    name: String,
    /// Let new builds of projections wait for `quipu projection NAME switch`
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    check: Check,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Rollback {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut body = json!({"hold": self.hold});
        self.check.add_to(&mut body);
        let path = ["v1", "deployments", &self.name, "rollback"];
        let deployed = activated(&client, &path, &body, &self.check.reason).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&deployed)?)?;
        } else {
            let (plan, digest) = (deployed.plan, &deployed.digest);
            let name = printable(&deployed.name);
            writeln!(out, "plan {plan}: {name} is active again, {digest}")?;
            for other in &deployed.others {
                let name = printable(&other.name);
                match &other.digest {
                    Some(digest) => writeln!(out, "plan {plan}: {name} is active again, {digest}")?,
                    None => writeln!(out, "plan {plan}: {name} is not active any more")?,
                }
            }
        }
        Ok(())
    }
}

/// Uploads a component.
pub async fn upload(client: &Client, file: &Path) -> Result<ModuleView> {
    let path = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("{path}"))?;
    let upload = client
        .request(Method::POST, &["v1", "modules"])
        .header(header::CONTENT_TYPE, "application/wasm")
        .body(bytes);
    let upload = match signing::read_signature(file)? {
        Some(signature) => upload.header("Quipu-Signature", signature.to_string()),
        None => upload,
    };
    client.json(upload).await.with_context(|| format!("{path}"))
}

/// The digests of the active modules; none if the caller may not list them, because they are only
/// for a hint.
async fn active(client: &Client) -> HashSet<String> {
    let request = client.request(Method::GET, &["v1", "modules"]);
    let list: Result<ModuleList> = client.json(request).await;
    let modules = list.map_or_else(|_| Vec::new(), |list| list.modules);
    let active = modules.into_iter().filter(|module| module.active);
    active.map(|module| module.digest).collect()
}

impl Deploy {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut modules = Vec::with_capacity(self.files.len());
        for file in &self.files {
            modules.push(upload(&client, file).await?);
        }
        let projections = self.changes(&modules)?;
        let mut body = json!({
            "projections": projections, "take_over": self.take_over, "hold": self.hold,
        });
        match modules.as_slice() {
            [only] => body["digest"] = only.digest.as_str().into(),
            all => {
                let digests: Vec<&str> = all.iter().map(|module| &*module.digest).collect();
                body["digests"] = digests.into();
            }
        }
        self.check.add_to(&mut body);
        let before = match self.json {
            true => HashSet::new(),
            false => active(&client).await,
        };
        let deployed =
            activated(&client, &["v1", "deployments"], &body, &self.check.reason).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&deployed)?)?;
            return Ok(());
        }
        for module in &modules {
            let (name, version) = (&module.name, &module.version);
            let (plan, digest) = (deployed.plan, &module.digest);
            writeln!(out, "plan {plan}: {name} {version} is active, {digest}")?;
            if before.contains(digest) {
                let why = "each deploy raises the number of the plan";
                writeln!(out, "{name} {version} was active already; {why}")?;
            }
        }
        for projection in modules.iter().flat_map(|module| &module.projections) {
            let (name, version) = (&projection.name, projection.version);
            if let Some(settings) = deployed.projections.get(name) {
                let (lifecycle, on_error) = (&settings.lifecycle, &settings.on_error);
                writeln!(
                    out,
                    "projection {name} version {version}: {lifecycle}, on error {on_error}"
                )?;
            }
        }
        Ok(())
    }

    /// The changed settings of the modules' projections, by name.
    fn changes(&self, modules: &[ModuleView]) -> Result<BTreeMap<&str, SettingsChange>, WrongUse> {
        let mut changes: BTreeMap<&str, SettingsChange> = BTreeMap::new();
        for (name, lifecycle) in &self.lifecycles {
            let place = &mut changes.entry(name).or_default().lifecycle;
            if place.replace(*lifecycle).is_some() {
                return Err(WrongUse(format!("--projection {name} is given twice")));
            }
        }
        for (name, on_error) in &self.on_errors {
            let place = &mut changes.entry(name).or_default().on_error;
            if place.replace(*on_error).is_some() {
                return Err(WrongUse(format!("--on-error {name} is given twice")));
            }
        }
        let known = modules.iter().flat_map(|module| &module.projections);
        let known: Vec<&str> = known.map(|it| &*it.name).collect();
        let names: Vec<&str> = modules.iter().map(|module| &*module.name).collect();
        match changes.keys().find(|name| !known.contains(name)) {
            None => Ok(changes),
            Some(name) => Err(WrongUse(format!(
                "{} no projection {name}; {}: {}",
                match names.as_slice() {
                    [only] => format!("{only} has"),
                    all => format!("{} have", all.join(", ")),
                },
                if names.len() == 1 {
                    "it has"
                } else {
                    "they have"
                },
                match known.as_slice() {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                }
            ))),
        }
    }
}

/// `NAME=VALUE`.
fn named<T: FromStr<Err = Invalid>>(text: &str) -> Result<(String, T), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = value.parse().map_err(|error: Invalid| error.0)?;
            Ok((name.to_owned(), value))
        }
        _ => Err("it is no NAME=VALUE".to_owned()),
    }
}

/// List activations: which module, when and by whom
#[derive(Debug, Args)]
pub struct Deployments {
    /// Only activations of this name
    name: Option<String>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Deployments {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let path = ["v1", "deployments"]
            .into_iter()
            .chain(self.name.as_deref());
        let path: Vec<&str> = path.collect();
        let list: DeploymentList = client.json(client.request(Method::GET, &path)).await?;
        let mut out = io::stdout().lock();
        if self.json {
            for deployment in &list.deployments {
                writeln!(out, "{}", serde_json::to_string(deployment)?)?;
            }
            return Ok(());
        }
        let mut table = Table::new(&[
            number("plan"),
            id("name"),
            id("digest"),
            time("activated at"),
            word("by").if_not_empty(),
            text("preflight"),
            word(""),
        ]);
        for deployment in list.deployments {
            let active = if deployment.active { "active" } else { "" };
            let plan = deployment.plan.to_string();
            table.row([
                plan.clone(),
                deployment.name,
                short(&deployment.digest),
                deployment.activated_at,
                deployment.activated_by.unwrap_or_else(dash),
                deployment.preflight.as_ref().map_or_else(dash, summarize),
                active.to_owned(),
            ]);
            for other in deployment.others {
                let digest = other.digest.as_deref().map_or_else(dash, short);
                table.cells([plan.clone(), other.name, digest]);
            }
        }
        table.write(&mut out)?;
        Ok(())
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// The result of a preflight, in a few words.
fn summarize(found: &SummaryView) -> String {
    let (same, decided) = (grouped(found.same), grouped(found.decided));
    let mut text = format!("{same} of {decided} the same");
    let is_whole = found.until == found.head;
    if !is_whole {
        text += ", not all of it";
    }
    let mut kinds: Vec<&str> = found.objections.iter().map(|it| &*it.kind).collect();
    kinds.dedup();
    if !kinds.is_empty() {
        let verb = if found.passes {
            "allowed"
        } else {
            "against it"
        };
        text += &format!("; {verb}: {}", kinds.join(", "));
    }
    text
}
