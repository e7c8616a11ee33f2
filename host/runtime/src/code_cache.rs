//! Stores compiled components on disk.
//!
//! A compiled component is machine code, and the engine runs it as it is. For this reason a file is
//! used only if it matches the checksum stored next to it. A truncated or corrupted file is
//! compiled a second time. Nothing protects against someone who changes the folder on purpose, or
//! who truncates a file while it is mapped.
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
    /// Opens a folder, and creates it if it is missing.
    pub(super) fn open(dir: &Path, engine: &Engine) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            dir: dir.to_owned(),
            configuration: hasher.finish(),
        })
    }

    /// Loads the compiled form of a component. `None` when it is missing, damaged, or belongs to
    /// another engine.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let expected = std::fs::read_to_string(checksum_path(&path)).ok()?;
        if checksum(&std::fs::read(&path).ok()?) != expected {
            tracing::warn!(path = %path.display(), "a compiled component is damaged; recompiling");
            return None;
        }
        // SAFETY: the checksum shows that the file contains the output of `Component::serialize`,
        // and its name shows that this was for an engine of this configuration, which the engine
        // checks once more. Only the host writes to the folder, and it replaces files by renaming
        // new ones over them, so the mapped data does not change.
        match unsafe { Component::deserialize_file(engine, &path) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error,
                    "a compiled component is unusable; recompiling");
                None
            }
        }
    }

    /// Stores the compiled form of a component. If this fails, the component must be compiled a
    /// second time later.
    pub(super) fn keep(&self, digest: Digest, component: &Component) {
        let path = self.path(digest);
        let result = component
            .serialize()
            .map_err(|error| std::io::Error::other(error.to_string()))
            .and_then(|bytes| {
                write(&path, &bytes)?;
                write(&checksum_path(&path), checksum(&bytes).as_bytes())
            });
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "a compiled component was not stored");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir
            .join(format!("{digest}-{:016x}.compiled", self.configuration))
    }
}

/// Loads a component compiled by the host's own compiler process.
pub(super) fn compiled_by(engine: &Engine, bytes: &[u8]) -> Result<Component, String> {
    // SAFETY: the bytes come through a pipe from a program that the host itself started to compile
    // for an engine of this configuration, which the engine checks once more.
    let component = unsafe { Component::deserialize(engine, bytes) };
    component.map_err(|error| format!("the compiler answered something else: {error:#}"))
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("blake3")
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Writes to a temporary file in the same folder, then renames it, because another host may be
/// reading the old file.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(file.path(), bytes)?;
    file.persist(path)?;
    Ok(())
}
