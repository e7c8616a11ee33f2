use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::HostProblem;
use super::events::payload;
use super::execute::one_lined;
use super::table::{Table, printable};
use super::{Client, Connection};
use quipu_api::ModuleView;

/// Show one event, the command that led to it, and its lifted form
///
/// The event is shown as it is stored. An event that was appended directly has no command.
#[derive(Debug, Args)]
pub struct Event {
    /// Its position in the log
    position: u64,
    /// Each value replaced by the name of its type, for which the action read is enough
    #[arg(long)]
    masked: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct EventView<'a> {
    id: String,
    stream: String,
    version: u64,
    position: u64,
    r#type: String,
    schema_version: u32,
    recorded_at: String,
    content_type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    tags: Vec<String>,
    commit: Commit,
    #[serde(borrow)]
    command: Option<Command<'a>>,
    #[serde(borrow)]
    lifted: Option<Vec<Part<'a>>>,
    not_lifted: Option<String>,
}

#[derive(Deserialize)]
struct Part<'a> {
    r#type: String,
    schema_version: u32,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// The command that led to it.
#[derive(Deserialize)]
struct Command<'a> {
    id: String,
    r#type: String,
    schema_version: u32,
    content_type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    accepted_at: String,
    seed: String,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    principal: Option<String>,
    traceparent: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    command_id: Option<String>,
    module: Option<String>,
    plan: u64,
    fuel: Option<u64>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    principal: Option<String>,
    traceparent: Option<String>,
}

impl Event {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let position = self.position.to_string();
        let request = client.request(Method::GET, &["v1", "events", &position]);
        let request = request.query(&Vec::from_iter(payload(self.masked)));
        let body = client.send(request).await?.text().await?;
        if self.json {
            writeln!(io::stdout(), "{}", one_lined(&body))?;
            return Ok(());
        }
        let event: EventView<'_> = serde_json::from_str(&body)?;
        let decided_by = decided_by(&client, event.commit.module.as_deref()).await?;
        let mut out = io::stdout().lock();
        table(&event, decided_by).write(&mut out)?;
        writeln!(out)?;
        print_data(event.data, event.data_base64.as_deref(), &mut out)?;
        print_lifted(&event, &mut out)?;
        match &event.command {
            Some(command) => print_command(command, &mut out),
            None => Ok(()),
        }
    }
}

/// The lifted form of the event, if there is one.
fn print_lifted(event: &EventView<'_>, out: &mut impl Write) -> Result<()> {
    if let Some(why) = &event.not_lifted {
        writeln!(out, "\nit can't be lifted: {}", printable(why))?;
        return Ok(());
    }
    let Some(parts) = &event.lifted else {
        return Ok(());
    };
    if parts.is_empty() {
        writeln!(out, "\nit is dropped by an upcaster")?;
        return Ok(());
    }
    writeln!(out, "\nlifted to")?;
    let mut table = Table::bare();
    for part in parts {
        let base64 = part.data_base64.clone();
        let data = part.data.map(|data| one_lined(data.get()));
        table.row([
            // The name of a type may look like a number.
            format!("{} ", part.r#type),
            part.schema_version.to_string(),
            data.or(base64).unwrap_or_default(),
        ]);
    }
    Ok(table.write(out)?)
}

/// The command that led to the event.
fn print_command(command: &Command<'_>, out: &mut impl Write) -> Result<()> {
    let json = "application/json";
    let optional = [
        ("correlation id", &command.correlation_id),
        ("causation id", &command.causation_id),
        ("principal", &command.principal),
        ("traceparent", &command.traceparent),
    ];
    let mut facts = vec![
        ("command", command.r#type.clone()),
        ("id", command.id.clone()),
        ("schema version", command.schema_version.to_string()),
        (
            "content type",
            command
                .content_type
                .clone()
                .unwrap_or_else(|| json.to_owned()),
        ),
        ("accepted at", command.accepted_at.clone()),
        ("seed", command.seed.clone()),
        ("metadata", one_lined(command.metadata.get())),
    ];
    for (name, value) in optional {
        facts.extend(value.clone().map(|value| (name, value)));
    }
    writeln!(out)?;
    facts_table(facts).write(out)?;
    writeln!(out)?;
    print_data(command.data, command.data_base64.as_deref(), out)
}

/// The data unchanged, JSON or base64.
fn print_data(data: Option<&RawValue>, base64: Option<&str>, out: &mut impl Write) -> Result<()> {
    match (data, base64) {
        (Some(data), _) => writeln!(out, "{}", data.get())?,
        (None, Some(base64)) => writeln!(out, "{base64}")?,
        (None, None) => {}
    }
    Ok(())
}

/// Name and version of the module that decided.
async fn decided_by(client: &Client, module: Option<&str>) -> Result<String> {
    let Some(digest) = module else {
        return Ok("nobody: it was appended as it is".to_owned());
    };
    let request = client.request(Method::GET, &["v1", "modules", digest]);
    match client.json::<ModuleView>(request).await {
        Ok(module) => Ok(format!("{} {}", module.name, module.version)),
        // The event is shown even if its module can't be found.
        Err(error) if error.is::<HostProblem>() => Ok("a module that can't be shown".to_owned()),
        Err(error) => Err(error),
    }
}

fn table(event: &EventView<'_>, decided_by: String) -> Table {
    let commit = &event.commit;
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let fuel = commit.fuel.map(|fuel| fuel.to_string());
    let json = "application/json".to_owned();
    let rows = [
        ("position", event.position.to_string()),
        ("stream", event.stream.clone()),
        ("version", event.version.to_string()),
        ("id", event.id.clone()),
        ("type", event.r#type.clone()),
        ("schema version", event.schema_version.to_string()),
        ("content type", event.content_type.clone().unwrap_or(json)),
        ("recorded at", event.recorded_at.clone()),
        ("tags", event.tags.join(", ")),
        ("metadata", one_lined(event.metadata.get())),
        ("decided by", decided_by),
        ("module", or_none(&commit.module)),
        ("plan", commit.plan.to_string()),
        ("fuel", or_none(&fuel)),
        ("command id", or_none(&commit.command_id)),
        ("correlation id", or_none(&commit.correlation_id)),
        ("causation id", or_none(&commit.causation_id)),
        ("principal", or_none(&commit.principal)),
        ("traceparent", or_none(&commit.traceparent)),
    ];
    facts_table(rows)
}

fn facts_table(facts: impl IntoIterator<Item = (&'static str, String)>) -> Table {
    let mut table = Table::bare();
    for (name, value) in facts {
        // A trailing space prevents right-alignment as a number.
        table.row([name.to_owned(), format!("{value} ")]);
    }
    table
}
