use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::execute::one_lined;
use super::exit::{WrongUse, reported};
use super::table::{Table, grouped, id, number, text, time, word};
use super::{Client, Connection};
use quipu::model::StreamId;
use quipu_api::{CheckedView, FoundView, TakenView};

/// Number of streams that an error names.
const NAMED_MAX: usize = 10;

/// Take a snapshot of a stream, or check those of a category
///
/// A snapshot is folded from the first event; snapshots that were stored before are compared on the
/// way. --check takes no snapshot; the exit code is 1 if one differs from the events.
#[derive(Debug, Args)]
pub struct Snapshot {
    /// The stream, for example account-1
    #[arg(required_unless_present = "check", conflicts_with = "check")]
    stream: Option<String>,
    /// Compare the snapshots of this category
    #[arg(long, value_name = "CATEGORY")]
    check: Option<String>,
    /// With --check: at most N snapshots, newest first [default: 100]
    #[arg(
        long,
        value_name = "N",
        requires = "check",
        conflicts_with = "stream",
        value_parser = clap::value_parser!(u64).range(1..=1_000)
    )]
    sample: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Snapshot {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        match (&self.stream, &self.check) {
            (Some(stream), None) => self.take(stream, &client).await,
            (None, Some(category)) => self.check(category, &client).await,
            _ => Err(WrongUse("a stream, or --check".to_owned()).into()),
        }
    }

    async fn take(&self, stream: &str, client: &Client) -> Result<()> {
        StreamId::new(stream).map_err(|error| WrongUse(error.0))?;
        let request = client.request(Method::POST, &["v1", "streams", stream, "snapshot"]);
        let body = client.send(request).await?.text().await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", one_lined(&body))?;
            return Ok(());
        }
        let TakenView {
            snapshot, found, ..
        } = serde_json::from_str(&body)?;
        let (version, bytes) = (snapshot.version, grouped(snapshot.bytes));
        writeln!(
            out,
            "{stream} has a snapshot at version {version}, {bytes} bytes"
        )?;
        if found.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nwhat was stored before")?;
        let mut table = Table::bare();
        for found in &found {
            let [version, taken_at, kind, worth] = cells(found);
            table.row([version, taken_at, kind, worth]);
        }
        Ok(table.write(&mut out)?)
    }

    async fn check(&self, category: &str, client: &Client) -> Result<()> {
        let mut body = json!({ "category": category });
        if let Some(sample) = self.sample {
            body["sample"] = sample.into();
        }
        let request = client.request(Method::POST, &["v1", "snapshots", "check"]);
        let answer = client.send(request.json(&body)).await?.text().await?;
        let checked: CheckedView = serde_json::from_str(&answer)?;
        if self.json {
            writeln!(io::stdout(), "{}", one_lined(&answer))?;
        } else {
            print(&checked)?;
        }
        verdict(&checked)
    }
}

fn print(checked: &CheckedView) -> Result<()> {
    let mut out = io::stdout().lock();
    let total = checked.snapshots.len();
    let (agree, differ, unusable) = (checked.agree, checked.differ, checked.unusable);
    writeln!(
        out,
        "{total} compared: {agree} agree, {differ} differ, {unusable} unusable"
    )?;
    let mut table = Table::new(&[
        id("stream"),
        number("version"),
        time("taken at"),
        word("").if_not_empty(),
        text("worth"),
    ]);
    let bad = checked.snapshots.iter();
    for one in bad.filter(|one| one.found.worth != "agrees") {
        let [version, taken_at, kind, worth] = cells(&one.found);
        table.row([one.stream.clone(), version, taken_at, kind, worth]);
    }
    if agree < total as u64 {
        writeln!(out)?;
        table.write(&mut out)?;
    }
    Ok(())
}

fn cells(found: &FoundView) -> [String; 4] {
    let worth = match &found.reason {
        Some(reason) => format!("{}: {reason}", found.worth),
        None => found.worth.clone(),
    };
    [
        found.snapshot.version.to_string(),
        found.snapshot.taken_at.clone(),
        if found.anchor { "anchor" } else { "" }.to_owned(),
        worth,
    ]
}

/// Fails when a snapshot differs from the events, naming the streams.
fn verdict(checked: &CheckedView) -> Result<()> {
    if checked.differ == 0 {
        return Ok(());
    }
    let all = checked.snapshots.iter();
    let differ: Vec<&str> = all
        .filter(|one| one.found.worth == "differs")
        .map(|one| one.stream.as_str())
        .collect();
    let named = differ[..differ.len().min(NAMED_MAX)].join(", ");
    let more = if differ.len() > NAMED_MAX {
        ", …"
    } else {
        ""
    };
    Err(reported(format!(
        "{} of {} snapshots of {} differ from what the events say: {named}{more}; \
         `quipu snapshot STREAM` takes a new one",
        differ.len(),
        checked.snapshots.len(),
        checked.category,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_api::{CheckedSnapshot, SnapshotView};

    fn checked(worths: &[&str]) -> CheckedView {
        let snapshot = |(number, worth): (usize, &&str)| CheckedSnapshot {
            stream: format!("note-{number}"),
            found: FoundView {
                snapshot: SnapshotView {
                    version: 1,
                    state_schema_version: 1,
                    content_type: "application/json".to_owned(),
                    bytes: 2,
                    fold: "0".repeat(64),
                    taken_at: "2026-01-01T00:00:00.000000Z".to_owned(),
                },
                anchor: false,
                worth: (*worth).to_owned(),
                reason: None,
            },
        };
        let count = |worth| worths.iter().filter(|it| **it == worth).count() as u64;
        CheckedView {
            category: "note".to_owned(),
            agree: count("agrees"),
            differ: count("differs"),
            unusable: count("unusable"),
            snapshots: worths.iter().enumerate().map(snapshot).collect(),
        }
    }

    #[test]
    fn a_snapshot_that_differs_is_a_failure_that_names_its_stream() {
        assert!(verdict(&checked(&["agrees", "unusable"])).is_ok());
        assert!(verdict(&checked(&[])).is_ok());
        let error = verdict(&checked(&["agrees", "differs", "differs"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("2 of 3 snapshots of note differ"),
            "{text}"
        );
        assert!(text.contains(": note-1, note-2; "), "{text}");
        let many = verdict(&checked(&["differs"; 11])).unwrap_err().to_string();
        assert!(many.contains("note-9, …; "), "{many}");
    }
}
