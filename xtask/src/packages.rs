//! Installs packages of Debian with programs that tests need.

use anyhow::{Context, Result, bail};
use quipu_guest_build::{Machine, apt};

/// Returns what is found, after the installation of packages if it is missing and this is Debian.
pub(crate) fn ensure(find: impl Fn() -> Result<String>, packages: &[&str]) -> Result<String> {
    let error = match find() {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let machine = Machine::current();
    if !machine.is_debian() {
        return Err(error);
    }
    if !machine.is_root() {
        bail!("{error:#}; run as root {}", apt::advice(packages));
    }
    apt::install(&machine, packages)?;
    find().with_context(|| format!("after the installation of {}", packages.join(" ")))
}
