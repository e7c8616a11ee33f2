//! Executes a file of commands: in order within a stream, concurrently across
//! streams, each line once.
//!
//! ```no_run
//! # async fn example(host: quipu::Host) -> anyhow::Result<()> {
//! use quipu_cli::file::{self, Input, NoProgress, Options, Target};
//!
//! let input = Input::open("loan-commands.ndjson.gz".as_ref())?;
//! let options = Options {
//!     category: Some("loan".to_owned()),
//!     ..Options::default()
//! };
//! let summary = file::run(&Target::Host(host), input, options, &mut NoProgress).await?;
//! println!("{} of {} accepted", summary.accepted, summary.commands);
//! # Ok(())
//! # }
//! ```

mod http;
mod input;
mod reader;
mod resume;
mod summary;
mod target;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};

pub use http::HttpTarget;
pub use input::Input;
pub use summary::{Example, NoProgress, Progress, Summary};
pub use target::{Answer, Target};

use self::reader::Line;
use self::resume::Resume;
use quipu::model::StreamId;
use quipu_api::Lanes;

/// How a file is executed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The category in which the `id` of a line is a key.
    pub category: Option<String>,
    /// Maximum number of streams with a command in flight.
    pub in_flight: usize,
    /// The file that stores the last answered line of each stream.
    pub resume: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            category: None,
            in_flight: 256,
            resume: None,
        }
    }
}

/// Lines that may wait for an earlier one of their stream, for each stream in flight.
const WAITING_FACTOR: usize = 16;

/// Executes every line of the input. A line that the host rejects is counted and the run continues;
/// transient errors are retried for a minute, in order.
///
/// # Errors
/// When the input can't be read, or the host stays unreachable or overloaded. The lines answered
/// until then are in the file of `resume`.
pub async fn run(
    target: &Target,
    input: Input,
    options: Options,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let started = Instant::now();
    let mut resume = match &options.resume {
        Some(path) => Some(Resume::open(path, &input.digest)?),
        None => None,
    };
    if let Some(lines) = input.lines {
        progress.begin(lines);
    }
    let answered = resume.as_ref().map(Resume::lines).unwrap_or_default();
    let mut lines = reader::start(input, options.category, answered);
    let waiting_max = options.in_flight.saturating_mul(WAITING_FACTOR);
    let mut lanes = Lanes::new(options.in_flight, waiting_max, |_: Lane, line: Line| {
        answer(target, line)
    });
    let mut summary = Summary::default();
    let mut batch = Vec::new().into_iter();
    let (mut skipped, mut is_done) = (0, false);
    loop {
        while lanes.has_room() {
            match batch.next() {
                Some(Some(line)) => lanes.push(Lane::of(&line), line),
                Some(None) => skipped += 1,
                None => break,
            }
        }
        let wants_lines = batch.len() == 0 && !is_done && lanes.has_room();
        if !wants_lines && lanes.is_idle() {
            break;
        }
        tokio::select! {
            Some(answered) = lanes.next(), if !lanes.is_idle() => {
                let (line, answer) = answered;
                if let Answer::GaveUp(why) = answer {
                    if let Some(resume) = &mut resume {
                        resume.write()?;
                    }
                    bail!("line {}: {why}; run the file again: no command is recorded twice", line.number);
                }
                summary.count(&line, &answer);
                if summary.commands % 64 == 0 {
                    progress.advance(summary.commands + skipped, &summary);
                }
                if let (Some(resume), Ok((stream, _))) = (&mut resume, &line.command) {
                    resume.answered(stream, line.number)?;
                }
            }
            lines = lines.recv(), if wants_lines => match lines {
                Some(lines) => batch = lines?.into_iter(),
                None => is_done = true,
            },
        }
    }
    if let Some(resume) = &mut resume {
        resume.write()?;
    }
    summary.seconds = started.elapsed().as_secs_f64();
    progress.advance(summary.commands + skipped, &summary);
    Ok(summary)
}

async fn answer(target: &Target, line: Line) -> (Line, Answer) {
    let answer = match &line.command {
        Ok((stream, command)) => target.execute(stream, command).await,
        Err(problem) => Answer::of_problem((**problem).clone()),
    };
    (line, answer)
}

/// The key that keeps lines in order; a line that can't be read has its own key.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Lane {
    Stream(StreamId),
    Line(u64),
}

impl Lane {
    fn of(line: &Line) -> Self {
        match &line.command {
            Ok((stream, _)) => Self::Stream(stream.clone()),
            Err(_) => Self::Line(line.number),
        }
    }
}
