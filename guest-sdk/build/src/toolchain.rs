//! The two ways to compile for [`TARGET`].
//!
//! First the active toolchain, when it has a standard library for the target. Otherwise a
//! distribution's compiler that comes with the library's source. The library is then compiled with
//! the guest (45 s, once per target folder), with the cargo and the `rust-lld` of the active
//! toolchain.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Machine, Tool, ensure};

/// The target that guests are compiled for. It has no system, so the contract's imports are the
/// only ones.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest Rust that compiles the guest SDK: `rust-version` in its Cargo.toml.
const RELEASE_MIN: &str = "1.85";

/// Variables of an outer cargo, rustup or shell that would choose another compiler, target
/// or flags.
const LEAKS: [&str; 12] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "__CARGO_TESTS_ONLY_SRC_ROOT",
];

/// A cargo and a compiler that can compile for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: Compiler,
    pub(crate) std: Std,
}

/// Where the target's standard library comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Std {
    Installed,
    FromSource { linker: PathBuf },
}

/// A `rustc` and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub path: PathBuf,
    pub sysroot: PathBuf,
    pub host: String,
    pub release: String,
}

/// Why a machine can't compile for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Neither a standard library for the target nor a distribution's compiler with its
    /// library's source.
    Library {
        /// The active compiler's release.
        release: String,
    },
    /// A compiler for the target that is older than the guest SDK needs.
    TooOld {
        /// The compiler.
        path: PathBuf,
        /// The compiler's release.
        release: String,
        /// The oldest release that works.
        needed: &'static str,
    },
    /// The active toolchain has no linker for a distribution's compiler.
    Linker {
        /// Where the linker should be.
        path: PathBuf,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library { release } => write!(
                f,
                "rustc {release} has no standard library for it, and there is no rustc of the \
                 distribution with its library's source"
            ),
            Self::TooOld {
                path,
                release,
                needed,
            } => write!(
                f,
                "{} is rustc {release}, guests need {needed} or newer",
                path.display()
            ),
            Self::Linker { path } => {
                write!(f, "the active toolchain has no linker {}", path.display())
            }
        }
    }
}

/// Finds the toolchain with which a guest in `dir` is compiled. rustup may choose another one in
/// another folder.
///
/// # Errors
///
/// [`Error::NoRust`], and [`Error::NoWasm`], after which [`crate::ensure()`] can install a
/// toolchain.
pub fn find(dir: &Path) -> Result<Toolchain, Error> {
    find_on(&Machine::current(), dir)
}

pub(crate) fn find_on(machine: &Machine, dir: &Path) -> Result<Toolchain, Error> {
    let active = Compiler::active(machine, dir)?;
    let distribution: Vec<_> = distribution_compilers(machine.root())
        .iter()
        .filter_map(|path| Compiler::of_distribution(path))
        .collect();
    choose(&active, &distribution).map_err(|missing| Error::NoWasm {
        missing,
        advice: ensure::advice(machine),
    })
}

fn choose(active: &Compiler, distribution: &[Compiler]) -> Result<Toolchain, Missing> {
    let cargo = active.program("cargo");
    if active.has_std() && active.is_new_enough() {
        return Ok(Toolchain {
            cargo,
            rustc: active.clone(),
            std: Std::Installed,
        });
    }
    let with_source = distribution.iter().filter(|it| it.std_source().is_file());
    let newest = with_source.max_by_key(|it| numbers(&it.release));
    let rustc = match newest {
        Some(rustc) => rustc,
        None if active.has_std() => active,
        None => {
            let release = active.release.clone();
            return Err(Missing::Library { release });
        }
    };
    if !rustc.is_new_enough() {
        return Err(Missing::TooOld {
            path: rustc.path.clone(),
            release: rustc.release.clone(),
            needed: RELEASE_MIN,
        });
    }
    let linker = active.tool("rust-lld");
    if !linker.is_file() {
        return Err(Missing::Linker { path: linker });
    }
    Ok(Toolchain {
        cargo,
        rustc: rustc.clone(),
        std: Std::FromSource { linker },
    })
}

