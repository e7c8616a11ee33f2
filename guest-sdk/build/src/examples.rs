//! The example guests of a checkout, built for the demo and the benchmark.

use std::env;
use std::path::{Path, PathBuf};

use crate::{Error, Options, build};

/// The folder of an example guest: in the checkout around the current folder, or
/// in the one that this program was built from.
///
/// # Errors
/// When there is no checkout.
pub fn example(name: &str) -> Result<PathBuf, Error> {
    let here = env::current_dir().map_err(Error::io("."))?;
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .chain(built_from.ancestors())
        .map(|root| root.join("example-guests").join(name))
        .find(|dir| dir.join("Cargo.toml").is_file())
        .ok_or_else(|| Error::NoExample { name: name.into() })
}

/// Builds a guest and reads its component. Blocks for as long as the compiler takes.
///
/// # Errors
/// When the compiler is missing or fails.
pub fn component(dir: &Path) -> Result<Vec<u8>, Error> {
    let built = build(dir, &Options::default())?;
    std::fs::read(&built.component).map_err(Error::io(&built.component))
}
