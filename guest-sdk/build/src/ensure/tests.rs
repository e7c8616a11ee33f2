//! Set-up on machines that are folders of scripts.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Instant};

use tempfile::TempDir;

use super::*;

const RUSTUP: &str = "rustup target add wasm32-unknown-unknown";
const UPDATE: &str = "apt-get --quiet -o DPkg::Lock::Timeout=120 update";
const INSTALL: &str = "apt-get --quiet -o DPkg::Lock::Timeout=120 install --yes \
                       --no-install-recommends rustc-web rust-web-src";

const FAILS: &str = "echo 'no network' >&2; exit 1";

/// A machine with rustc 1.95 that has no standard library for the target. Its programs write
/// their arguments to a log.
struct Fake {
    dir: TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fake.compiler("bin/rustc", "1.95.0", "sysroot");
        fake.touch("sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        fake
    }

    fn debian(self, user: u32) -> Self {
        fs::create_dir_all(self.path("etc")).unwrap();
        fs::write(self.path("etc/os-release"), "ID=debian\n").unwrap();
        self.script("bin/id", &format!("echo {user}"));
        self
    }

    fn rustup(self, does: &str) -> Self {
        self.logging("rustup", does);
        self
    }

    fn apt(self, update: &str, install: &str) -> Self {
        let does = format!("case \"$*\" in *update*) {update};; *) {install};; esac");
        self.logging("apt-get", &does);
        self
    }

    /// The shell's commands that install a standard library for the active toolchain.
    fn brings_std(&self) -> String {
        let lib = self.path("sysroot/lib/rustlib/wasm32-unknown-unknown/lib");
        let lib = lib.display();
        format!("/bin/mkdir -p {lib}; : > {lib}/libstd-0123.rlib")
    }

    /// The shell's commands that install Debian's compiler of this release.
    fn brings_rustc(&self, release: &str) -> String {
        let package = format!("packages/rustc-{release}");
        self.compiler(&package, release, "usr");
        let library = self.path("usr/lib/rustlib/src/rust/library");
        format!(
            "/bin/mkdir -p {0} {1}; /bin/mv {2} {1}/rustc; : > {0}/Cargo.lock",
            library.display(),
            self.path("usr/bin").display(),
            self.path(&package).display(),
        )
    }

    fn compiler(&self, file: &str, release: &str, sysroot: &str) {
        let sysroot = self.path(sysroot);
        let does = format!(
            "case \"$*\" in *sysroot*) echo {};; *) echo 'host: x86_64-unknown-linux-gnu'; \
             echo 'release: {release}';; esac",
            sysroot.display()
        );
        self.script(file, &does);
    }

    fn logging(&self, program: &str, does: &str) {
        let log = self.path("log");
        let does = format!("echo \"{program} $*\" >> {}\n{does}", log.display());
        self.script(&format!("bin/{program}"), &does);
    }

    fn script(&self, file: &str, does: &str) {
        let file = self.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = file.with_extension("text");
        fs::write(&text, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        // This process never opens the script for writing: a child that another test forks would
        // inherit the file, and the script could not be run as long as it is open.
        let copied = Command::new("/bin/cp").args([&text, &file]).status();
        assert!(copied.unwrap().success());
    }

    fn touch(&self, file: &str) {
        let file = self.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn ensure(&self) -> Result<Ensured, Error> {
        let machine = Machine::fake(&self.path("bin"), self.dir.path());
        ensure_on(&machine, self.dir.path(), Duration::from_secs(1))
    }

    /// The installer that brought a toolchain.
    fn installed(&self) -> Installer {
        match self.ensure().unwrap() {
            Ensured::Installed(_, installer) => installer,
            Ensured::Found(found) => panic!("{found} was there"),
        }
    }

    fn error(&self) -> String {
        self.ensure().unwrap_err().to_string()
    }

    /// The commands that were run.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

#[track_caller]
fn check_contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn nothing_is_installed_where_a_toolchain_works() {
    let fake = Fake::new().rustup(FAILS);
    fake.touch("sysroot/lib/rustlib/wasm32-unknown-unknown/lib/libstd-0123.rlib");
    assert!(matches!(fake.ensure(), Ok(Ensured::Found(_))));
    assert!(fake.log().is_empty());
}

#[test]
fn rustup_comes_first() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_std();
    let fake = fake.rustup(&brings).apt("exit 0", FAILS);
    assert_eq!(fake.installed(), Installer::Rustup);
    assert_eq!(fake.log(), [RUSTUP]);
}

#[test]
fn packages_follow_where_rustup_fails() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.96.0");
    let fake = fake.rustup(FAILS).apt("exit 0", &brings);
    assert_eq!(fake.installed(), Installer::Apt);
    assert_eq!(fake.log(), [RUSTUP, UPDATE, INSTALL]);
}

#[test]
fn packages_follow_where_rustup_hangs() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.96.0");
    let fake = fake.rustup("exec /bin/sleep 600").apt("exit 0", &brings);
    let start = Instant::now();
    assert_eq!(fake.installed(), Installer::Apt);
    assert!(start.elapsed() < Duration::from_secs(300));
    assert_eq!(fake.log(), [RUSTUP, UPDATE, INSTALL]);
}

