//! Components and states of streams, in a temporary file.
//!
//! An export has these lines in another order than a folder. A segment would have to be read as a
//! whole for each of them.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;

/// Lines that are read by themselves.
#[derive(Debug, Clone, Default)]
pub struct Spool {
    /// None before the first line. The file is removed with the last clone.
    file: Option<Arc<File>>,
    bytes: u64,
}

/// A line of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lone {
    from: u64,
    bytes: usize,
}

/// Where it fails, and what helps.
fn place() -> String {
    let folder = std::env::temp_dir();
    let folder = folder.display();
    format!("a temporary file in {folder}; TMPDIR names another folder")
}

impl Spool {
    /// Adds a line.
    pub fn put(&mut self, text: &[u8]) -> Result<Lone> {
        let file = match self.file.take() {
            Some(file) => file,
            None => Arc::new(tempfile::tempfile().with_context(place)?),
        };
        self.file = Some(Arc::clone(&file));
        let mut file = &*file;
        let mut write = || {
            file.seek(SeekFrom::Start(self.bytes))?;
            file.write_all(text)
        };
        write().with_context(place)?;
        let line = Lone {
            from: self.bytes,
            bytes: text.len(),
        };
        self.bytes += text.len() as u64;
        Ok(line)
    }

    /// Returns a line.
    pub fn get(&self, line: Lone) -> Result<Bytes> {
        let file = self.file.as_ref().context("there is no line yet")?;
        let mut file = &**file;
        let mut text = vec![0; line.bytes];
        let mut read = || {
            file.seek(SeekFrom::Start(line.from))?;
            file.read_exact(&mut text)
        };
        read().with_context(place)?;
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_returned_as_it_was() {
        let mut spool = Spool::default();
        let one = spool.put(b"one\n").unwrap();
        let other = spool.put(b"").unwrap();
        let last = spool.put(b"last\n").unwrap();
        for (line, text) in [(last, "last\n"), (one, "one\n"), (other, "")] {
            assert_eq!(spool.get(line).unwrap(), text);
        }
    }
}
