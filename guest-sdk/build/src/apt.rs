//! Debian's packages: how set-up brings what a machine lacks.

use std::{
    fs, io,
    process::{Command, Stdio},
};

use crate::Error;

/// Whether this machine is Debian and we are root.
#[must_use]
pub fn is_here() -> bool {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    is_for(&os_release, is_root())
}

pub(crate) fn is_for(os_release: &str, root: bool) -> bool {
    root && os_release.lines().any(|line| line == "ID=debian")
}

/// As a person would type it.
#[must_use]
pub fn command(packages: &[&str]) -> String {
    format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs packages. Package lists are fetched only when they are missing or old.
///
/// # Errors
///
/// [`Error::Install`] names the command that failed.
pub fn install(packages: &[&str]) -> Result<(), Error> {
    // Lists may be there and name files that the mirror no longer has.
    if knows(packages) && install_known(packages).is_ok() {
        return Ok(());
    }
    run_with(apt_get(&["update"]), "apt-get update")?;
    install_known(packages)
}

fn install_known(packages: &[&str]) -> Result<(), Error> {
    let mut apt = apt_get(&["install", "--yes", "--no-install-recommends"]);
    apt.args(packages);
    run_with(apt, &command(packages))
}

fn apt_get(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Whether the package lists have been fetched and hold every package.
fn knows(packages: &[&str]) -> bool {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions"])
        .args(packages)
        .output();
    output.is_ok_and(|output| {
        let shown = String::from_utf8_lossy(&output.stdout);
        packages.iter().all(|package| {
            let header = format!("Package: {package}");
            shown.lines().any(|line| line == header)
        })
    })
}

/// Its output is for people: standard output stays free for data.
pub(crate) fn run_with(mut command: Command, typed: &str) -> Result<(), Error> {
    let failed = |detail: String| Error::Install {
        command: typed.to_owned(),
        detail,
    };
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| failed(format!("it did not start: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string()))
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_what_came_of_it() {
        let mut failing = Command::new("rustc");
        failing.args(["--quiet", "--no-such-flag"]);
        let error = run_with(failing, "bring it").expect_err("no such flag");
        let error = error.to_string();
        assert!(
            error.starts_with("`bring it` failed: exit status: 1"),
            "{error}"
        );

        let error = run_with(Command::new("quipu-no-such-program"), "bring it");
        let error = error.expect_err("no such program").to_string();
        assert!(error.contains("it did not start"), "{error}");
    }

    #[test]
    fn a_package_that_no_list_holds_is_not_known() {
        assert!(!knows(&["quipu-no-such-package"]));
    }
}
