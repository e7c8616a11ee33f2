//! Finds axe-core, which checks the accessibility of the console in a browser, and fetches it where it
//! is missing. `tests/browser/package-lock.json` has its version and its digest, which npm checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::packages;

const PACKAGE: &str = include_str!("../../tests/browser/package.json");
const LOCK: &str = include_str!("../../tests/browser/package-lock.json");

/// Returns the file of its script in a target folder.
///
/// # Errors
///
/// When it is missing, or was fetched in another version; the message says what to do.
pub fn find(target: &Path) -> Result<PathBuf> {
    let folder = target.join("axe");
    // The lock is copied after the rest is there.
    let fetched = fs::read_to_string(folder.join("fetched.json")).unwrap_or_default();
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if fetched != LOCK || !script.is_file() {
        bail!(
            "no axe-core in {}, with which a test checks the accessibility of the console: `cargo xtask setup` \
             fetches it with npm",
            folder.display()
        );
    }
    Ok(script)
}

/// Returns the file of its script, which is fetched first when it is missing.
///
/// # Errors
///
/// When it is missing and can't be fetched, or has another digest.
pub fn ensure(target: &Path) -> Result<String> {
    if find(target).is_err() {
        fetch(&target.join("axe"))?;
    }
    Ok(find(target)?.display().to_string())
}

fn fetch(folder: &Path) -> Result<()> {
    packages::ensure(npm, &["npm"])?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("package.json"), PACKAGE)?;
    fs::write(folder.join("package-lock.json"), LOCK)?;
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let status = install.current_dir(folder).stdout(Stdio::null()).status();
    let status = status.context("`npm` was not found")?;
    ensure!(status.success(), "`npm ci` did not fetch axe-core");
    fs::write(folder.join("fetched.json"), LOCK)?;
    Ok(())
}

/// The version of npm.
fn npm() -> Result<String> {
    let output = Command::new("npm").arg("--version").output();
    let output = output.context("no `npm`, which fetches axe-core: install Node.js with npm")?;
    ensure!(output.status.success(), "`npm` does not run");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
