//! Long runs over the history, with progress.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Response;
use serde_json::Value;

use super::table::printable;
use quipu_api::Lines;
use quipu_api::{FindingView, RunLine};

/// Longest line of an answer: a hundred findings.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Shows the progress of a run; returns its last line, as JSON and parsed.
pub async fn watched(response: Response) -> Result<(Value, RunLine)> {
    Watch::new(response).next().await
}

/// The lines of a run as they arrive.
pub struct Watch<S> {
    lines: Lines<S>,
    bar: ProgressBar,
}

impl Watch<()> {
    /// The lines of an answer.
    pub fn new(
        response: Response,
    ) -> Watch<impl Stream<Item = reqwest::Result<Bytes>> + Unpin + Send> {
        Watch {
            lines: Lines::new(response.bytes_stream().boxed(), LINE_BYTES_MAX),
            bar: bar(),
        }
    }
}

impl<S: Stream<Item = reqwest::Result<Bytes>> + Unpin + Send> Watch<S> {
    /// The next line that is not progress. Progress is shown.
    ///
    /// # Errors
    /// When the run ended with a problem, or the connection was lost.
    pub async fn next(&mut self) -> Result<(Value, RunLine)> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some((_, line))) => line,
                Ok(None) | Err(_) => bail!("the connection to the host was lost; run it again"),
            };
            match serde_json::from_slice(&line)? {
                RunLine::Progress(progress) => {
                    self.bar.set_length(progress.head);
                    self.bar.set_position(progress.position);
                }
                RunLine::Problem(problem) => bail!(problem.detail),
                other => {
                    self.bar.finish_and_clear();
                    return Ok((serde_json::from_slice(&line)?, other));
                }
            }
        }
    }
}

/// Writes a finding for people.
pub fn write_finding(finding: &FindingView, out: &mut impl Write) -> Result<()> {
    let position = finding.position.map(|at| format!("position {at}"));
    let stream = finding.stream.as_ref().zip(finding.version);
    let stream = stream.map(|(stream, version)| format!("{stream} version {version}"));
    let document = finding.projection.as_ref().zip(finding.key.as_ref());
    let document = document.map(|(projection, key)| format!("{projection} {key}"));
    let place = [position, stream, document, finding.mismatch.clone()];
    let place: Vec<String> = place.into_iter().flatten().collect();
    let weight = match finding.weight.as_str() {
        "acknowledged" => " (acknowledged)",
        "shared" => " (the active decider can't fold it either)",
        _ => "",
    };
    let place = printable(&place.join(", "));
    // Findings about the audit have no place: their text names the record.
    let line = format!("{}: {place}", finding.kind);
    let line = line.trim_end_matches(": ");
    writeln!(out, "{line}{weight}")?;
    if let Some(name) = &finding.name {
        writeln!(out, "  name {}", printable(name))?;
    }
    if let (Some(command), Some(id)) = (&finding.command, &finding.command_id) {
        let (command, id) = (printable(command), printable(id));
        writeln!(out, "  command {command} {id}, plan {}", finding.plan)?;
    }
    if let Some(module) = &finding.module {
        writeln!(out, "  module {module}")?;
    }
    for line in finding.text.lines() {
        writeln!(out, "  {}", printable(line))?;
    }
    Ok(())
}

/// A progress bar on stderr; none if stderr is not a terminal.
pub fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:20} {human_pos}/{human_len} events  {eta} left");
    let bar = ProgressBar::no_length();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finding_without_a_place_ends_with_its_kind() {
        let finding = json!({
            "name": "audit:12", "weight": "open", "kind": "audit", "position": null, "stream": null,
            "version": null, "command_id": null, "command": null, "module": null, "plan": 0,
            "text": "audit record 12 was changed",
        });
        let finding: FindingView = serde_json::from_value(finding).unwrap();
        let mut out = Vec::new();
        write_finding(&finding, &mut out).unwrap();
        let expected = "audit\n  name audit:12\n  audit record 12 was changed\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
