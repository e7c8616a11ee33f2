//! Debian's packages: how set-up installs what a machine lacks.

use std::process::Command;

use crate::{
    Error,
    machine::{Machine, run},
};

/// Fetches Debian's package lists.
const UPDATE: &str = "apt-get update";

/// The installation of packages, as a person would type it.
#[must_use]
pub fn command(packages: &[&str]) -> String {
    format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The installation of packages with fresh lists, as root would type it.
#[must_use]
pub fn advice(packages: &[&str]) -> String {
    format!("`{UPDATE} && {}`", command(packages))
}

/// Installs packages, or newer versions of them.
///
/// Fetches the package lists first, because old lists name old versions. When that fails, it
/// says so and installs what the lists on this machine name.
///
/// # Errors
///
/// [`Error::Install`] names the command that failed, and says what to do.
pub fn install(machine: &Machine, packages: &[&str]) -> Result<(), Error> {
    eprintln!("fetching the package lists: `{UPDATE}`");
    let updated = run(apt_get(machine, &["update"]));
    if let Err(detail) = &updated {
        eprintln!("`{UPDATE}` failed: {detail}; going on with the lists on this machine");
    }
    let typed = command(packages);
    eprintln!("installing: `{typed}`");
    let mut install = apt_get(machine, &["install", "--yes", "--no-install-recommends"]);
    install.args(packages);
    run(install).map_err(|detail| Error::Install {
        command: typed,
        detail,
        advice: match updated {
            Ok(()) => "its messages are above; check the package sources in /etc/apt".to_owned(),
            Err(_) => format!(
                "the package lists are not fresh either: check the network and the package \
                 sources in /etc/apt until `{UPDATE}` works"
            ),
        },
    })
}

fn apt_get(machine: &Machine, args: &[&str]) -> Command {
    let mut apt = machine.command("apt-get");
    apt.args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}
