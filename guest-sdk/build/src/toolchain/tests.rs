use std::fs;

use tempfile::TempDir;

use super::*;

const HOST: &str = "x86_64-unknown-linux-gnu";

/// A compiler whose sysroot holds `files`.
fn compiler(release: &str, files: &[&str]) -> (TempDir, Compiler) {
    let sysroot = tempfile::tempdir().unwrap();
    for file in files {
        touch(sysroot.path(), file);
    }
    let compiler = Compiler {
        path: sysroot.path().join("bin/rustc"),
        sysroot: sysroot.path().to_owned(),
        host: HOST.to_owned(),
        release: release.to_owned(),
    };
    (sysroot, compiler)
}

/// The active compiler, whatever it has for the target.
pub(crate) fn active() -> Toolchain {
    let rustc =
        Compiler::active(&Machine::current(), Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    Toolchain {
        cargo: rustc.program("cargo"),
        rustc,
        std: Std::Installed,
    }
}

fn touch(root: &Path, file: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

const STD: &str = "lib/rustlib/wasm32-unknown-unknown/lib/libstd-0123.rlib";
const LIBRARY: &str = "lib/rustlib/src/rust/library/Cargo.lock";
const LINKER: &str = "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";

#[test]
fn an_installed_standard_library_comes_first() {
    let (_a, active) = compiler("1.95.0", &[STD, LINKER, "bin/cargo"]);
    let (_d, distribution) = compiler("1.96.0", &[LIBRARY]);

    let found = choose(&active, &[distribution]).unwrap();

    assert_eq!(found.std, Std::Installed);
    assert_eq!(found.rustc, active);
    assert_eq!(found.cargo, active.sysroot.join("bin/cargo"));
}

#[test]
fn a_target_folder_without_std_does_not_count() {
    let (_a, active) = compiler(
        "1.95.0",
        &["lib/rustlib/wasm32-unknown-unknown/lib/self-contained/crt1.o"],
    );
    assert!(choose(&active, &[]).is_err());
}

#[test]
fn the_newest_distribution_compiler_with_source_comes_second() {
    let (_a, active) = compiler("1.95.0", &[LINKER]);
    let (_b, older) = compiler("1.96.0", &[LIBRARY]);
    let (_c, newer) = compiler("1.100.0", &[LIBRARY]);
    let (_d, without_source) = compiler("1.101.0", &[]);

    let found = choose(&active, &[older, newer.clone(), without_source]).unwrap();

    assert_eq!(found.rustc, newer);
    let linker = active.sysroot.join(LINKER);
    assert_eq!(found.std, Std::FromSource { linker });
}

#[test]
fn an_older_compiler_than_the_sdk_needs_is_refused_by_name() {
    let (_a, active) = compiler("1.95.0", &[LINKER]);
    let (_d, old) = compiler("1.63.0", &[LIBRARY]);
    let error = choose(&active, std::slice::from_ref(&old)).unwrap_err();
    let path = old.path.display();
    let expected = format!("{path} is rustc 1.63.0, guests need {RELEASE_MIN} or newer");
    assert_eq!(error.to_string(), expected);

    // Also when it is the active one, with a standard library.
    let (_a, active) = compiler("1.84.1", &[STD, LINKER]);
    let error = choose(&active, &[]).unwrap_err();
    assert!(matches!(error, Missing::TooOld { release, .. } if release == "1.84.1"));
}

#[test]
fn the_oldest_release_is_the_one_of_the_sdks_manifest() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let line = format!("rust-version = \"{RELEASE_MIN}\"");
    assert!(manifest.lines().any(|it| it == line), "{line}");
}

#[test]
fn a_missing_linker_is_named() {
    let (_a, active) = compiler("1.95.0", &[]);
    let (_d, distribution) = compiler("1.96.0", &[LIBRARY]);
    let error = choose(&active, &[distribution]).unwrap_err().to_string();
    assert!(error.ends_with(LINKER), "{error}");
}

#[test]
fn distributions_put_compilers_in_two_places() {
    let root = tempfile::tempdir().unwrap();
    for file in [
        "usr/bin/rustc",
        "usr/bin/rustc-1.96",
        "usr/bin/rust-gdb",
        "usr/lib/rust-1.96/bin/rustc",
        "usr/lib/rustlib/etc/rustc",
    ] {
        touch(root.path(), file);
    }

    let found = distribution_compilers(root.path());

    let expected = [
        "usr/bin/rustc",
        "usr/bin/rustc-1.96",
        "usr/lib/rust-1.96/bin/rustc",
    ];
    assert_eq!(found, expected.map(|path| root.path().join(path)));
    assert_eq!(
        distribution_compilers(&root.path().join("usr")),
        [""; 0].map(PathBuf::from)
    );
}

#[test]
fn a_proxy_of_rustup_is_no_distribution_compiler() {
    let Some(proxy) = env::var_os("CARGO_HOME").map(|home| Path::new(&home).join("bin/rustc"))
    else {
        return;
    };
    if proxy.is_file() {
        assert_eq!(Compiler::of_distribution(&proxy), None);
    }
}

#[test]
fn the_active_compiler_is_a_real_one() {
    let active =
        Compiler::active(&Machine::current(), Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(
        Compiler::of_distribution(&active.path).as_ref(),
        Some(&active)
    );
}
