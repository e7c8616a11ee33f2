//! Finds Chromium, in which a test opens the pages of the console, and installs it where it is
//! missing.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::packages;

const PACKAGES: [&str; 1] = ["chromium"];
/// Its names on different systems.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Returns the name of its program, and its version.
///
/// # Errors
///
/// When it is missing; the message says what to do.
pub fn find() -> Result<(&'static str, String)> {
    for program in PROGRAMS {
        let mut asked = Command::new(program);
        let output = asked.arg("--version").stdin(Stdio::null()).output();
        if let Ok(output) = output
            && output.status.success()
        {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.split_whitespace().find(|word| word.contains('.'));
            return Ok((program, version.unwrap_or_default().to_owned()));
        }
    }
    bail!(
        "no `chromium`, in which a test opens the pages of the console: `cargo xtask setup` installs \
         it on Debian as root; elsewhere install Chromium"
    )
}

/// Returns the version of Chromium, which is installed first when it is missing and this is Debian.
///
/// # Errors
///
/// When it is missing and can't be installed; the message says what to do.
pub fn ensure() -> Result<String> {
    packages::ensure(|| find().map(|(_, version)| version), &PACKAGES)
}
