//! Writes the export of a host into a folder.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use super::super::Client;
use super::archive::{self, Archive};
use super::base::{Folding, Keep};
use super::host::{Incoming, cut_off};
use super::line::{Commit, Kind, Line, Shared};
use super::manifest::{
    self, COMPRESSED, EXTENSION, Entry, Manifest, stem, sync_folder, write_durably,
};
use super::segment::{self, Tally};
use quipu::model::Digest;

/// The file that one shipper locks.
const LOCK: &str = "ship.lock";
/// A segment while it is written.
const PARTIAL: &str = "segment.partial";
/// Files of a folder into which nothing was shipped yet: those of a shipper that was interrupted, and
/// the folder that a new file system has.
const OWN: &[&str] = &[LOCK, PARTIAL, manifest::PARTIAL, "lost+found"];

/// A folder that this process writes.
pub struct Shipper {
    dir: PathBuf,
    _lock: File,
    manifest: Manifest,
    /// The digest of each line that is neither a commit nor an event, by its id.
    known: HashMap<String, Digest>,
    segment_bytes: u64,
    /// Files that the manifest does not list any more.
    unlisted: Vec<String>,
}

/// The events and bytes that one check of the host shipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    pub events: u64,
    pub bytes: u64,
}

/// A base that was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Based {
    /// Its last position.
    pub position: u64,
    /// Segments that it replaced.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Lines that are not in a file yet.
#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    tally: Tally,
    known: Vec<(String, Digest)>,
    /// The last commit, if it may be one of several of an append.
    shared: Option<Shared>,
}

impl Shipper {
    /// Opens a folder, and makes it if it is missing. Reads and checks all segments. Removes files
    /// of segments that the manifest does not list.
    ///
    /// # Errors
    /// When another shipper writes it, its content was changed, or it has files of something else.
    pub fn open(dir: &Path, segment_bytes: u64, progress: &mut dyn FnMut(u64)) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        check_own(dir)?;
        let lock = lock(dir)?;
        if archive::read(dir)?.is_none() {
            Manifest::new(Vec::new())?.write(dir)?;
        }
        let archive = Archive::open(dir)?;
        let mut known = HashMap::new();
        archive.read(progress, &mut |_, line, kind, text| {
            if is_state(kind) {
                known.insert(line.id.to_string(), Digest::of(text));
            }
            Ok(())
        })?;
        let manifest = archive.manifest.clone();
        drop(archive);
        // What was not shipped before a crash, or was replaced.
        let unlisted = archive::unlisted(dir, &manifest)?;
        let mut shipper = Self {
            dir: dir.to_owned(),
            _lock: lock,
            manifest,
            known,
            segment_bytes,
            unlisted,
        };
        shipper.sweep();
        for name in [PARTIAL, manifest::PARTIAL] {
            // Usually there is none.
            _ = fs::remove_file(dir.join(name));
        }
        Ok(shipper)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Ships what is new at the host. When the log has not grown, components, activations and
    /// marks are compared only if `is_full`.
    ///
    /// # Errors
    /// [`Away`](super::host::Away) when the host is not available. What was shipped before stays.
    pub async fn ship(&mut self, client: &Client, is_full: bool) -> Result<Shipped> {
        self.sweep();
        let mut incoming = Incoming::begin(client, &self.manifest).await?;
        if incoming.head == self.manifest.last() && !is_full {
            return Ok(Shipped::default());
        }
        let (mut shipped, mut pending) = (Shipped::default(), Pending::default());
        let mut is_complete = false;
        while let Some(text) = incoming.next().await? {
            let line = Line::read(&text)?;
            let kind = line.kind()?;
            if kind == Kind::End {
                is_complete = true;
                continue;
            }
            if pending.tally.bytes >= self.segment_bytes && pending.may_end_before(&line, kind)? {
                shipped.add(&pending);
                self.seal(std::mem::take(&mut pending))?;
            }
            let digest = is_state(kind).then(|| Digest::of(&text));
            if let Some(digest) = digest
                && self.known.get(&*line.id) == Some(&digest)
            {
                continue;
            }
            pending.add(&line, kind, &text, self.manifest.last())?;
            pending
                .known
                .extend(digest.map(|it| (line.id.to_string(), it)));
        }
        if !is_complete {
            return Err(cut_off());
        }
        pending.tally.check_whole()?;
        if pending.tally.lines > 0 {
            shipped.add(&pending);
            self.seal(pending)?;
        }
        Ok(shipped)
    }