#[test]
fn packages_follow_where_rustup_succeeds_without_a_library() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.96.0");
    let fake = fake.rustup("exit 0").apt("exit 0", &brings);
    assert_eq!(fake.installed(), Installer::Apt);
}

#[test]
fn the_oldest_release_that_works_is_enough() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.85.0");
    let fake = fake.apt("exit 0", &brings);
    assert_eq!(fake.installed(), Installer::Apt);
}

#[test]
fn lists_are_fetched_before_packages_are_installed() {
    // With the old lists, the package would be too old.
    let fake = Fake::new().debian(0);
    let old = fake.brings_rustc("1.63.0");
    let new = fake.brings_rustc("1.96.0");
    let fresh = fake.path("fresh");
    let fresh = fresh.display();
    let install = format!("if [ -e {fresh} ]; then {new}; else {old}; fi");
    let fake = fake.apt(&format!(": > {fresh}"), &install);
    assert_eq!(fake.installed(), Installer::Apt);
    assert_eq!(fake.log(), [UPDATE, INSTALL]);
}

#[test]
fn lists_that_cannot_be_fetched_do_not_matter_where_the_packages_are_good() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.96.0");
    let fake = fake.apt(FAILS, &brings);
    assert_eq!(fake.installed(), Installer::Apt);
    assert_eq!(fake.log(), [UPDATE, INSTALL]);
}

#[test]
fn an_old_package_is_reported_with_both_versions_and_other_advice() {
    let fake = Fake::new().debian(0);
    let brings = fake.brings_rustc("1.63.0");
    let fake = fake.rustup(FAILS).apt("exit 0", &brings);
    let error = fake.error();
    let found = format!("{} is rustc 1.63.0", fake.path("usr/bin/rustc").display());
    check_contains(
        &error,
        &[
            &found,
            "guests need 1.85 or newer",
            "package sources that have rustc-web 1.85 or newer",
            "check that rustup reaches its server",
        ],
    );
    assert!(!error.contains("apt-get install"), "{error}");
}

#[test]
fn packages_that_cannot_be_installed_are_reported_with_what_failed_before() {
    let fake = Fake::new().debian(0).apt(FAILS, "exit 100");
    check_contains(
        &fake.error(),
        &[
            "`apt-get install --no-install-recommends rustc-web rust-web-src` failed: exit status: 100",
            "until `apt-get update` works",
            "install rustup from https://rustup.rs",
        ],
    );
}

#[test]
fn who_is_not_root_is_advised_to_install_packages_as_root() {
    let fake = Fake::new().debian(1000).rustup(FAILS).apt("exit 0", FAILS);
    check_contains(
        &fake.error(),
        &[
            "`rustup target add wasm32-unknown-unknown` failed: exit status: 1",
            "run as root `apt-get update && apt-get install",
        ],
    );
    assert_eq!(fake.log(), [RUSTUP]);
}

#[test]
fn without_any_installer_the_advice_is_rustup() {
    for fake in [Fake::new(), Fake::new().debian(0)] {
        check_contains(
            &fake.error(),
            &[
                "rustc 1.95.0 has no standard library for it",
                "install rustup from https://rustup.rs, then run `rustup target add",
            ],
        );
        assert!(fake.log().is_empty());
    }
}

#[test]
fn a_build_without_a_toolchain_names_the_commands_of_this_machine() {
    let message = |fake: &Fake| {
        let machine = Machine::fake(&fake.path("bin"), fake.dir.path());
        let error = toolchain::find_on(&machine, fake.dir.path()).unwrap_err();
        error.to_string()
    };
    let lacks = "can't compile for wasm32-unknown-unknown: rustc 1.95.0 has no standard library \
                 for it, and there is no rustc of the distribution with its library's source; ";
    let apt = "`apt-get update && apt-get install --no-install-recommends rustc-web rust-web-src`";

    let fake = Fake::new().debian(0).apt("exit 0", FAILS);
    assert_eq!(message(&fake), format!("{lacks}run as root {apt}"));
    let fake = fake.rustup(FAILS);
    let both = format!("{lacks}run `{RUSTUP}`, or as root {apt}");
    assert_eq!(message(&fake), both);
    let fake = Fake::new().rustup(FAILS);
    assert_eq!(message(&fake), format!("{lacks}run `{RUSTUP}`"));
}
