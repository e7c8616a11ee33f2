use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::table::{Table, grouped, id, number, text, time, word};
use super::{Client, Connection};
use quipu_api::{EventTypeView, StepView, StoredFormView, TypeList, TypeVersion};

/// List types of events: who uses them, and how they are stored
///
/// Older names of a type are in parentheses. The column "read" shows how the active decider, or any
/// reader of the log if there is none, receives stored events: as stored, renamed, or lifted by
/// upcasters. Loading streams with too-new or unknown events fails.
#[derive(Debug, Args)]
pub struct Types {
    /// Only types of this category
    #[arg(long)]
    category: Option<String>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Lines<'a> {
    #[serde(borrow)]
    types: Vec<&'a RawValue>,
}

impl Types {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let query = self.category.iter().map(|name| ("category", name));
        let query: Vec<_> = query.collect();
        let request = client.request(Method::GET, &["v1", "types"]).query(&query);
        let body = client.send(request).await?.text().await?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            let lines: Lines<'_> = serde_json::from_str(&body)?;
            for line in lines.types {
                writeln!(out, "{}", one_lined(line.get()))?;
            }
            return Ok(out.flush()?);
        }
        let list: TypeList = serde_json::from_str(&body)?;
        print(&list, &mut out)?;
        Ok(out.flush()?)
    }
}

fn print(list: &TypeList, out: &mut impl Write) -> Result<()> {
    let mut table = Table::new(&[
        id("category"),
        id("type"),
        number("version"),
        word("written by").if_there_is_room(),
        text("stored as"),
        number("events"),
        time("last event").if_there_is_room(),
        text("read"),
    ]);
    for known in &list.types {
        let first = first_cells(known);
        if known.stored.is_empty() {
            let [category, name, version, writer] = first;
            let none = || String::new();
            table.row([
                category,
                name,
                version,
                writer,
                none(),
                "0".to_owned(),
                none(),
                none(),
            ]);
            continue;
        }
        for (index, form) in known.stored.iter().enumerate() {
            let [category, name, version, writer] = match index {
                0 => first.clone(),
                _ => Default::default(),
            };
            let [stored, events, newest, read] = stored_cells(form, known);
            table.row([
                category, name, version, writer, stored, events, newest, read,
            ]);
        }
    }
    table.write(out)?;
    print_steps(list, out)
}

fn first_cells(known: &EventTypeView) -> [String; 4] {
    let version = known.schema_version.map(|version| version.to_string());
    let writer = known.written_by.first();
    let writer = match writer {
        Some(module) => format!("{} {}", module.name, module.version),
        None if known.category.starts_with('$') => "the host".to_owned(),
        None => "-".to_owned(),
    };
    let mut name = known.r#type.clone();
    if !known.aliases.is_empty() {
        name = format!("{name} ({})", known.aliases.join(", "));
    }
    [
        known.category.clone(),
        name,
        version.unwrap_or_else(|| "-".to_owned()),
        writer,
    ]
}

fn stored_cells(form: &StoredFormView, known: &EventTypeView) -> [String; 4] {
    let mut stored = format!("{} {}", form.r#type, form.schema_version);
    if form.content_type != "application/json" {
        stored = format!("{stored} {}", form.content_type);
    }
    let read = match (known.known, form.read.as_str()) {
        (false, "stored") => "stored; no module knows it".to_owned(),
        (_, read) => read.to_owned(),
    };
    [
        stored,
        grouped(form.events),
        form.newest.recorded_at.clone(),
        read,
    ]
}

/// The steps of upcasters, each once.
fn print_steps(list: &TypeList, out: &mut impl Write) -> Result<()> {
    let mut steps: Vec<(&str, &StepView)> = Vec::new();
    for known in &list.types {
        for step in &known.steps {
            let step = (known.category.as_str(), step);
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[
        id("category"),
        word("step from"),
        text("to"),
        word("of").if_there_is_room(),
    ]);
    for (category, step) in steps {
        let to: Vec<String> = step.to.iter().map(shown).collect();
        let to = match to.is_empty() {
            true => "nothing: it is dropped".to_owned(),
            false => to.join(", "),
        };
        let module = format!("{} {}", step.module.name, step.module.version);
        table.row([category.to_owned(), shown(&step.from), to, module]);
    }
    Ok(table.write(out)?)
}

/// `deposited 2`.
pub fn shown(it: &TypeVersion) -> String {
    format!("{} {}", it.r#type, it.schema_version)
}
