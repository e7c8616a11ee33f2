use std::{path::Path, process::Command};

use crate::{Error, Toolchain, apt, toolchain};

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
        if apt::is_here() {
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
            Self::Apt => apt::install(&APT_PACKAGES),
            Self::Rustup => {
                let mut rustup = Command::new("rustup");
                rustup
                    .args(["target", "add", crate::TARGET])
                    .current_dir(dir);
                apt::run_with(rustup, self.command())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_is_for_root_on_debian_alone() {
        let debian = "NAME=\"Debian\"\nID=debian\n";
        assert!(apt::is_for(debian, true));
        assert!(!apt::is_for(debian, false));
        let derived = "ID=ubuntu\nID_LIKE=debian\n";
        assert!(!apt::is_for(derived, true));
        assert!(!apt::is_for("", true));
    }

    #[test]
    fn the_command_shown_names_every_package_installed() {
        for package in APT_PACKAGES {
            assert!(Installer::Apt.command().contains(package));
        }
        assert!(Installer::Rustup.command().ends_with(crate::TARGET));
    }
}
