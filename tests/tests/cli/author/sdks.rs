//! The tests of the SDKs for JavaScript and Python that need no package of npm or PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::interpreters::{Interpreter, NODE, PYTHON};

/// Tests that need packages: `cargo xtask sdks` runs them.
const WITH_NPM: [&str; 5] = [
    "build.test.js",
    "component.test.js",
    "docs.test.js",
    "package.test.js",
    "types.test.js",
];
const WITH_PYPI: [&str; 3] = ["test_build.py", "test_component.py", "test_package.py"];

/// The files of a folder that are tests, without some that must be there.
fn tests(folder: &Path, is_test: fn(&str) -> bool, others: &[&str]) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let (left, mut tests): (Vec<String>, Vec<String>) = names
        .filter(|name| is_test(name))
        .partition(|name| others.contains(&&**name));
    assert_eq!(left.len(), others.len(), "{left:?}");
    assert!(!tests.is_empty());
    tests.sort_unstable();
    tests
}

fn sdk(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("guest-sdk").join(name)
}

fn check(interpreter: Interpreter, args: &[&str], tests: &[String], folder: &Path) {
    if let Err(error) = interpreter.find() {
        panic!("{error:#}");
    }
    let mut command = Command::new(interpreter.program);
    command.args(args).args(tests).current_dir(folder);
    // The folder of the sources stays as it is.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_tests_of_the_sdk_for_javascript_pass() {
    let sdk = sdk("js");
    let is_test = |name: &str| name.ends_with(".test.js");
    let tests = tests(&sdk.join("tests"), is_test, &WITH_NPM);
    let args = ["--require", "./support/node18.cjs", "--test"];
    check(NODE, &args, &tests, &sdk.join("tests"));
}

#[test]
fn the_tests_of_the_sdk_for_python_pass() {
    let sdk = sdk("python");
    let is_test = |name: &str| name.starts_with("test_");
    let files = tests(&sdk.join("tests"), is_test, &WITH_PYPI);
    let modules: Vec<String> = files
        .iter()
        .map(|file| format!("tests.{}", file.trim_end_matches(".py")))
        .collect();
    check(PYTHON, &["-m", "unittest", "--quiet"], &modules, &sdk);
}
