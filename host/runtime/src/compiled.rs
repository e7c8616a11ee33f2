//! Compiled components on disk.
//!
//! A compiled component is machine code that the engine runs as it is. So a file is
//! used only when a checksum written beside it holds: a torn or flipped file is
//! compiled again. Nothing protects against someone who writes to the folder on
//! purpose, or who cuts a file short while it is mapped.
#![allow(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use quipu_model::Digest;

/// The folder of compiled components for one configuration of the engine.
pub(super) struct Cache {
    dir: PathBuf,
    configuration: u64,
}

impl Cache {
    /// Uses a folder, which is made if it is missing.
    pub(super) fn open(dir: &Path, engine: &Engine) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            dir: dir.to_owned(),
            configuration: hasher.finish(),
        })
    }

    /// The compiled form of a component; none when it is not there, damaged or of
    /// another engine.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let expected = std::fs::read_to_string(checksum_path(&path)).ok()?;
        if checksum(&std::fs::read(&path).ok()?) != expected {
            tracing::warn!(path = %path.display(), "compiled component is damaged");
            return None;
        }
        // SAFETY: the file holds what `Component::serialize` gave, by its checksum,
        // for an engine of this configuration, by its name, which the engine checks
        // again. The host alone writes to the folder, and replaces files by renaming
        // new ones over them, so what is mapped does not change.
        match unsafe { Component::deserialize_file(engine, &path) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled component is not usable");
                None
            }
        }
    }

    /// Keeps the compiled form of a component. A failure costs only time later.
    pub(super) fn keep(&self, digest: Digest, component: &Component) {
        let path = self.path(digest);
        let kept = component
            .serialize()
            .map_err(|error| std::io::Error::other(error.to_string()))
            .and_then(|bytes| {
                write(&path, &bytes)?;
                write(&checksum_path(&path), checksum(&bytes).as_bytes())
            });
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "compiled component is not kept");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir
            .join(format!("{digest}-{:016x}.compiled", self.configuration))
    }
}

/// A component as the host's own compiler gave it.
pub(super) fn compiled_by(engine: &Engine, bytes: &[u8]) -> Result<Component, String> {
    // SAFETY: the bytes come through a pipe from a program that the host itself started to
    // compile for an engine of this configuration, which the engine checks again.
    let component = unsafe { Component::deserialize(engine, bytes) };
    component.map_err(|error| format!("the compiler answered something else: {error:#}"))
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("blake3")
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Writes beside, then renames: another host may be reading the old file.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(beside.path(), bytes)?;
    beside.persist(path)?;
    Ok(())
}
