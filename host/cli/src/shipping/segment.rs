//! A segment: lines of an export, without its first and its last one.
//!
//! Events and their commits are in every segment. The other lines (components, activations, dropped
//! events, marks of streams) are only in the segment that has them first, or changed.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::line::{Commit, Kind, Line};
use super::manifest::Entry;
use quipu::model::Digest;

/// What a segment contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    pub bytes: u64,
    pub commits: u64,
    pub events: u64,
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub last_id: Option<String>,
    pub newest: Option<String>,
    /// Events that the last commit lacks.
    pub missing: u64,
}

impl Tally {
    /// Adds a line. Commits must be whole, and positions rise from `after` on.
    pub fn add(&mut self, line: &Line<'_>, kind: Kind, bytes: usize, after: u64) -> Result<()> {
        self.lines += 1;
        self.bytes += bytes as u64;
        match kind {
            Kind::Event => {
                let position = line.position.context("an event has no position")?;
                let last = self.last.unwrap_or(after);
                if position <= last {
                    bail!("position {position} does not come after position {last}");
                }
                let missing = self.missing.checked_sub(1);
                self.missing = missing.context("an event is without its commit")?;
                self.events += 1;
                self.first.get_or_insert(position);
                self.last = Some(position);
                self.last_id = Some(line.id.to_string());
                self.newest = Some(line.time()?.to_owned());
                return Ok(());
            }
            Kind::Commit => {
                self.check_whole()?;
                self.missing = line.data::<Commit<'_>>()?.events;
                self.commits += 1;
            }
            Kind::Begin | Kind::End => bail!("a {} does not belong here", line.r#type),
            _ => self.check_whole()?,
        }
        Ok(())
    }

    /// Checks that the last commit is whole.
    pub fn check_whole(&self) -> Result<()> {
        match self.missing {
            0 => Ok(()),
            missing => bail!("the last commit lacks {missing} of its events"),
        }
    }

    /// Adds the content that follows.
    pub fn append(&mut self, other: &Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.commits += other.commits;
        self.events += other.events;
        self.first = self.first.or(other.first);
        self.last = other.last.or(self.last);
        self.last_id = other.last_id.clone().or(self.last_id.take());
        self.newest = other.newest.clone().or(self.newest.take());
    }
}

/// What the manifest says about the content of a file.
impl From<&Entry> for Tally {
    fn from(entry: &Entry) -> Self {
        let has_events = entry.events > 0;
        Self {
            lines: entry.lines,
            bytes: entry.plain(),
            commits: entry.commits,
            events: entry.events,
            first: has_events.then_some(entry.first),
            last: has_events.then_some(entry.last),
            last_id: entry.last_id.clone().filter(|_| has_events),
            newest: entry.newest.clone(),
            missing: 0,
        }
    }
}

/// What helps when a segment is not the one that was shipped.
const REMEDY: &str = "restore it from a copy of the folder, or ship into a new folder";

/// Reads a segment, and compares it with the manifest.
///
/// # Errors
/// When it is missing or changed. The error names the file.
pub fn read(dir: &Path, entry: &Entry) -> Result<Bytes> {
    let path = dir.join(&entry.file);
    let shown = path.display();
    let found = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{shown}: the segment is missing, and the manifest lists it: {REMEDY}")
        }
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    let listed = entry.bytes;
    if found < listed {
        bail!(
            "{shown}: the segment was cut off: it has {found} bytes, the manifest says {listed}: {REMEDY}"
        );
    }
    if found > listed {
        bail!(
            "{shown}: the segment has {found} bytes, the manifest says {listed}: bytes were added: {REMEDY}"
        );
    }
    let bytes = fs::read(&path).with_context(|| shown.to_string())?;
    let digest = Digest::of(&bytes);
    if digest != entry.sha256 {
        bail!(
            "{shown}: the segment was changed: its SHA-256 is {digest}, the manifest says {}: {REMEDY}",
            entry.sha256
        );
    }
    match entry.plain_bytes {
        None => Ok(bytes.into()),
        Some(plain) => decompressed(&bytes, plain).with_context(|| shown.to_string()),
    }
}

/// The lines of a compressed segment, which has this number of bytes.
fn decompressed(bytes: &[u8], plain: u64) -> Result<Bytes> {
    let mut lines = Vec::new();
    let mut decoder = GzDecoder::new(bytes).take(plain.saturating_add(1));
    let read = decoder.read_to_end(&mut lines);
    read.context("the segment can't be decompressed")?;
    match lines.len() as u64 == plain {
        true => Ok(lines.into()),
        false => bail!("the segment does not have the {plain} bytes that the manifest says"),
    }
}

/// Compresses lines.
pub fn compressed(lines: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(lines)?;
    Ok(encoder.finish()?)
}

/// The lines of a segment, each with its line feed.
pub fn lines(text: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = text.clone();
    std::iter::from_fn(move || {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = rest.split_to(end.map_or(rest.len(), |end| end + 1));
        (!line.is_empty()).then_some(line)
    })
}