    /// Writes lines into a segment, together with the small segments before it, so that there are
    /// few segments and each byte is written only a few times.
    fn seal(&mut self, pending: Pending) -> Result<()> {
        let entries = &self.manifest.segments;
        let (mut from, mut bytes) = (entries.len(), pending.tally.bytes);
        while let Some(before) = from.checked_sub(1).and_then(|it| entries.get(it))
            && before.plain_bytes.is_none()
            && before.bytes <= bytes.saturating_mul(2)
            && before.bytes.saturating_add(bytes) <= self.segment_bytes
        {
            from -= 1;
            bytes += before.bytes;
        }
        let (front, merged) = entries.split_at(from);
        let (mut text, mut tally) = (Vec::new(), Tally::default());
        for entry in merged {
            text.extend_from_slice(&segment::read(&self.dir, entry)?);
            tally.append(&entry.into());
        }
        text.extend_from_slice(&pending.text);
        tally.append(&pending.tally);

        let mut manifest = Manifest::new(front.to_vec())?;
        let after = manifest.last();
        let (first, last) = (tally.first.unwrap_or(after), tally.last.unwrap_or(after));
        let file = self.write(first, last, "", &text)?;
        let entry = Entry::new(&manifest, file, &tally, Digest::of(&text));
        manifest.segments.push(entry);
        let manifest = Manifest::new(manifest.segments)?;
        manifest.write(&self.dir)?;
        let merged = merged.to_vec();
        self.manifest = manifest;
        self.known.extend(pending.known);
        self.remove(&merged);
        Ok(())
    }

    /// Replaces segments that are not kept by a base. Returns none when nothing changed.
    ///
    /// # Errors
    /// When a segment was changed, or the disk fails. The manifest then lists what it listed before.
    pub fn keep(&mut self, keep: Keep) -> Result<Option<Based>> {
        let outdated = keep.outdated(&self.manifest, jiff::Timestamp::now())?;
        let Some(mut folding) = Folding::new(&self.manifest, outdated, self.segment_bytes) else {
            return Ok(None);
        };
        let entries = self.manifest.segments.clone();
        let (before, rest) = entries.split_at(folding.from);
        let (folded, after) = rest.split_at(folding.to - folding.from);
        for entry in folded {
            folding.scan(&segment::read(&self.dir, entry)?)?;
        }
        folding.rewind();
        let mut manifest = Manifest::new(before.to_vec())?;
        let mut chunk = (Vec::new(), Tally::default());
        for entry in folded {
            let text = segment::read(&self.dir, entry)?;
            let (text, tally) = folding.reduce(&text, entry.after)?;
            if chunk.1.bytes > 0 && chunk.1.bytes + tally.bytes > self.segment_bytes {
                self.add_to_base(&mut manifest, std::mem::take(&mut chunk))?;
            }
            chunk.0.extend_from_slice(&text);
            chunk.1.append(&tally);
        }
        self.add_to_base(&mut manifest, chunk)?;
        for entry in after {
            manifest.push(entry.clone());
        }
        let manifest = Manifest::new(manifest.segments)?;
        manifest.write(&self.dir)?;
        self.manifest = manifest;
        self.remove(folded);
        Ok(Some(Based {
            position: self.manifest.base(),
            segments: folded.len() as u64,
            bytes: folded.iter().map(|entry| entry.bytes).sum(),
        }))
    }

