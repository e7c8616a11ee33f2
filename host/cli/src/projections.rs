use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::execute::one_lined;
use super::table::{Table, grouped, id, number, text, word};
use super::{Client, Connection};
use quipu_api::{BuildView, ProjectionView};

/// List projections with lifecycle, progress and errors
#[derive(Debug, Args)]
pub struct Projections {
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    projections: Vec<&'a RawValue>,
}

impl Projections {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "projections"]);
        let body = client.send(request).await?.text().await?;
        let list: List<'_> = serde_json::from_str(&body)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            for projection in list.projections {
                writeln!(out, "{}", one_lined(projection.get()))?;
            }
            return Ok(out.flush()?);
        }
        let mut table = Table::new(&[
            id("projection"),
            word("lifecycle").if_there_is_room(),
            word("on error").if_there_is_room(),
            word("state"),
            number("version"),
            number("position").if_there_is_room(),
            number("lag"),
            number("documents").if_there_is_room(),
            number("parked").if_not_empty(),
            number("skipped").if_not_empty(),
            text(""),
        ]);
        for projection in list.projections {
            let projection: ProjectionView = serde_json::from_str(projection.get())?;
            table.row(row(&projection));
        }
        table.write(&mut out)?;
        Ok(out.flush()?)
    }
}

fn row(projection: &ProjectionView) -> [String; 11] {
    let main = projection.main_build();
    let deployed = projection.deployed.as_ref();
    let version = main.map(|build| build.version);
    let version = version.or(deployed.map(|deployed| deployed.version));
    let number = |count: fn(&BuildView) -> u64| match main {
        Some(build) => grouped(count(build)),
        None => "-".to_owned(),
    };
    [
        projection.name.clone(),
        projection.lifecycle.clone(),
        projection.on_error.clone(),
        projection.state.clone(),
        version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
        number(|build| build.position),
        number(|build| build.lag),
        number(|build| build.documents),
        number(|build| build.parked),
        number(|build| build.skipped),
        note(projection),
    ]
}

/// Remarks for people that the numbers do not show.
fn note(projection: &ProjectionView) -> String {
    let mut notes = Vec::new();
    let next = projection.builds.iter().find(|build| build.role == "next");
    if let Some(next) = next.filter(|_| projection.builds.len() > 1) {
        notes.push(match next.state.as_str() {
            "ready" if next.waits.is_some() => {
                format!("version {} waits for `switch`", next.version)
            }
            "ready" => format!("version {} is ready to take over", next.version),
            _ => format!("version {} is {}", next.version, progress(next)),
        });
    }
    for build in &projection.builds {
        if let Some(trouble) = &build.trouble {
            notes.push(trouble.error.clone());
        }
    }
    if projection.state == "live" && !projection.builds.is_empty() {
        notes.push("its old builds can be dropped".to_owned());
    }
    if projection.deployed.is_none() {
        notes.push("no longer deployed".to_owned());
    }
    one_lined(&notes.join("; "))
}

/// `40% built, 2 min left`.
fn progress(build: &BuildView) -> String {
    let head = build.position.saturating_add(build.lag).max(1);
    let percent = u128::from(build.position) * 100 / u128::from(head);
    match build.remaining_ms {
        Some(ms) => format!("{percent}% built, {} left", spoken(ms)),
        None => format!("{percent}% built"),
    }
}

/// A time for people: `20 s`, `2 min`, `3.5 h`.
pub fn spoken(ms: u64) -> String {
    match ms {
        0..1_000 => "under 1 s".to_owned(),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{}.{} h", ms / 3_600_000, ms % 3_600_000 / 360_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_reports_rebuilds_and_troubles() {
        let build = |role: &str, state: &str, position: u64| {
            json!({
                "role": role, "version": 2, "module": "d", "state": state, "position": position,
                "lag": 200 - position, "documents": 3, "parked": 0, "skipped": 0,
                "started_at": "t", "owned": true,
            })
        };
        let noted = |deployed: bool, builds: serde_json::Value| {
            let deployed = deployed.then(|| json!({"component": "c", "module": "d", "version": 2}));
            let projection = json!({
                "name": "notes", "deployed": deployed, "lifecycle": "async", "on_error": "stop",
                "state": "x", "paused": false, "held": false, "log_head": 200, "builds": builds,
            });
            note(&serde_json::from_value(projection).unwrap())
        };
        assert_eq!(noted(true, json!([build("active", "caught-up", 200)])), "");
        assert_eq!(noted(false, json!([])), "no longer deployed");
        let mut next = build("next", "catching-up", 50);
        next["remaining_ms"] = 20_000.into();
        let text = noted(true, json!([build("active", "caught-up", 200), next]));
        assert_eq!(text, "version 2 is 25% built, 20 s left");
        let ready = build("next", "ready", 200);
        let text = noted(true, json!([build("active", "caught-up", 200), ready]));
        assert_eq!(text, "version 2 is ready to take over");
        let mut stopped = build("active", "stopped", 50);
        stopped["trouble"] = json!({
            "stopped": true, "position": 51, "stream": null, "document": null,
            "error": "it\nfails", "since": "t", "attempts": 3,
        });
        assert_eq!(noted(true, json!([stopped])), "it fails");
    }

    #[test]
    fn a_time_is_spoken_in_the_unit_that_fits() {
        for (ms, expected) in [
            (999, "under 1 s"),
            (1_000, "1 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_999, "119 min"),
            (12_600_000, "3.5 h"),
        ] {
            assert_eq!(spoken(ms), expected);
        }
    }
}
