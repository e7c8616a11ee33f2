//! Finds `promtool`, which checks metrics and alerts in a test, and installs it where it is missing.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::packages;

const PACKAGES: [&str; 1] = ["prometheus"];

/// The program: the one that `QUIPU_TEST_PROMTOOL` names, or else `promtool`.
pub fn program() -> String {
    env::var("QUIPU_TEST_PROMTOOL").unwrap_or_else(|_| "promtool".to_owned())
}

/// Returns the version of `promtool`.
///
/// # Errors
///
/// When it is missing; the message says what to do.
pub fn find() -> Result<String> {
    let output = Command::new(program())
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.split_whitespace().nth(2);
            Ok(version.unwrap_or_default().to_owned())
        }
        _ => bail!(
            "no `promtool`, with which a test checks metrics and alerts: `cargo xtask setup` \
             installs it on Debian as root; elsewhere install Prometheus, or name the program in \
             QUIPU_TEST_PROMTOOL"
        ),
    }
}

/// Returns the version of `promtool`, which is installed first when it is missing and this is
/// Debian.
///
/// # Errors
///
/// When it is missing and can't be installed; the message says what to do.
pub fn ensure() -> Result<String> {
    packages::ensure(find, &PACKAGES)
}
