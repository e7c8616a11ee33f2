//! Reads and parses lines on a separate thread.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::Input;
use quipu::model::{Command, CommandId, StreamId, without_mark};
use quipu_api::{Code, Problem, line};

/// Longest line in bytes, the same as a host's default.
const LINE_BYTES_MAX: u64 = 2 << 20;
/// Number of lines in a batch.
const BATCH: usize = 128;
/// Batches that wait for the receiver.
const BATCHES_MAX: usize = 8;

/// Maximum number of lines without an id in a file: each is remembered.
const LINES_MAX: usize = 20_000_000;

/// Generates ids for lines that have none.
struct Ids {
    batch: blake3::Hash,
    /// Number of occurrences of each line.
    seen: HashMap<u128, u32>,
}

impl Ids {
    fn new(batch: &str) -> Self {
        Self {
            batch: blake3::hash(batch.as_bytes()),
            seen: HashMap::new(),
        }
    }

    /// The id of a line of a stream. The same line gets the same id in every batch of the same
    /// name, wherever it is in the file. The second copy of a line gets a second id.
    fn of(&mut self, stream: &StreamId, text: &[u8]) -> Result<CommandId, Box<Problem>> {
        let mut hasher = blake3::Hasher::new_keyed(self.batch.as_bytes());
        hasher.update(stream.as_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(text);
        let hash = hasher.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        let bad = |text: String| Box::new(Problem::new(Code::BadRequest, text));
        if self.seen.len() >= LINES_MAX {
            return Err(bad(format!(
                "a file has at most {LINES_MAX} lines without a command_id; give each one"
            )));
        }
        let seen = self.seen.entry(u128::from_le_bytes(key)).or_default();
        *seen += 1;
        let id = format!("{}:{seen}", &hash.to_hex()[..32]);
        CommandId::new(&id).map_err(|error| bad(error.0))
    }
}

/// One line.
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its content, or why it can't be read.
    pub command: Result<(StreamId, Command), Box<Problem>>,
}

/// The parsed line; none when it is empty, or was answered in an earlier run.
pub type Work = Option<Line>;

/// Starts to read. `answered` holds the last answered line of each stream.
pub fn start(
    input: Input,
    category: Option<String>,
    answered: HashMap<StreamId, u64>,
) -> mpsc::Receiver<Result<Vec<Work>>> {
    let (sender, receiver) = mpsc::channel(BATCHES_MAX);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(input, category.as_deref(), &answered, &sender) {
            _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn read(
    mut input: Input,
    category: Option<&str>,
    answered: &HashMap<StreamId, u64>,
    sender: &mpsc::Sender<Result<Vec<Work>>>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    let mut ids = Ids::new(&input.batch);
    for number in 1.. {
        text.clear();
        let mut bounded = input.reader.by_ref().take(LINE_BYTES_MAX + 1);
        let count = bounded
            .read_until(b'\n', &mut text)
            .with_context(|| format!("line {number}"))?;
        if count as u64 > LINE_BYTES_MAX {
            anyhow::bail!("line {number} has more than {LINE_BYTES_MAX} bytes");
        }
        if count > 0 {
            let line = match number {
                1 => without_mark(&text),
                _ => &text,
            };
            batch.push(work(number, line, category, &mut ids, answered));
        }
        let is_done = count == 0;
        // A receiver that waits gets even a few lines; the reader itself seldom waits.
        if batch.len() == BATCH || is_done {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.blocking_send(Ok(full)).is_err() || is_done {
                break;
            }
        }
    }
    Ok(())
}

fn work(
    number: u64,
    text: &[u8],
    category: Option<&str>,
    ids: &mut Ids,
    answered: &HashMap<StreamId, u64>,
) -> Work {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let command = line::read(text, category).and_then(|(stream, mut command)| {
        if command.id.is_none() {
            command.id = Some(ids.of(&stream, text)?);
        }
        Ok((stream, command))
    });
    match &command {
        Ok((stream, _)) if answered.get(stream).is_some_and(|last| number <= *last) => None,
        _ => Some(Line { number, command }),
    }
}
