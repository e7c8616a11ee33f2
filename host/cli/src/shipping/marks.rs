//! Marks of streams as of a position: archived and truncated streams.
//!
//! The log records each change of a mark as an event of `$streams`. So the marks as of any position
//! are known, also when they were shipped later. The state of a truncated stream is in its line,
//! which is shipped soon after the event. Without it the stream is recovered with all its events.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::line::Line;
use super::spool::Lone;

/// The stream with events about other streams.
const STREAMS: &str = "$streams";

/// The marks of all streams.
#[derive(Default)]
pub struct Marks {
    streams: BTreeMap<String, Marked>,
    /// Nothing after this position is included.
    cut: Option<u64>,
}

/// The history of a stream's marks.
#[derive(Default)]
struct Marked {
    /// Changes: position, and the time if it was archived then, none if it was restored.
    archived: Vec<(u64, Option<String>)>,
    /// Changes: position, time, and the first version that is shown; 0 if all are.
    truncated: Vec<(u64, String, u64)>,
    /// The time in the last line about the stream.
    line: Option<String>,
    /// The lines with states: time, and the first version that is shown.
    anchors: Vec<(String, u64, Lone)>,
}

#[derive(Deserialize)]
struct Change {
    stream: String,
    #[serde(default)]
    before: u64,
}

#[derive(Deserialize)]
struct AnchorData {
    before: u64,
}

impl Marks {
    /// Takes an event.
    pub fn event(&mut self, line: &Line<'_>) -> Result<()> {
        if line.stream.as_deref() != Some(STREAMS) {
            return Ok(());
        }
        let Ok(change) = line.data::<Change>() else {
            return Ok(());
        };
        let time = line.time()?.to_owned();
        let position = line.position.unwrap_or_default();
        let marked = self.streams.entry(change.stream).or_default();
        match &*line.r#type {
            "archived" => marked.archived.push((position, Some(time))),
            "restored" => marked.archived.push((position, None)),
            "truncated" => marked.truncated.push((position, time, change.before)),
            _ => {}
        }
        Ok(())
    }

    /// Takes the line of an archived stream.
    pub fn archived(&mut self, line: &Line<'_>) -> Result<()> {
        let marked = self.streams.entry(line.subject()?.to_owned()).or_default();
        marked.line = Some(line.time()?.to_owned());
        Ok(())
    }

    /// Takes the line of a truncated stream.
    pub fn anchor(&mut self, line: &Line<'_>, text: Lone) -> Result<()> {
        let AnchorData { before } = line.data()?;
        let marked = self.streams.entry(line.subject()?.to_owned()).or_default();
        marked.anchors.push((line.time()?.to_owned(), before, text));
        Ok(())
    }

    /// Nothing after this position is included.
    pub fn cut_at(&mut self, position: u64) {
        self.cut = Some(position);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    fn includes(&self, position: u64) -> bool {
        self.cut.is_none_or(|cut| position <= cut)
    }

    /// Archived streams, with the time.
    pub fn archived_streams(&self) -> Vec<(&str, &str)> {
        let mut archived = Vec::new();
        for (stream, marked) in &self.streams {
            let mut changes = marked.archived.iter().rev();
            let since = match changes.find(|(position, _)| self.includes(*position)) {
                Some((_, since)) => since.as_deref(),
                // A mark that the log does not record may be older than the log.
                None if marked.archived.is_empty() && !self.is_cut() => marked.line.as_deref(),
                None => None,
            };
            archived.extend(since.map(|since| (stream.as_str(), since)));
        }
        archived
    }

    /// The lines of truncated streams, and the number of truncated streams whose line is missing.
    pub fn truncated_streams(&self) -> (Vec<Lone>, u64) {
        let (mut lines, mut missing) = (Vec::new(), 0);
        for marked in self.streams.values() {
            let mut changes = marked.truncated.iter().rev();
            let change = changes.find(|(position, ..)| self.includes(*position));
            let mut anchors = marked.anchors.iter().rev();
            let found = match change {
                Some((_, _, 0)) => continue,
                // The state was taken before the event was recorded.
                Some((_, at, version)) => {
                    anchors.find(|(time, before, _)| before == version && time <= at)
                }
                None if marked.truncated.is_empty() && !self.is_cut() => anchors.next(),
                None => continue,
            };
            match found {
                Some((_, _, line)) => lines.push(*line),
                None => missing += u64::from(change.is_some()),
            }
        }
        (lines, missing)
    }
}
