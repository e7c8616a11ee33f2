use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};
use wit_component::ComponentEncoder;

use crate::{
    Error, TARGET, Toolchain,
    package::{self, Package},
    toolchain,
};

/// Overrides the profile in the guest's own Cargo.toml. Unwinding does not exist for the target.
const PROFILE: [(&str, &str); 8] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    // A number that overflowed would be recorded as if it were right. A trap is not recorded.
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The component's file, instead of `guests/components/` in the workspace's target folder.
    pub output: Option<PathBuf>,
    /// Whether to fail rather than change `Cargo.lock`.
    pub locked: bool,
}

/// A component that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The name of the guest's package.
    pub package: String,
    /// The component's file.
    pub component: PathBuf,
    /// The component's size.
    pub bytes: u64,
}

/// Compiles the guest project in `dir` to a validated component.
///
/// cargo's progress and diagnostics go to standard error. `RUSTFLAGS` is ignored; flags under
/// `[target.wasm32-unknown-unknown]` in the guest's `.cargo/config.toml` are used. The same source
/// and toolchain give the same bytes in any folder, as long as path dependencies lie within the
/// workspace. Builds into one target folder wait for each other, and the component's file is
/// replaced as a whole.
///
/// # Errors
///
/// [`Error::NoWasm`] without a toolchain, [`Error::NotAGuest`] when `dir` has no
/// package with a `cdylib`, [`Error::DependsOnGuest`], [`Error::Compile`], and [`Error::NotAComponent`]
/// when the module exports no WIT world.
pub fn build(dir: &Path, options: &Options) -> Result<Built, Error> {
    let manifest = package::manifest(dir)?;
    let toolchain = toolchain::find(dir)?;
    let package = Package::read(&toolchain, dir, manifest)?;
    // A separate folder, because an outer cargo holds the lock of the workspace's folder, and
    // because the standard library is then compiled once for all guests.
    let target = package.target.join("guests");
    let _lock = lock(&target)?;
    let module = compile(&toolchain, &package, &target, options)?;
    let module = fs::read(&module).map_err(Error::io(module))?;
    let component = encode(&module).map_err(|detail| Error::NotAComponent {
        package: package.name.clone(),
        detail,
    })?;
    let file = match &options.output {
        Some(file) => file.clone(),
        None => target
            .join("components")
            .join(format!("{}.wasm", package.name)),
    };
    replace(&file, &component)?;
    Ok(Built {
        package: package.name,
        component: file,
        bytes: component.len() as u64,
    })
}

/// Held from before cargo runs until its output is read: packages of two
/// workspaces that share a target folder may have one name.
fn lock(target: &Path) -> Result<File, Error> {
    fs::create_dir_all(target).map_err(Error::io(target))?;
    let path = target.join(".quipu-build-lock");
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another guest build in {}", target.display());
            file.lock().map_err(Error::io(&path))?;
        }
        Err(TryLockError::Error(error)) => return Err(Error::io(path)(error)),
    }
    Ok(file)
}

/// The core module's file.
fn compile(
    toolchain: &Toolchain,
    package: &Package,
    target: &Path,
    options: &Options,
) -> Result<PathBuf, Error> {
    let mut cargo = toolchain.cargo();
    // `rustc --crate-type` and not `build`, because cargo skips LTO for a package that is also an
    // rlib.
    cargo.args(["rustc", "--release", "--lib", "--crate-type", "cdylib"]);
    cargo.arg("--manifest-path").arg(&package.manifest);
    cargo.arg("--target-dir").arg(target);
    cargo.arg("--message-format=json-render-diagnostics");
    toolchain.target_wasm(&mut cargo);
    if options.locked {
        cargo.arg("--locked");
    }
    // The flags are the same for every project of a machine, because the standard library is
    // compiled a second time where they differ.
    let flags = shared_remaps(toolchain);
    cargo
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags={}", json!(flags)))
        .arg("--")
        .args(remaps(package.workspace.clone(), "/guest"))
        .envs(PROFILE)
        .current_dir(&package.workspace);

    let (status, module) = run(cargo, package).map_err(Error::io(&toolchain.cargo))?;
    if !status.success() {
        return Err(Error::Compile {
            package: package.name.clone(),
            status,
        });
    }
    module.ok_or_else(|| Error::NotAComponent {
        package: package.name.clone(),
        detail: "cargo made no wasm file".to_owned(),
    })
}

