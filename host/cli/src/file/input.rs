use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;

/// Lines to execute.
pub struct Input {
    /// The lines: NDJSON.
    pub reader: Box<dyn BufRead + Send>,
    /// Digest of the content.
    pub digest: String,
    /// Name of the batch. A line without an id gets one that is derived from this name, its stream
    /// and its content, so that an accepted line is a replay when the batch is run a second time,
    /// corrected or not.
    pub batch: String,
    /// Number of lines, if known.
    pub lines: Option<u64>,
}

impl Input {
    /// Opens a file, plain or gzipped; `-` is stdin. It is read twice, first to compute its digest:
    /// the BLAKE3 of its unpacked content. Therefore stdin is copied to a temporary file until its
    /// end, and of a growing file only the lines from the first pass are executed. The batch has
    /// the name of the file, without `.gz`; for stdin, its digest.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(path: &Path) -> Result<Self> {
        let named = || format!("{}", path.display());
        let file = if path == Path::new("-") {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut io::stdin().lock(), &mut file).context("stdin")?;
            file
        } else {
            File::open(path).with_context(named)?
        };
        let (digest, bytes, lines) =
            digest(unpacked(&file).with_context(named)?).with_context(named)?;
        let reader = unpacked(&file).with_context(named)?.take(bytes);
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.map(|name| name.strip_suffix(".gz").unwrap_or(&name).to_owned());
        let batch = name
            .filter(|name| name != "-")
            .unwrap_or_else(|| digest.clone());
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(1 << 16, reader)),
            batch,
            digest,
            lines: Some(lines),
        })
    }
}

/// Restarts at the file's beginning, whatever was read of it.
fn unpacked(file: &File) -> io::Result<Box<dyn Read + Send>> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    Ok(match reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(reader)),
        false => Box::new(reader),
    })
}

/// Digest, bytes and lines of the content.
fn digest(mut reader: impl Read) -> io::Result<(String, u64, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let (mut bytes, mut lines, mut last) = (0, 0, b'\n');
    loop {
        let count = reader.read(&mut buffer)?;
        let Some(end) = count.checked_sub(1) else {
            break;
        };
        let part = &buffer[..count];
        hasher.update(part);
        bytes += count as u64;
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = part[end];
    }
    let unfinished = u64::from(last != b'\n');
    Ok((
        hasher.finalize().to_hex()[..32].to_owned(),
        bytes,
        lines + unfinished,
    ))
}
