//! A folder of segments, as it is read.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use super::contents::Contents;
use super::line::{Kind, Line};
use super::manifest::{Manifest, NAME, is_segment};
use super::segment::{self, Tally};
use super::until::Until;

/// A folder of segments.
pub struct Archive {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// No file that the manifest lists is removed meanwhile.
    _reading: Option<File>,
}

/// The place of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The index of the segment.
    pub segment: usize,
    /// The first byte.
    pub from: usize,
    /// The byte after its line feed.
    pub to: usize,
}

/// Takes a line of a segment.
type Take<'a> = dyn FnMut(Place, &Line<'_>, Kind, &Bytes) -> Result<()> + 'a;

/// Reads the manifest of a folder; none if nothing was shipped into it.
///
/// # Errors
/// When it was changed, or segments are there without it.
pub fn read(dir: &Path) -> Result<Option<Manifest>> {
    let manifest = Manifest::read(dir)?;
    if manifest.is_none() && names(dir)?.into_iter().any(|name| is_segment(&name)) {
        let path = dir.join(NAME);
        bail!(
            "{}: the manifest is missing, and segments are there",
            path.display()
        );
    }
    Ok(manifest)
}

/// Whether somebody reads a folder: then its files stay, also those that the manifest does not list
/// any more. Where files can't be locked, nobody knows.
pub fn is_read(dir: &Path) -> bool {
    let folder = File::open(dir);
    folder.is_ok_and(|folder| matches!(folder.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Checks that a folder exists.
pub fn check_folder(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        let shown = dir.display();
        bail!("there is no folder {shown}; name the one into which `quipu ship` writes");
    }
    Ok(())
}

/// The segments that the manifest does not list: they were not shipped.
pub fn unlisted(dir: &Path, manifest: &Manifest) -> Result<Vec<String>> {
    let entries = manifest.segments.iter();
    let listed: BTreeSet<&str> = entries.map(|entry| &*entry.file).collect();
    let mut names = names(dir)?;
    names.retain(|name| is_segment(name) && !listed.contains(&**name));
    Ok(names)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

impl Archive {
    /// Opens a folder. Reads only the manifest.
    ///
    /// # Errors
    /// When nothing was shipped into the folder, or the manifest was changed.
    pub fn open(dir: &Path) -> Result<Self> {
        check_folder(dir)?;
        let shown = dir.display();
        // Before the manifest is read. It waits while a shipper removes files.
        let folder = File::open(dir).ok();
        let reading = folder.filter(|folder| folder.lock_shared().is_ok());
        let manifest = read(dir)?;
        let manifest = manifest.with_context(|| {
            format!("{shown}: there is no {NAME}; `quipu ship {shown}` makes it")
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            _reading: reading,
        })
    }

    /// A segment, compared with the manifest.
    pub fn segment(&self, index: usize) -> Result<Bytes> {
        let entry = self.manifest.segments.get(index);
        segment::read(&self.dir, entry.context("there is no such segment")?)
    }

    /// Checks everything, and finds what a recovery up to a point contains.
    ///
    /// # Errors
    /// When something is missing or was changed. The error names the file.
    pub fn contents(&self, until: &Until, progress: &mut dyn FnMut(u64)) -> Result<Contents> {
        if let Until::Position(position) = until
            && *position > self.manifest.last()
        {
            let last = self.manifest.last();
            bail!("position {position} was not shipped: the last one is {last}");
        }
        let base = self.manifest.base();
        if let Until::Position(position) = until
            && *position < base
        {
            bail!("position {position} is before the end of the base, {base}: it was not kept");
        }
        let mut contents = Contents::new(until.clone());
        self.read(progress, &mut |place, line, kind, text| {
            contents.take(place, line, kind, text)
        })?;
        contents.finish();
        if contents.head < base {
            let head = contents.head;
            bail!(
                "this point is at position {head}, before the end of the base, {base}: it was not kept"
            );
        }
        Ok(contents)
    }

    /// Checks every segment, and passes its lines on. `progress` receives the bytes so far.
    pub fn read(&self, progress: &mut dyn FnMut(u64), take: &mut Take<'_>) -> Result<()> {
        let (mut read, mut before) = (0, None);
        for (segment, entry) in self.manifest.segments.iter().enumerate() {
            let text = self.segment(segment)?;
            let path = self.dir.join(&entry.file);
            let mut tally = Tally::default();
            let mut from = 0;
            for bytes in segment::lines(&text) {
                let to = from + bytes.len();
                let mut add = || {
                    let line = Line::read(&bytes)?;
                    let kind = line.kind()?;
                    tally.add(&line, kind, bytes.len(), entry.after)?;
                    take(Place { segment, from, to }, &line, kind, &bytes)
                };
                add().with_context(|| format!("{}: line {}", path.display(), tally.lines))?;
                from = to;
            }
            let checked = tally.check_whole();
            checked
                .and_then(|()| entry.check(before, &tally))
                .with_context(|| {
                    let file = &entry.file;
                    format!(
                        "{}: {file}: the manifest was changed",
                        self.dir.join(NAME).display()
                    )
                })?;
            read += entry.bytes;
            progress(read);
            before = Some(entry);
        }
        Ok(())
    }
}
