use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::Reason;
use super::client::HostProblem;
use super::execute::one_lined;
use super::exit::reported;
use super::pretty::pretty;
use super::preview;
use super::table::{Table, number, printable, text, time, word};
use super::{Client, Connection};
use quipu_api::{Code, Problem};

/// Number of proposals that one request asks for.
const PAGE: u64 = 100;

/// List, show, approve and deny commands that were proposed
///
/// A proposal is a command that waits until somebody approves it who may execute it. Make one with
/// `quipu execute --propose`; tools for agents in the mode propose make them, too.
#[derive(Debug, Args)]
pub struct Proposal {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Show(Show),
    Preview(Preview),
    Approve(Approve),
    Deny(Deny),
}

/// List open proposals, newest first
#[derive(Debug, Args)]
struct List {
    /// Only of streams of this category
    category: Option<String>,
    /// Also those that were decided or have expired
    #[arg(long)]
    all: bool,
    /// At most N proposals
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Show a proposal with its data and its effect
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    of: Of,
}

/// Show what a proposal would lead to now: its events, and what would change in the state
///
/// The command is decided on the state that the stream has now, and nothing is stored. The exit code
/// is 3 when the domain would reject the command.
#[derive(Debug, Args)]
struct Preview {
    #[command(flatten)]
    of: Of,
}

/// Approve a proposal and execute its command
///
/// The command is decided on the state that the stream has now. A second approval has the same
/// result as the first one. The exit code is 3 when the domain rejects the command.
#[derive(Debug, Args)]
struct Approve {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    reason: Reason,
}

/// Deny a proposal: its command will not be executed
#[derive(Debug, Args)]
struct Deny {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    reason: Reason,
}

