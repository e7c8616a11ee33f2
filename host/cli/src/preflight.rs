use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use console::Term;
use reqwest::Method;
use serde_json::{Value, json};

use super::author::diff;
use super::deploy::upload;
use super::execute::one_lined;
use super::exit::reported;
use super::table::{self, Table, counted, grouped, id, number, printable, short};
use super::{Client, Connection, runs};
use quipu_api::{PreflightView, ReleaseChangeView, RunLine};

/// Number of examples to print.
const PRINTED_MAX: usize = 5;

/// Re-decide recorded commands with components before activation
///
/// The components are uploaded. They decide the recorded commands of the categories that they would
/// change, each on the state that the recorded events before it lead to. Their decisions are
/// compared with the recorded ones. Types of stored events, snapshots, and the events that active
/// projections read are checked, too. Changes that break callers, readers or queries are listed, as
/// by `quipu diff`; they block nothing. The exit code is 1 if something blocks the activation.
#[derive(Debug, Args)]
pub struct Preflight {
    /// The components, which would become active together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Check N streams, drawn at random
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    sample: Option<u64>,
    /// Read at most N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Read events for at most S seconds
    #[arg(
        long,
        value_name = "S",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    seconds: u64,
    /// A kind of objection that does not block it, for example decision or rejected; may be
    /// repeated
    #[arg(long, value_name = "KIND")]
    allow: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Preflight {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut digests = Vec::with_capacity(self.files.len());
        for file in &self.files {
            digests.push(upload(&client, file).await?.digest);
        }
        let mut body = json!({
            "digests": digests,
            "time_ms": self.seconds * 1_000,
            "allow": self.allow,
        });
        if let Some(sample) = self.sample {
            body["sample"] = sample.into();
        }
        if let Some(events) = self.events {
            body["events"] = events.into();
        }
        let (line, found) = request_preflight(&client, &body).await?;
        if self.json {
            writeln!(io::stdout(), "{}", line["preflight"])?;
        } else {
            let mut out = io::BufWriter::new(io::stdout().lock());
            print(&found, table::width(&Term::stdout()), &mut out)?;
            out.flush()?;
        }
        match found.passes {
            true => Ok(()),
            false => Err(reported(
                "the preflight fails; --allow KIND lets a kind of objection pass".to_owned(),
            )),
        }
    }
}

/// Requests a preflight; returns the last line, as JSON and parsed.
pub async fn request_preflight(
    client: &Client,
    body: &Value,
) -> Result<(Value, Box<PreflightView>)> {
    let request = client.request(Method::POST, &["v1", "preflights"]);
    let response = client.send(request.json(body)).await?;
    match runs::watched(response).await? {
        (line, RunLine::Preflight(found)) => Ok((line, found)),
        _ => bail!("the host sent an unexpected answer"),
    }
}

/// Writes the findings for people, with tables that are cut to a width.
pub fn print(found: &PreflightView, width: Option<usize>, out: &mut impl Write) -> Result<()> {
    let name = one_lined(&found.name);
    let module = short(&found.module);
    let categories = match found.categories.is_empty() {
        true => "nothing would be served otherwise".to_owned(),
        false => format!("it would serve {}", one_lined(&found.categories.join(", "))),
    };
    let others = found
        .others
        .iter()
        .map(|name| format!(", {}", one_lined(name)));
    let others: String = others.collect();
    writeln!(
        out,
        "{name} {module}{others} on plan {}: {categories}",
        found.plan
    )?;
    let (until, head) = (grouped(found.until), grouped(found.head));
    let events = counted(found.events, "event", "events");
    writeln!(out, "{events}, up to position {until} of {head}")?;
    if !found.commands.is_empty() {
        writeln!(out)?;
        write_commands(found, width, out)?;
    }
    writeln!(out)?;
    if found.objections.is_empty() {
        writeln!(out, "nothing speaks against it")?;
    }
    for objection in &found.objections {
        let weight = if objection.blocks {
            "blocks"
        } else {
            "allowed"
        };
        let (kind, text) = (printable(&objection.kind), printable(&objection.text));
        writeln!(out, "{weight}: {kind}: {text}")?;
    }
    print_changes(&found.changes, out)?;
    // One example of each kind and type of command.
    let mut shown = BTreeSet::new();
    let mut examples = found.examples.iter();
    while let Some(example) = examples.next()
        && shown.len() < PRINTED_MAX
    {
        if shown.insert((&example.kind, &example.command)) {
            writeln!(out)?;
            runs::write_finding(example, out)?;
        }
    }
    if found.examples.len() > shown.len() {
        writeln!(
            out,
            "\n--json of `preflight` and `shadow` has up to 100 examples"
        )?;
    }
    Ok(())
}

/// Writes what a release changes for others, one line each, as `quipu diff` does.
pub fn print_changes(changes: &[ReleaseChangeView], out: &mut impl Write) -> io::Result<()> {
    for change in changes {
        let (component, affected) = (printable(&change.component), printable(&change.affected));
        let mark = diff::mark(change.breaks);
        let text = printable(&change.text);
        writeln!(out, "{mark}  {component}: {affected}: {text}")?;
    }
    Ok(())
}

fn write_commands(found: &PreflightView, width: Option<usize>, out: &mut impl Write) -> Result<()> {
    let mut table = Table::new(&[
        id("category"),
        id("command"),
        number("same"),
        number("lifted").if_not_empty(),
        number("as active").if_not_empty(),
        number("different").if_not_empty(),
        number("rejected").if_not_empty(),
        number("unread").if_not_empty(),
        number("failed").if_not_empty(),
        number("impure").if_not_empty(),
        number("undecided").if_not_empty(),
        number("fuel").if_there_is_room(),
        number("time").if_there_is_room(),
    ]);
    for judged in &found.commands {
        let fuel = times(judged.fuel, judged.fuel_recorded);
        table.row([
            one_lined(&judged.category),
            one_lined(&judged.command),
            grouped(judged.same),
            grouped(judged.lifted),
            grouped(judged.as_active),
            grouped(judged.different),
            grouped(judged.rejected),
            grouped(judged.unread),
            grouped(judged.failed),
            grouped(judged.impure),
            grouped(judged.undecided),
            fuel,
            times(judged.time_ns, judged.time_active_ns),
        ]);
    }
    table.write_within(width, out)?;
    write_refusals(found, width, out)
}

fn times(now: u64, before: u64) -> String {
    match before {
        0 => "-".to_owned(),
        before => format!("x{:.2}", now as f64 / before as f64),
    }
}

/// The result for stored rejections, if there are any.
fn write_refusals(found: &PreflightView, width: Option<usize>, out: &mut impl Write) -> Result<()> {
    let mut table = Table::new(&[
        id("category"),
        id("rejected command"),
        number("same code"),
        number("other code"),
        number("accepted"),
        number("failed"),
    ]);
    let mut is_empty = true;
    for judged in &found.commands {
        let counts = [
            judged.refused_same,
            judged.refused_other,
            judged.accepted,
            judged.refused_failed,
        ];
        if counts == [0; 4] {
            continue;
        }
        is_empty = false;
        let names = [one_lined(&judged.category), one_lined(&judged.command)];
        table.cells(names.into_iter().chain(counts.map(grouped)));
    }
    if is_empty {
        return Ok(());
    }
    writeln!(out)?;
    Ok(table.write_within(width, out)?)
}
