use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use crate::{Error, Toolchain, toolchain};

const APT_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// How [`ensure()`] came to a toolchain.
#[derive(Debug)]
pub enum Ensured {
    /// It was there.
    Found(Toolchain),
    /// The installer's command brought it.
    Installed(Toolchain, Installer),
}

/// What brings a way to compile for [`crate::TARGET`] to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// A compiler with its library's source. Needs Debian and root.
    Apt,
    /// A standard library for the active toolchain.
    Rustup,
}

/// The toolchain for guests in `dir`, installed first when there is none.
///
/// One way is tried; after it fails nothing else is.
///
/// # Errors
///
/// [`Error::Install`] names the command that failed; [`Error::NoWasm`] when it
/// succeeded without bringing what guests need.
pub fn ensure(dir: &Path) -> Result<Ensured, Error> {
    match toolchain::find(dir) {
        Err(Error::NoWasm { installer, .. }) => {
            installer.run(dir)?;
            Ok(Ensured::Installed(toolchain::find(dir)?, installer))
        }
        found => found.map(Ensured::Found),
    }
}

impl Installer {
    pub(crate) fn of_this_machine() -> Self {
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::for_system(&os_release, is_root())
    }

    fn for_system(os_release: &str, root: bool) -> Self {
        let debian = os_release.lines().any(|line| line == "ID=debian");
        if debian && root {
            Self::Apt
        } else {
            Self::Rustup
        }
    }

    /// As a person would type it.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Apt => "apt-get install --no-install-recommends rustc-web rust-web-src",
            Self::Rustup => "rustup target add wasm32-unknown-unknown",
        }
    }

    fn run(self, dir: &Path) -> Result<(), Error> {
        eprintln!("installing what compiles guests: {}", self.command());
        match self {
            Self::Apt => {
                // Lists may be there and name files that the mirror no longer has.
                if apt_knows_packages() && apt_install().is_ok() {
                    return Ok(());
                }
                run_with(apt_get(&["update"]), "apt-get update")?;
                apt_install()
            }
            Self::Rustup => {
                let mut rustup = Command::new("rustup");
                rustup
                    .args(["target", "add", crate::TARGET])
                    .current_dir(dir);
                run_with(rustup, self.command())
            }
        }
    }
}

fn apt_install() -> Result<(), Error> {
    let mut apt = apt_get(&["install", "--yes", "--no-install-recommends"]);
    apt.args(APT_PACKAGES);
    run_with(apt, Installer::Apt.command())
}

fn apt_get(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Whether the package lists have been fetched and hold every package.
fn apt_knows_packages() -> bool {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions"])
        .args(APT_PACKAGES)
        .output();
    output.is_ok_and(|output| {
        let shown = String::from_utf8_lossy(&output.stdout);
        let known = |package: &str| {
            let header = format!("Package: {package}");
            shown.lines().any(|line| line == header)
        };
        APT_PACKAGES.into_iter().all(known)
    })
}

/// Its output is for people: standard output stays free for data.
fn run_with(mut command: Command, typed: &str) -> Result<(), Error> {
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
    fn apt_is_for_root_on_debian_alone() {
        let debian = "NAME=\"Debian\"\nID=debian\n";
        assert_eq!(Installer::for_system(debian, true), Installer::Apt);
        assert_eq!(Installer::for_system(debian, false), Installer::Rustup);
        let derived = "ID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(Installer::for_system(derived, true), Installer::Rustup);
        assert_eq!(Installer::for_system("", true), Installer::Rustup);
    }

    #[test]
    fn the_command_shown_names_every_package_installed() {
        for package in APT_PACKAGES {
            assert!(Installer::Apt.command().contains(package));
        }
        assert!(Installer::Rustup.command().ends_with(crate::TARGET));
    }

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
}
