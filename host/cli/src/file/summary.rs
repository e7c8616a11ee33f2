use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Answer;
use super::reader::Line;

/// The result of a file. Every line that was executed is counted once, as accepted, rejected,
/// replayed or failed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Lines that were executed.
    pub commands: u64,
    /// Commands that were recorded in this run.
    pub accepted: u64,
    /// Commands that the domain rejected.
    pub rejected: u64,
    /// Commands that had been recorded before.
    pub replayed: u64,
    /// Commands that failed at the host.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Rejections by the guest's code.
    pub rejections: BTreeMap<String, u64>,
    /// The first rejection of each code.
    #[serde(skip)]
    pub examples: BTreeMap<String, Example>,
    /// Failures by the host's code.
    #[serde(skip)]
    pub failures: BTreeMap<String, u64>,
    /// The first failure of each code.
    #[serde(skip)]
    pub failure_examples: BTreeMap<String, Example>,
}

/// A line and its answer.
#[derive(Debug, Clone)]
pub struct Example {
    /// Number of the line, from 1.
    pub line: u64,
    /// Its stream and the command's type; empty for a line that can't be read.
    pub command: String,
    /// The message of the answer.
    pub message: String,
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            command,
            message,
        } = self;
        match command.is_empty() {
            true => write!(f, "line {line}: {message}"),
            false => write!(f, "line {line}, {command}: {message}"),
        }
    }
}

impl Summary {
    /// Commands per second, rounded.
    pub fn rate(&self) -> u64 {
        if self.seconds > 0.0 {
            (self.commands as f64 / self.seconds).round() as u64
        } else {
            0
        }
    }

    pub(super) fn count(&mut self, line: &Line, answer: &Answer) {
        self.commands += 1;
        match answer {
            Answer::Accepted => self.accepted += 1,
            Answer::Replayed => self.replayed += 1,
            Answer::Rejected { code, message } => {
                self.rejected += 1;
                keep(
                    &mut self.rejections,
                    &mut self.examples,
                    code,
                    line,
                    message,
                );
            }
            Answer::Failed { code, message } => {
                self.failed += 1;
                keep(
                    &mut self.failures,
                    &mut self.failure_examples,
                    code,
                    line,
                    message,
                );
            }
            Answer::GaveUp(_) => {}
        }
    }
}

fn keep(
    counts: &mut BTreeMap<String, u64>,
    examples: &mut BTreeMap<String, Example>,
    code: &str,
    line: &Line,
    message: &str,
) {
    if let Some(count) = counts.get_mut(code) {
        *count += 1;
        return;
    }
    counts.insert(code.to_owned(), 1);
    let command = match &line.command {
        Ok((stream, command)) => format!("{} {stream}", command.name),
        Err(_) => String::new(),
    };
    let example = Example {
        line: line.number,
        command,
        message: message.to_owned(),
    };
    examples.insert(code.to_owned(), example);
}

/// Receives the progress of a run.
pub trait Progress {
    /// The input has this many lines.
    fn begin(&mut self, lines: u64);

    /// This many lines have been answered or skipped; called at intervals and at the end.
    fn advance(&mut self, lines: u64, summary: &Summary);
}

/// Ignores the progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: u64) {}
    fn advance(&mut self, _: u64, _: &Summary) {}
}