/// A proposal
#[derive(Debug, Args)]
struct Of {
    /// The proposal's number
    number: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    proposals: Vec<&'a RawValue>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct View<'a> {
    number: u64,
    state: String,
    stream: String,
    command_id: String,
    command: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    content_type: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    #[serde(borrow)]
    expected_version: Option<&'a RawValue>,
    note: Option<String>,
    proposed_at: String,
    proposed_by: Option<String>,
    expires_at: String,
    #[serde(borrow)]
    effect: Effect<'a>,
    decided_at: Option<String>,
    decided_by: Option<String>,
    reason: Option<String>,
    result: Option<Outcome>,
}

#[derive(Deserialize)]
struct Effect<'a> {
    version: u64,
    module: String,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Outcome {
    version: Option<u64>,
    code: Option<String>,
    detail: Option<String>,
}

impl Proposal {
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::List(list) => list.run().await,
            Action::Show(show) => show.run().await,
            Action::Preview(preview) => preview.run().await,
            Action::Approve(approve) => approve.run().await,
            Action::Deny(deny) => deny.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            number("number"),
            word("state"),
            text("command"),
            text("effect").if_there_is_room(),
            text("proposed by").if_not_empty(),
            time("expires"),
            text("note").if_not_empty(),
        ]);
        let (mut left, mut before) = (self.limit, None::<u64>);
        while left > 0 {
            let mut query = vec![("limit", PAGE.min(left).to_string())];
            query.extend(self.category.iter().map(|name| ("category", name.clone())));
            query.extend(self.all.then(|| ("state", "all".to_owned())));
            query.extend(before.map(|before| ("before", before.to_string())));
            let request = client.request(Method::GET, &["v1", "proposals"]);
            let body = client.send(request.query(&query)).await?.bytes().await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            left -= left.min(page.proposals.len() as u64);
            for proposal in page.proposals {
                match self.json {
                    true => writeln!(out, "{}", one_lined(proposal.get()))?,
                    false => table.row(row(serde_json::from_str(proposal.get())?)),
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        if !self.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn row(view: View<'_>) -> [String; 7] {
    let events: Vec<&str> = view
        .effect
        .events
        .iter()
        .map(|event| &*event.r#type)
        .collect();
    [
        view.number.to_string(),
        view.state,
        format!("{} on {}", view.command, view.stream),
        one_lined(&events.join(", ")),
        view.proposed_by.unwrap_or_default(),
        view.expires_at,
        view.note.unwrap_or_default(),
    ]
}

impl Of {
    /// Sends a request about the proposal. Prints the answer.
    async fn send(
        &self,
        method: Method,
        action: &[&str],
        reason: Option<&Reason>,
    ) -> Result<Vec<u8>> {
        let client = Client::of(&self.connection)?;
        let number = self.number.to_string();
        let path = [&["v1", "proposals", &number], action].concat();
        let request = client.request(method, &path);
        let request = match reason {
            Some(reason) => reason.on(request),
            None => request,
        };
        Ok(client.send(request).await?.bytes().await?.to_vec())
    }

    fn print(&self, answer: &[u8]) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        print(answer, self.json, &mut out)?;
        Ok(out.flush()?)
    }
}

/// Prints the answer of a host about a proposal: JSON on one line, or text.
pub fn print(answer: &[u8], as_json: bool, out: &mut impl Write) -> Result<()> {
    if as_json {
        writeln!(out, "{}", one_lined(std::str::from_utf8(answer)?))?;
        return Ok(());
    }
    write_view(&serde_json::from_slice(answer)?, out)
}

impl Show {
    async fn run(self) -> Result<()> {
        let answer = self.of.send(Method::GET, &[], None).await?;
        self.of.print(&answer)
    }
}

impl Preview {
    async fn run(self) -> Result<()> {
        let answer = self.of.send(Method::GET, &["preview"], None).await?;
        preview::print(&answer, self.of.json, &mut io::stdout().lock())
    }
}

impl Deny {
    async fn run(self) -> Result<()> {
        let denied = self.of.send(Method::POST, &["deny"], Some(&self.reason));
        self.of.print(&denied.await?)
    }
}

impl Approve {
    async fn run(self) -> Result<()> {
        let approved = self.of.send(Method::POST, &["approve"], Some(&self.reason));
        let approved = approved.await?;
        self.of.print(&approved)?;
        let view: View<'_> = serde_json::from_slice(&approved)?;
        let Some(Outcome {
            code: Some(code),
            detail,
            ..
        }) = view.result
        else {
            return Ok(());
        };
        let detail = detail.unwrap_or_default();
        if self.of.json {
            return Err(reported(format!("the command was not executed: {detail}")));
        }
        let detail = format!("the command was not executed: {detail}");
        Err(HostProblem(Box::new(Problem::new(Code::named(&code), detail))).into())
    }
}

fn write_view(view: &View<'_>, out: &mut impl Write) -> Result<()> {
    let effect = &view.effect;
    let mut table = Table::bare();
    let mut fact = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            table.row([name.to_owned(), one_lined(value)]);
        }
    };
    fact("proposal", Some(&view.number.to_string()));
    fact("state", Some(&view.state));
    fact("stream", Some(&view.stream));
    fact("command", Some(&view.command));
    fact("command id", Some(&view.command_id));
    let expected = view.expected_version.map(RawValue::get);
    fact("expected version", expected);
    fact("correlation id", view.correlation_id.as_deref());
    fact("causation id", view.causation_id.as_deref());
    fact("note", view.note.as_deref());
    fact("proposed at", Some(&view.proposed_at));
    fact("proposed by", view.proposed_by.as_deref());
    fact("expires at", Some(&view.expires_at));
    fact("decided at", view.decided_at.as_deref());
    fact("decided by", view.decided_by.as_deref());
    fact("reason", view.reason.as_deref());
    if let Some(result) = &view.result {
        let version = result.version;
        let executed = version.map(|version| format!("executed; version {version}"));
        let failed = || format!("not executed: {}", result.detail.as_deref().unwrap_or("?"));
        fact("result", Some(&executed.unwrap_or_else(failed)));
    }
    table.write(out)?;
    let data = match view.data {
        Some(data) => pretty(data.get()),
        None => view.content_type.clone().unwrap_or_default(),
    };
    writeln!(out, "\n{}", printed(&data))?;
    let metadata = view.metadata.map(RawValue::get);
    if let Some(metadata) = metadata.filter(|metadata| *metadata != "{}") {
        writeln!(out, "\nmetadata {}", printed(&pretty(metadata)))?;
    }
    writeln!(
        out,
        "\neffect at version {}, as module {} decided:",
        effect.version,
        effect.module.get(..12).unwrap_or(&effect.module)
    )?;
    let mut table = Table::bare();
    for event in &effect.events {
        let data = event.data.map_or("(binary)", RawValue::get);
        table.row([event.r#type.clone(), one_lined(data)]);
    }
    if effect.events.is_empty() {
        writeln!(out, "no events")?;
    }
    Ok(table.write(out)?)
}

/// Text on several lines without control characters.
fn printed(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}
