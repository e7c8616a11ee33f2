//! The one command that installs a tool on a machine.

use std::fs;

use crate::{Machine, TARGET};

/// A tool with which guests are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Rust with the library for WebAssembly, and the linker that it needs.
    Rust,
    /// Node.js 20 or newer, with npm.
    Node,
    /// Python 3.11 or newer, with its module venv.
    Python,
}

/// The package manager of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packages {
    /// That of Debian, Ubuntu and their derivatives.
    Apt {
        has_node: bool,
        has_python: bool,
    },
    Dnf,
    Brew,
}

impl Tool {
    /// Says how to install it: with one command that works on this machine, else from its address.
    #[must_use]
    pub fn advice(self, machine: &Machine) -> String {
        match self.command(machine) {
            Some(command) => format!("run `{command}`"),
            None => format!("install it from {}", self.address()),
        }
    }

    fn address(self) -> &'static str {
        match self {
            Self::Rust => "https://rustup.rs",
            Self::Node => "https://nodejs.org",
            Self::Python => "https://www.python.org/downloads",
        }
    }

    fn command(self, machine: &Machine) -> Option<String> {
        if self == Self::Rust && machine.has("curl") && machine.has("cc") {
            return Some(rustup());
        }
        let packages = Packages::of(machine)?;
        let sudo = sudo(machine);
        match (self, packages) {
            (Self::Rust, _) => Some(rust(machine, packages)),
            (
                Self::Node,
                Packages::Apt {
                    has_node: false, ..
                },
            ) => Some(node_source(machine)),
            (Self::Node, Packages::Apt { .. }) => Some(apt(sudo, "nodejs npm")),
            (Self::Node, Packages::Dnf) => Some(format!("{sudo}dnf install -y nodejs npm")),
            (Self::Node, Packages::Brew) => Some("brew install node".to_owned()),
            (Self::Python, Packages::Apt { has_python, .. }) => {
                has_python.then(|| apt(sudo, "python3 python3-venv"))
            }
            (Self::Python, Packages::Dnf) => Some(format!("{sudo}dnf install -y python3")),
            (Self::Python, Packages::Brew) => Some("brew install python".to_owned()),
        }
    }
}

impl Packages {
    fn of(machine: &Machine) -> Option<Self> {
        if machine.has("apt-get") {
            let text = fs::read_to_string(machine.root().join("etc/os-release"));
            let text = text.unwrap_or_default();
            let value = |name: &str| {
                let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
                values.next().map(|value| value.trim_matches('"'))
            };
            let release =
                value("VERSION_ID=").and_then(|it| it.split('.').next()?.parse::<u32>().ok());
            // The first releases with Node.js 20 and with Python 3.11. Testing has no number.
            let since = |first: u32| release.is_none_or(|release| release >= first);
            let (has_node, has_python) = match value("ID=") {
                Some("debian") => (since(13), since(12)),
                Some("ubuntu") => (since(25), since(24)),
                _ => (false, true),
            };
            return Some(Self::Apt {
                has_node,
                has_python,
            });
        }
        match (machine.has("dnf"), machine.has("brew")) {
            (true, _) => Some(Self::Dnf),
            (false, true) => Some(Self::Brew),
            (false, false) => None,
        }
    }
}

fn sudo(machine: &Machine) -> &'static str {
    if machine.is_root() { "" } else { "sudo " }
}

fn apt(sudo: &str, packages: &str) -> String {
    format!("{sudo}apt-get update && {sudo}apt-get install -y {packages}")
}

fn rustup() -> String {
    format!(
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --target {TARGET}"
    )
}

/// Installs rustup, after the programs that it needs.
fn rust(machine: &Machine, packages: Packages) -> String {
    let (sudo, rustup) = (sudo(machine), rustup());
    match packages {
        Packages::Apt { .. } => format!("{} && {rustup}", apt(sudo, "curl gcc libc6-dev")),
        Packages::Dnf => format!("{sudo}dnf install -y curl gcc && {rustup}"),
        // macOS has both, or asks for them.
        Packages::Brew => rustup,
    }
}

/// Installs a newer Node.js than the distribution has.
fn node_source(machine: &Machine) -> String {
    let sudo = sudo(machine);
    let shell = if sudo.is_empty() {
        "bash -"
    } else {
        "sudo -E bash -"
    };
    let install = format!(
        "curl -fsSL https://deb.nodesource.com/setup_22.x | {shell} && \
         {sudo}apt-get install -y nodejs"
    );
    match machine.has("curl") {
        true => install,
        false => format!("{} && {install}", apt(sudo, "curl")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The advice on a machine with these programs, for somebody who is not root.
    fn check(os_release: &str, programs: &[&str], tool: Tool, advice: &str) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/os-release"), os_release).unwrap();
        for program in programs {
            fs::write(dir.path().join(program), "").unwrap();
        }
        let machine = Machine::fake(dir.path(), dir.path());
        assert_eq!(tool.advice(&machine), advice, "{os_release} {programs:?}");
    }

    #[test]
    fn each_machine_has_one_command() {
        let debian = |release: u32| format!("ID=debian\nVERSION_ID=\"{release}\"\n");
        let install = "sudo apt-get update && sudo apt-get install -y";
        check(
            &debian(13),
            &["apt-get"],
            Tool::Node,
            &format!("run `{install} nodejs npm`"),
        );
        check(
            &debian(12),
            &["apt-get"],
            Tool::Python,
            &format!("run `{install} python3 python3-venv`"),
        );
        check(
            "ID=fedora\n",
            &["dnf"],
            Tool::Node,
            "run `sudo dnf install -y nodejs npm`",
        );
        check(
            "ID=fedora\n",
            &["dnf"],
            Tool::Python,
            "run `sudo dnf install -y python3`",
        );
        check("", &["brew"], Tool::Node, "run `brew install node`");
        check("", &["brew"], Tool::Python, "run `brew install python`");
        let rustup = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y \
                      --target wasm32-unknown-unknown";
        check(
            &debian(12),
            &["apt-get", "curl", "cc"],
            Tool::Rust,
            &format!("run `{rustup}`"),
        );
        check(
            &debian(12),
            &["apt-get"],
            Tool::Rust,
            &format!("run `{install} curl gcc libc6-dev && {rustup}`"),
        );
    }

    #[test]
    fn a_distribution_whose_package_is_too_old_is_not_asked_for_it() {
        let node = "curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && \
                    sudo apt-get install -y nodejs";
        for os_release in [
            "ID=debian\nVERSION_ID=\"12\"\n",
            "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n",
        ] {
            let programs = ["apt-get", "curl"];
            check(os_release, &programs, Tool::Node, &format!("run `{node}`"));
        }
        check(
            "ID=ubuntu\nVERSION_ID=\"22.04\"\n",
            &["apt-get"],
            Tool::Python,
            "install it from https://www.python.org/downloads",
        );
    }

    #[test]
    fn a_machine_without_a_package_manager_gets_the_address() {
        for (tool, address) in [
            (Tool::Rust, "https://rustup.rs"),
            (Tool::Node, "https://nodejs.org"),
            (Tool::Python, "https://www.python.org/downloads"),
        ] {
            check("", &[], tool, &format!("install it from {address}"));
        }
    }
}
