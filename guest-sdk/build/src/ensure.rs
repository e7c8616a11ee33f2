use std::{path::Path, time::Duration};

use crate::{
    Error, TARGET, Toolchain, apt,
    machine::{Machine, run_for},
    toolchain::{self, Missing},
};

const APT_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// After this time, `rustup` is assumed not to reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// How [`ensure()`] found a toolchain.
#[derive(Debug)]
pub enum Ensured {
    /// The machine had the toolchain already.
    Found(Toolchain),
    /// This installer installed the toolchain.
    Installed(Toolchain, Installer),
}

/// A way to install a compiler for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// A standard library for the active toolchain.
    Rustup,
    /// A compiler with its library's source. Needs Debian and root.
    Apt,
}

/// Finds the toolchain for guests in `dir`, and installs one first when there is none.
///
/// Tries rustup where it is installed, for at most 120 s, then Debian's packages. Ends with a
/// toolchain that works, or with an error that says what was tried and what to do instead.
///
/// # Errors
///
/// [`Error::NoRust`], and [`Error::Setup`] when no installer led to a toolchain.
pub fn ensure(dir: &Path) -> Result<Ensured, Error> {
    ensure_on(&Machine::current(), dir, RUSTUP_LIMIT)
}

fn ensure_on(machine: &Machine, dir: &Path, rustup_limit: Duration) -> Result<Ensured, Error> {
    let mut missing = match toolchain::find_on(machine, dir) {
        Err(Error::NoWasm { missing, .. }) => missing,
        found => return found.map(Ensured::Found),
    };
    eprintln!("no compiler for {TARGET} yet: {missing}");
    let mut tried = Vec::new();
    for installer in Installer::of(machine) {
        if let Err(detail) = installer.run(machine, dir, rustup_limit) {
            eprintln!("{detail}");
            tried.push(detail);
            // The packages may be usable although their installer failed.
        }
        missing = match toolchain::find_on(machine, dir) {
            Err(Error::NoWasm { missing, .. }) => missing,
            found => return found.map(|toolchain| Ensured::Installed(toolchain, installer)),
        };
    }
    let advice = advice_after(machine, &missing);
    Err(Error::Setup {
        missing,
        tried,
        advice,
    })
}

impl Installer {
    /// Returns the installers that can work on this machine, in the order in which they are tried.
    fn of(machine: &Machine) -> Vec<Self> {
        let mut installers = Vec::new();
        if machine.has("rustup") {
            installers.push(Self::Rustup);
        }
        if machine.is_debian() && machine.is_root() {
            installers.push(Self::Apt);
        }
        installers
    }

    /// The installer's command, as a person would type it.
    #[must_use]
    pub fn command(self) -> String {
        match self {
            Self::Rustup => format!("rustup target add {TARGET}"),
            Self::Apt => apt::command(&APT_PACKAGES),
        }
    }

    /// The error says what failed, for a person.
    fn run(self, machine: &Machine, dir: &Path, rustup_limit: Duration) -> Result<(), String> {
        match self {
            Self::Apt => apt::install(machine, &APT_PACKAGES).map_err(|error| error.to_string()),
            Self::Rustup => {
                let command = self.command();
                let seconds = rustup_limit.as_secs();
                eprintln!("installing: `{command}` (for at most {seconds} s)");
                let mut rustup = machine.command("rustup");
                rustup.args(["target", "add", TARGET]).current_dir(dir);
                run_for(rustup, rustup_limit)
                    .map_err(|detail| format!("`{command}` failed: {detail}"))
            }
        }
    }
}

/// Returns the advice for a machine where no installer has been tried.
pub(crate) fn advice(machine: &Machine) -> String {
    let rustup = Installer::Rustup.command();
    let apt = apt::advice(&APT_PACKAGES);
    match (machine.has("rustup"), machine.is_debian()) {
        (true, true) => format!("run `{rustup}`, or as root {apt}"),
        (true, false) => format!("run `{rustup}`"),
        (false, true) => format!("run as root {apt}"),
        (false, false) => format!("install rustup from https://rustup.rs, then run `{rustup}`"),
    }
}

/// Returns the advice when every installer of this machine has been tried. It never repeats what
/// was tried.
fn advice_after(machine: &Machine, missing: &Missing) -> String {
    let rustup = Installer::Rustup.command();
    let mut ways = Vec::new();
    if machine.is_debian() {
        if !machine.is_root() {
            ways.push(format!("run as root {}", apt::advice(&APT_PACKAGES)));
        } else if let Missing::TooOld { needed, .. } = missing {
            ways.push(format!(
                "add package sources that have rustc-web {needed} or newer (the security updates \
                 of Debian's stable release, or a newer release), then run set-up again"
            ));
        }
    }
    if machine.has("rustup") {
        ways.push(format!(
            "check that rustup reaches its server (HTTPS_PROXY, RUSTUP_DIST_SERVER), then run \
             `rustup update` and `{rustup}`"
        ));
    } else {
        ways.push(format!(
            "install rustup from https://rustup.rs, then run `{rustup}`"
        ));
    }
    ways.join("; or ")
}

#[cfg(all(test, unix))]
mod tests;