impl Toolchain {
    /// Returns cargo, bound to this compiler whatever the environment says.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        for leak in LEAKS {
            cargo.env_remove(leak);
        }
        cargo.env("RUSTC", &self.rustc.path);
        cargo
    }

    /// Makes `cargo` compile for [`TARGET`].
    pub(crate) fn target_wasm(&self, cargo: &mut Command) {
        cargo.args(["--target", TARGET]);
        if let Std::FromSource { linker } = &self.std {
            cargo
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }

    /// The folder of the standard library's source, when it is compiled with the guest.
    pub(crate) fn std_source(&self) -> Option<PathBuf> {
        matches!(self.std, Std::FromSource { .. }).then(|| self.rustc.source())
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiler { path, release, .. } = &self.rustc;
        match self.std {
            Std::Installed => write!(f, "rustc {release} with a standard library for {TARGET}"),
            Std::FromSource { .. } => write!(
                f,
                "{} (rustc {release}) with the standard library compiled from its source",
                path.display()
            ),
        }
    }
}

impl Compiler {
    fn active(machine: &Machine, dir: &Path) -> Result<Self, Error> {
        let rustc = || {
            let mut rustc = machine.command("rustc");
            rustc.current_dir(dir);
            rustc
        };
        let mut found = Self::ask(rustc).map_err(|detail| Error::NoRust {
            program: "rustc".to_owned(),
            detail,
            advice: Tool::Rust.advice(machine),
        })?;
        // rustup's proxies are not used from here on, because they choose by environment.
        found.path = found.program("rustc");
        Ok(found)
    }

    /// Returns none when the file is not a compiler, or is one of rustup's proxies, which run any
    /// compiler.
    fn of_distribution(path: &Path) -> Option<Self> {
        let rustc = || {
            let mut rustc = Command::new(path);
            // A compiler ignores these variables; a proxy fails.
            rustc
                .env("RUSTUP_TOOLCHAIN", "not-a-toolchain")
                .env("RUSTUP_AUTO_INSTALL", "0")
                .env_remove("LD_LIBRARY_PATH");
            rustc
        };
        let found = Self::ask(rustc).ok()?;
        Some(Self {
            path: path.to_owned(),
            ..found
        })
    }

    fn ask(rustc: impl Fn() -> Command) -> Result<Self, String> {
        let answer = |args: &[&str]| {
            let output = rustc()
                .args(args)
                .output()
                .map_err(|error| format!("did not start: {error}"))?;
            if !output.status.success() {
                let stderr = String::from_utf8_lossy(&output.stderr);
                return Err(format!("failed: {}", stderr.trim()));
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let sysroot = PathBuf::from(answer(&["--print", "sysroot"])?);
        let version = answer(&["-vV"])?;
        let field = |name| {
            let lines = version.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            values.next().unwrap_or("unknown").to_owned()
        };
        Ok(Self {
            path: PathBuf::new(),
            sysroot,
            host: field("host"),
            release: field("release"),
        })
    }

    fn is_new_enough(&self) -> bool {
        numbers(&self.release) >= numbers(RELEASE_MIN)
    }

    fn has_std(&self) -> bool {
        let libraries = self.sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let Ok(entries) = fs::read_dir(libraries) else {
            return false;
        };
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }

    fn source(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// The file by which cargo's `build-std` recognises the library's source.
    fn std_source(&self) -> PathBuf {
        self.source().join("library/Cargo.lock")
    }

    fn tool(&self, name: &str) -> PathBuf {
        let tools = self
            .sysroot
            .join("lib/rustlib")
            .join(&self.host)
            .join("bin");
        tools.join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Returns a program of the same toolchain; the one on the path where the toolchain has none.
    fn program(&self, name: &str) -> PathBuf {
        let name = format!("{name}{}", env::consts::EXE_SUFFIX);
        let path = self.sysroot.join("bin").join(&name);
        if path.is_file() {
            path
        } else {
            PathBuf::from(name)
        }
    }
}

/// Returns every path where distributions install a compiler: `/usr/bin/rustc`,
/// `/usr/bin/rustc-1.96`, `/usr/lib/rust-1.96/bin/rustc`.
fn distribution_compilers(root: &Path) -> Vec<PathBuf> {
    let names = |dir: &str, prefix: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root.join(dir)).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    };
    let plain = names("usr/bin", "rustc");
    let versioned = names("usr/lib", "rust-")
        .into_iter()
        .map(|dir| dir.join("bin/rustc"));
    let all = plain.into_iter().chain(versioned);
    all.filter(|path| path.is_file()).collect()
}

/// Reads `1.96.0-nightly` as (1, 96). A release that can't be read counts as the oldest.
fn numbers(release: &str) -> (u32, u32) {
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
pub(crate) mod tests;
