//! Prints previews of commands: the events that a command would add, and what it would change.

use std::io::Write;

use anyhow::Result;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::table::{Table, counted, grouped, id, printable, short, text};
use quipu_api::json_diff::differences;

#[derive(Deserialize)]
struct Preview<'a> {
    stream: String,
    version: u64,
    module: String,
    fuel: u64,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
    #[serde(borrow)]
    state_before: Option<&'a RawValue>,
    #[serde(borrow)]
    state_after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Prints the answer of a host: JSON on one line, or text.
pub fn print(answer: &[u8], as_json: bool, out: &mut impl Write) -> Result<()> {
    if as_json {
        writeln!(out, "{}", one_lined(std::str::from_utf8(answer)?))?;
        return Ok(());
    }
    let preview: Preview<'_> = serde_json::from_slice(answer)?;
    let (stream, events) = (printable(&preview.stream), &preview.events);
    writeln!(
        out,
        "{stream} is at version {}; the command would add {}",
        grouped(preview.version),
        counted(events.len() as u64, "event", "events")
    )?;
    let mut table = Table::bare();
    for event in events {
        let data = event.data.map_or("(binary)", RawValue::get);
        table.row([event.r#type.clone(), one_lined(data)]);
    }
    table.write(out)?;
    match (preview.state_before, preview.state_after) {
        (Some(before), Some(after)) => changes(before, after, out)?,
        _ => writeln!(out, "\nthe decider does not show its state")?,
    }
    writeln!(
        out,
        "\nmodule {} decided with {} fuel; nothing was stored",
        short(&preview.module),
        grouped(preview.fuel)
    )?;
    Ok(())
}

fn changes(before: &RawValue, after: &RawValue, out: &mut impl Write) -> Result<()> {
    let (found, has_more) = differences(before, after);
    if found.is_empty() {
        writeln!(out, "\nthe state would not change")?;
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[id("state"), text("before"), text("after")]);
    let value = |value: Option<&str>| value.map_or_else(|| "-".to_owned(), one_lined);
    for it in &found {
        let place = match it.place.as_str() {
            "" => "(all of it)",
            place => place,
        };
        table.row([place.to_owned(), value(it.before), value(it.after)]);
    }
    table.write(out)?;
    if has_more {
        writeln!(out, "further changes are not shown")?;
    }
    Ok(())
}
