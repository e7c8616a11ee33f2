//! Finds `strace`, with which tests make system calls fail, and installs it where it is missing.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::packages;

const PACKAGES: [&str; 1] = ["strace"];

/// Returns the version of `strace`.
///
/// # Errors
///
/// When it is missing; the message says what to do.
pub fn find() -> Result<String> {
    let output = Command::new("strace")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let first = text.lines().next().unwrap_or_default();
            Ok(first.rsplit(' ').next().unwrap_or_default().to_owned())
        }
        _ => bail!(
            "no `strace`, with which tests make system calls fail: `cargo xtask setup` installs \
             it on Debian as root; elsewhere install the package `strace` of your system"
        ),
    }
}

/// Returns the version of `strace`, which is installed first when it is missing and this is Debian.
///
/// # Errors
///
/// When it is missing and can't be installed; the message says what to do.
pub fn ensure() -> Result<String> {
    packages::ensure(find, &PACKAGES)
}
