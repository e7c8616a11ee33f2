//! The example guests of a checkout, built for the demo and the benchmark.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of an example guest: in the checkout around the current folder, or
/// in the one that this program was built from.
///
/// # Errors
/// When there is no checkout.
pub fn example(name: &str) -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder")?;
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let found = here
        .ancestors()
        .chain(built_from)
        .map(|root| root.join("example-guests").join(name))
        .find(|dir| dir.join("Cargo.toml").is_file());
    match found {
        Some(dir) => Ok(dir),
        None => bail!("no example-guests/{name} here; run this in a checkout of Quipu"),
    }
}

/// Builds a guest and reads its component. Blocks for as long as the compiler takes.
///
/// # Errors
/// When the compiler is missing or fails.
pub fn build(dir: &Path) -> Result<Vec<u8>> {
    let built = quipu_guest_build::build(dir, &quipu_guest_build::Options::default())?;
    std::fs::read(&built.component)
        .with_context(|| format!("reading {}", built.component.display()))
}