fn run(
    mut cargo: Command,
    package: &Package,
) -> std::io::Result<(process::ExitStatus, Option<PathBuf>)> {
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut module = None;
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let message = serde_json::from_str(&line?).unwrap_or(Value::Null);
            module = artefact(&message, &package.manifest).or(module);
        }
    }
    Ok((child.wait()?, module))
}

/// The wasm file that this message of cargo's names, if it is the package's.
fn artefact(message: &Value, manifest: &Path) -> Option<PathBuf> {
    let ours = message["reason"] == "compiler-artifact"
        && message["manifest_path"].as_str().map(Path::new) == Some(manifest);
    let files = message["filenames"].as_array().filter(|_| ours)?;
    let mut files = files.iter().filter_map(Value::as_str).map(Path::new);
    let wasm = files.find(|file| file.extension().is_some_and(|it| it == "wasm"));
    wasm.map(Path::to_owned)
}

/// Panics carry paths of source files; these must not depend on the machine. Other packages of the
/// workspace are compiled under paths that begin at it.
fn shared_remaps(toolchain: &Toolchain) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let places = [(cargo_home, "/cargo"), (toolchain.std_source(), "/rust")];
    let known = places
        .into_iter()
        .filter_map(|(from, to)| Some((from?, to)));
    known.flat_map(|(from, to)| remaps(from, to)).collect()
}

/// A path and the name that replaces it, in each way to write the path.
fn remaps(place: PathBuf, to: &str) -> Vec<String> {
    let canonical = place.canonicalize().ok().filter(|it| *it != place);
    let places = [Some(place), canonical].into_iter().flatten();
    let remap = |from: PathBuf| format!("--remap-path-prefix={}={to}", from.display());
    places.map(remap).collect()
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let describe = |error| format!("{error:#}");
    // Without this check, a module without a WIT world becomes an empty component.
    let (_, bindings) = wit_component::metadata::decode(module).map_err(describe)?;
    if bindings.resolve.worlds[bindings.world].exports.is_empty() {
        return Err(
            "it exports no WIT interface; does it export a decider, a projection or an upcaster?"
                .to_owned(),
        );
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(describe)
}

/// Replaces the file as a whole: a reader sees the old file or the new one.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}-{count}.tmp", process::id()));
    let temporary = dir.join(name);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, file));
    written.map_err(|error| {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::io(file)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_wit_world_is_no_component() {
        let empty = b"\0asm\x01\0\0\0";
        let error = encode(empty).unwrap_err();
        assert!(error.contains("exports no WIT interface"), "{error}");
        assert!(encode(b"no wasm at all").is_err());
    }

    #[test]
    fn only_the_packages_own_wasm_file_is_its_artefact() {
        let message = |reason: &str, manifest: &str, file: &str| json!({"reason": reason, "manifest_path": manifest, "filenames": [file]});
        let find = |message| artefact(&message, Path::new("/p/Cargo.toml"));
        let made = "compiler-artifact";
        let ours = find(message(made, "/p/Cargo.toml", "/t/p.wasm"));
        assert_eq!(ours, Some(PathBuf::from("/t/p.wasm")));
        assert_eq!(find(message(made, "/q/Cargo.toml", "/t/q.wasm")), None);
        assert_eq!(find(message(made, "/p/Cargo.toml", "/t/libp.rlib")), None);
        assert_eq!(
            find(message("build-finished", "/p/Cargo.toml", "/t/p.wasm")),
            None
        );
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/loan.wasm");
        replace(&file, b"old").unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);

        assert!(replace(dir.path(), b"a folder is in the way").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
