//! The list of the segments of a folder, with their digests.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::segment::Tally;
use quipu::model::Digest;

/// The name of the file.
pub const NAME: &str = "manifest.json";
/// The name of the file while it is written.
pub const PARTIAL: &str = "manifest.json.partial";
/// The number of the manifest's form.
const FORMAT: u64 = 1;
/// The same with a base, which earlier programs can't read.
const FORMAT_BASE: u64 = 2;

/// The list of segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u64,
    /// In order of position.
    pub segments: Vec<Entry>,
    /// SHA-256 of the format and the list.
    digest: Digest,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name of the file.
    pub file: String,
    /// The position after which it begins: the last one of the segment before it.
    pub after: u64,
    /// The first position; `after` if there is no event.
    pub first: u64,
    /// The last position; `after` if there is no event.
    pub last: u64,
    /// The id of the event at `last`; absent if the log has no event up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    pub commits: u64,
    pub events: u64,
    pub lines: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Of a segment of the base, which is compressed: the bytes of its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// When the last event was recorded; absent if there is no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    pub shipped_at: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// SHA-256 of the chain digest before, then of `sha256`.
    pub chain: Digest,
}

impl Manifest {
    /// A manifest of these segments.
    pub fn new(segments: Vec<Entry>) -> Result<Self> {
        let format = match segments.first() {
            Some(first) if first.plain_bytes.is_some() => FORMAT_BASE,
            _ => FORMAT,
        };
        let digest = digest(format, &segments)?;
        Ok(Self {
            format,
            segments,
            digest,
        })
    }

    /// Reads the manifest of a folder, and checks everything that needs no segment.
    ///
    /// # Errors
    /// When there is none, or it was changed.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        let shown = path.display();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| shown.to_string()),
        };
        let manifest: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}: the manifest was changed: it can't be read"))?;
        if manifest.format > FORMAT_BASE {
            let found = manifest.format;
            bail!("{shown}: the manifest has format {found}, this program reads {FORMAT_BASE}");
        }
        if manifest.digest != digest(manifest.format, &manifest.segments)?
            || manifest.text()? != text
        {
            bail!("{shown}: the manifest was changed: it does not have its digest");
        }
        manifest.check().with_context(|| shown.to_string())?;
        Ok(Some(manifest))
    }

    /// Checks the order and the chain of the segments.
    fn check(&self) -> Result<()> {
        let (mut last, mut chain) = (0, START);
        let base = self.base_segments();
        if (self.format == FORMAT_BASE) != (base > 0) {
            bail!("the manifest was changed: its format is {}", self.format);
        }
        let rest = self.segments.get(base..).unwrap_or_default();
        if let Some(entry) = rest.iter().find(|it| it.plain_bytes.is_some()) {
            bail!(
                "the manifest was changed: {} is not at the beginning",
                entry.file
            );
        }
        for entry in &self.segments {
            let file = &entry.file;
            let is_named = file.starts_with(&stem(entry.first, entry.last))
                && file.ends_with(COMPRESSED) == entry.plain_bytes.is_some();
            if !is_segment(file) || !is_named {
                bail!("the manifest was changed: {file:?} is not the name of this segment");
            }
            if entry.after != last || entry.first < entry.after || entry.last < entry.first {
                bail!("the manifest was changed: {file} does not begin after position {last}");
            }
            chain = chained(chain, entry.sha256);
            if entry.chain != chain {
                bail!(
                    "the manifest was changed: the chain digest of {file} is {}, expected {chain}",
                    entry.chain
                );
            }
            last = entry.last;
        }
        Ok(())
    }

    /// Writes the manifest in place of the one in the folder, durably.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let (partial, path) = (dir.join(PARTIAL), dir.join(NAME));
        write_durably(&partial, &self.text()?)?;
        fs::rename(&partial, &path).with_context(|| path.display().to_string())?;
        sync_folder(dir)
    }

    /// The number of segments at the beginning that are the base.
    pub fn base_segments(&self) -> usize {
        let base = self
            .segments
            .iter()
            .take_while(|it| it.plain_bytes.is_some());
        base.count()
    }

    /// The last position of the base, before which nothing can be recovered; 0 without a base.
    pub fn base(&self) -> u64 {
        let last = self.base_segments().checked_sub(1);
        let last = last.and_then(|last| self.segments.get(last));
        last.map_or(0, |entry| entry.last)
    }

    /// Adds an entry of another manifest, after a change of those before it.
    pub fn push(&mut self, entry: Entry) {
        let chain = chained(self.chain(), entry.sha256);
        self.segments.push(Entry { chain, ..entry });
    }

    /// The last position.
    pub fn last(&self) -> u64 {
        self.segments.last().map_or(0, |entry| entry.last)
    }

    /// The id of the event at the last position.
    pub fn last_id(&self) -> Option<&str> {
        self.segments.last()?.last_id.as_deref()
    }

    /// The chain digest of all segments.
    pub fn chain(&self) -> Digest {
        self.segments.last().map_or(START, |entry| entry.chain)
    }

    /// When the last event was recorded.
    pub fn newest(&self) -> Option<&str> {
        let mut entries = self.segments.iter().rev();
        entries.find_map(|entry| entry.newest.as_deref())
    }

    fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Entry {
    /// The entry of a file with this content, after the others.
    pub fn new(others: &Manifest, file: String, tally: &Tally, sha256: Digest) -> Self {
        let after = others.last();
        let last_id = tally.last_id.as_deref().or(others.last_id());
        Self {
            file,
            after,
            first: tally.first.unwrap_or(after),
            last: tally.last.unwrap_or(after),
            last_id: last_id.map(str::to_owned),
            commits: tally.commits,
            events: tally.events,
            lines: tally.lines,
            bytes: tally.bytes,
            plain_bytes: None,
            newest: tally.newest.clone(),
            shipped_at: jiff::Timestamp::now().to_string(),
            sha256,
            chain: chained(others.chain(), sha256),
        }
    }

    /// The entry of a compressed file with this number of bytes.
    #[must_use]
    pub fn compressed(self, bytes: u64) -> Self {
        Self {
            plain_bytes: Some(self.bytes),
            bytes,
            ..self
        }
    }

    /// The bytes of the lines.
    pub fn plain(&self) -> u64 {
        self.plain_bytes.unwrap_or(self.bytes)
    }

    /// Checks what the manifest says about the content of the file.
    pub fn check(&self, before: Option<&Self>, tally: &Tally) -> Result<()> {
        let counts = [
            ("first", self.first, tally.first.unwrap_or(self.after)),
            ("last", self.last, tally.last.unwrap_or(self.after)),
            ("commits", self.commits, tally.commits),
            ("events", self.events, tally.events),
            ("lines", self.lines, tally.lines),
        ];
        if let Some((name, listed, found)) = counts.into_iter().find(|(_, a, b)| a != b) {
            bail!("{name} is {listed} in the manifest and {found} in the file");
        }
        let last_id = tally.last_id.as_ref();
        let last_id = last_id.or(before.and_then(|before| before.last_id.as_ref()));
        if self.last_id.as_ref() != last_id || self.newest != tally.newest {
            bail!("the last event is not the one in the manifest");
        }
        Ok(())
    }
}

