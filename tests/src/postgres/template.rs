//! The files of a new cluster, made once for each version of the server and copied for each test
//! process: `initdb` takes a second, a copy a tenth of that.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::postgres::Programs;

use super::user::User;

/// The superuser that tests connect as.
pub const USER: &str = "quipu";

/// To be raised with every change in how a cluster is made.
const FORMAT: u32 = 1;

/// The folder of a cluster's files, inside the folder of the server.
pub const DATA: &str = "data";
/// The file with the password of [`USER`], next to them.
const PASSWORD: &str = "password";

/// Copies a new cluster into `folder`, and returns its password.
pub fn copy(programs: &Programs, user: Option<User>, folder: &Path) -> String {
    let template = template(programs, user);
    copy_all(&template.join(DATA), &folder.join(DATA), user);
    fs::read_to_string(template.join(PASSWORD)).unwrap()
}

/// The folder of the template, next to the tests' binaries, made if it does not exist.
fn template(programs: &Programs, user: Option<User>) -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let cache = binary.parent().unwrap();
    let name = format!("postgres-{}-{FORMAT}", programs.version);
    let template = cache.join(&name);
    let lock = File::create(cache.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !template.exists() {
        // It is made in a folder where another user may write, and renamed when it is complete.
        let made = tempfile::tempdir().unwrap();
        initialise(programs, user, made.path());
        let half = tempfile::tempdir_in(cache).unwrap();
        copy_all(made.path(), &half.path().join("made"), None);
        fs::rename(half.path().join("made"), &template).unwrap();
    }
    template
}

fn initialise(programs: &Programs, user: Option<User>, folder: &Path) {
    let password = format!("{:032x}", rand::random::<u128>());
    let password_file = folder.join(PASSWORD);
    fs::write(&password_file, &password).unwrap();
    let mut initdb = Command::new(programs.folder.join("initdb"));
    initdb
        .args(["--username", USER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
        .arg("--pwfile")
        .arg(&password_file)
        .arg("--pgdata")
        .arg(folder.join(DATA))
        .current_dir(folder)
        .stdin(Stdio::null());
    if let Some(user) = user {
        user.own(folder);
        user.own(&password_file);
        user.run(&mut initdb);
    }
    let output = initdb.output().unwrap();
    assert!(
        output.status.success(),
        "initdb of PostgreSQL {} failed: {}\n{}",
        programs.version,
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies a folder with its content; a server refuses a folder that others may read.
fn copy_all(from: &Path, to: &Path, owner: Option<User>) {
    DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target, owner);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            if let Some(owner) = owner {
                owner.own(&target);
            }
        }
    }
    if let Some(owner) = owner {
        owner.own(to);
    }
}