    /// Writes a segment of the base. A segment without lines stays, because it holds positions.
    fn add_to_base(&self, base: &mut Manifest, (text, tally): (Vec<u8>, Tally)) -> Result<()> {
        let after = base.last();
        let (first, last) = (tally.first.unwrap_or(after), tally.last.unwrap_or(after));
        let text = segment::compressed(&text)?;
        let file = self.write(first, last, COMPRESSED, &text)?;
        let entry = Entry::new(base, file, &tally, Digest::of(&text));
        base.push(entry.compressed(text.len() as u64));
        Ok(())
    }

    /// Writes a file durably. Returns its name.
    fn write(&self, first: u64, last: u64, suffix: &str, text: &[u8]) -> Result<String> {
        let file = self.free_name(first, last, suffix);
        let partial = self.dir.join(PARTIAL);
        write_durably(&partial, text)?;
        let path = self.dir.join(&file);
        fs::rename(&partial, &path).with_context(|| path.display().to_string())?;
        sync_folder(&self.dir)?;
        Ok(file)
    }

    /// Removes files that the manifest does not list any more.
    fn remove(&mut self, entries: &[Entry]) {
        let names = entries.iter().map(|entry| entry.file.clone());
        self.unlisted.extend(names);
        self.sweep();
    }

    /// Removes the files that nobody needs, unless somebody reads the folder by a manifest that lists
    /// them. What is left is removed later, or by the next start.
    fn sweep(&mut self) {
        if self.unlisted.is_empty() || archive::is_read(&self.dir) {
            return;
        }
        for name in self.unlisted.drain(..) {
            _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// A name that no file has.
    fn free_name(&self, first: u64, last: u64, suffix: &str) -> String {
        let stem = stem(first, last);
        let mut name = format!("{stem}{EXTENSION}{suffix}");
        for number in 2_u64.. {
            if !self.dir.join(&name).exists() {
                break;
            }
            name = format!("{stem}{number}.{EXTENSION}{suffix}");
        }
        name
    }
}

impl Pending {
    fn add(&mut self, line: &Line<'_>, kind: Kind, text: &Bytes, after: u64) -> Result<()> {
        self.tally.add(line, kind, text.len(), after)?;
        self.text.extend_from_slice(text);
        match kind {
            Kind::Commit => self.shared = line.data::<Commit<'_>>()?.shared(),
            Kind::Event => {}
            _ => self.shared = None,
        }
        Ok(())
    }

    /// Whether another segment may begin with a line: not within the commits of one append.
    fn may_end_before(&self, line: &Line<'_>, kind: Kind) -> Result<bool> {
        Ok(match kind {
            Kind::Event => false,
            Kind::Commit => {
                let shared = line.data::<Commit<'_>>()?.shared();
                shared.is_none() || shared != self.shared
            }
            _ => true,
        })
    }
}

impl Shipped {
    fn add(&mut self, pending: &Pending) {
        self.events += pending.tally.events;
        self.bytes += pending.tally.bytes;
    }
}

/// Whether a line is shipped only when it is new or changed.
pub fn is_state(kind: Kind) -> bool {
    !matches!(kind, Kind::Commit | Kind::Event)
}

/// Refuses a folder without a manifest in which something else is: segments would be mixed with it.
fn check_own(dir: &Path) -> Result<()> {
    if archive::read(dir)?.is_some() {
        return Ok(());
    }
    let shown = dir.display();
    for entry in fs::read_dir(dir).with_context(|| shown.to_string())? {
        let name = entry.with_context(|| shown.to_string())?.file_name();
        let name = name.to_string_lossy();
        if !OWN.contains(&&*name) {
            bail!(
                "{shown} has other files in it, such as {name:?}, and nothing was shipped into it; \
                 name an empty folder, or one that does not exist"
            );
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let shown = path.display();
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| shown.to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{shown}: another `quipu ship` writes this folder; one folder has one shipper")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| shown.to_string()),
    }
}
