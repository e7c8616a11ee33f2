use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use quipu::model::StreamId;

/// A crash loses at most this much of a run; those lines are then replayed.
const BETWEEN_WRITES: Duration = Duration::from_secs(2);

/// The last answered line of each stream, stored in a file.
pub struct Resume {
    path: PathBuf,
    content: ResumeFile,
    written_at: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeFile {
    /// Digest of the input that has the lines.
    digest: String,
    lines: HashMap<StreamId, u64>,
}

impl Resume {
    /// Reads the file if there is one.
    pub fn open(path: &Path, digest: &str) -> Result<Self> {
        let named = || format!("{}", path.display());
        let content = match fs::read(path) {
            Ok(bytes) => {
                let content: ResumeFile = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not a --resume file", path.display()))?;
                if content.digest != digest {
                    bail!("{} belongs to a run of another file", path.display());
                }
                content
            }
            Err(error) if error.kind() == ErrorKind::NotFound => ResumeFile {
                digest: digest.to_owned(),
                lines: HashMap::new(),
            },
            Err(error) => return Err(error).with_context(named),
        };
        let resume = Self {
            path: path.to_owned(),
            content,
            written_at: Instant::now(),
        };
        // Write now, so that an unwritable file is reported before the first commands.
        resume.save()?;
        Ok(resume)
    }

    /// The last answered line of each stream.
    pub fn lines(&self) -> HashMap<StreamId, u64> {
        self.content.lines.clone()
    }

    /// A line was answered; the lines of a stream are answered in order.
    pub fn answered(&mut self, stream: &StreamId, number: u64) -> Result<()> {
        match self.content.lines.get_mut(stream) {
            Some(last) => *last = number,
            None => _ = self.content.lines.insert(stream.clone(), number),
        }
        match self.written_at.elapsed() > BETWEEN_WRITES {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Writes it: a reader sees the old file or the new one.
    pub fn write(&mut self) -> Result<()> {
        self.written_at = Instant::now();
        self.save()
    }

    fn save(&self) -> Result<()> {
        let named = || format!("{}", self.path.display());
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(dir).with_context(named)?;
        file.write_all(&serde_json::to_vec(&self.content)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).with_context(named)?;
        Ok(())
    }
}