/// The chain digest of no segment.
const START: Digest = Digest([0; 32]);

fn chained(before: Digest, sha256: Digest) -> Digest {
    Digest::of(&[before.0, sha256.0].concat())
}

fn digest(format: u64, segments: &[Entry]) -> Result<Digest> {
    Ok(Digest::of(&serde_json::to_vec(&(format, segments))?))
}

/// The beginning of the name of a segment.
pub fn stem(first: u64, last: u64) -> String {
    format!("{first:012}-{last:012}.")
}

/// The end of the name of a segment.
pub const EXTENSION: &str = "ndjson";
/// The end of the name of a segment of the base.
pub const COMPRESSED: &str = ".gz";

/// Whether a file has the name of a segment: two positions, perhaps a number, and the extension. It is
/// followed by `.gz` in the base.
pub fn is_segment(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
    let Some(name) = name.strip_suffix(&format!(".{EXTENSION}")) else {
        return false;
    };
    let (positions, number) = match name.split_once('.') {
        Some((positions, number)) => (positions, Some(number)),
        None => (name, None),
    };
    let positions = positions.split_once('-');
    positions.is_some_and(|(first, last)| is_number(first) && is_number(last))
        && number.is_none_or(is_number)
}

/// Writes a file, also to the disk.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}

/// Writes the names of a folder to the disk.
pub fn sync_folder(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| dir.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_segment_has_two_positions() {
        for name in [
            "1-2.ndjson",
            "000000000001-000000000002.ndjson",
            "1-2.3.ndjson",
            "1-2.ndjson.gz",
        ] {
            assert!(is_segment(name), "{name}");
        }
        for name in [
            "1.ndjson",
            "1-2.json",
            "1-2.gz",
            "a-2.ndjson",
            "../1-2.ndjson",
            "1-2..ndjson",
            "-.ndjson",
        ] {
            assert!(!is_segment(name), "{name}");
        }
    }

    #[test]
    fn a_byte_of_the_manifest_that_is_changed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let tally = Tally {
            first: Some(1),
            last: Some(2),
            events: 2,
            ..Tally::default()
        };
        let mut manifest = Manifest::new(Vec::new()).unwrap();
        let file = format!("{}{EXTENSION}", stem(1, 2));
        let entry = Entry::new(&manifest, file, &tally, Digest::of(b"x"));
        manifest = Manifest::new(vec![entry]).unwrap();
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), Some(manifest));
        let path = dir.path().join(NAME);
        let text = fs::read(&path).unwrap();
        for index in 0..text.len() {
            for flip in [1, 2, 0x20, 0x2a] {
                let mut changed = text.clone();
                changed[index] ^= flip;
                fs::write(&path, &changed).unwrap();
                assert!(Manifest::read(dir.path()).is_err(), "byte {index}");
            }
        }
    }
}
