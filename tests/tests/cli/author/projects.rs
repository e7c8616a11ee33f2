use std::path::Path;
use std::process::Command;

use super::run_in;
#[cfg(unix)]
use crate::program::Said;

/// Every file of a folder, by its path.
fn files(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    files.sort_unstable();
    files
}

#[test]
fn a_new_rust_project_builds_and_passes_its_tests_outside_of_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("bank", &[][..]),
        (
            "bank_views",
            &["--kind", "projection", "--category", "bank"],
        ),
        ("bank_steps", &["--kind", "upcaster", "--category", "bank"]),
        ("shop", &["--kind", "domain"]),
    ] {
        let arguments = [&["new", name], more].concat();
        let said = run_in(dir.path(), &arguments);
        assert_eq!(said.ok().trim_end(), format!("./{name}"));
        let project = dir.path().join(name);
        // One folder for all three, so that their dependencies are compiled once.
        let target = dir.path().join("target");
        let tested = Command::new("cargo")
            .args(["test", "--quiet", "--workspace", "--tests"])
            .current_dir(&project)
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .unwrap();
        assert!(
            tested.status.success(),
            "{}",
            String::from_utf8_lossy(&tested.stderr)
        );
        play(&project, name);
    }
    // The projection of the domain is a project of its own.
    play(&dir.path().join("shop/views"), "shop_views");
}

/// Builds a project, plays its scenarios, and checks its component.
fn play(project: &Path, name: &str) {
    // The folder of the other guests, which has the compiled standard library.
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let played = crate::program::quipu(&["test"])
        .current_dir(project)
        .env("CARGO_TARGET_DIR", &guests)
        .output()
        .unwrap();
    let said = crate::program::said(&played);
    assert!(said.ok().contains(" 0 failed"));
    let component = format!("build/{name}.wasm");
    let said = run_in(project, &["conform", &component, "scenarios/rules.yaml"]);
    said.ok();
}

#[test]
fn a_new_project_has_the_files_of_its_language() {
    for (language, own) in [
        (
            "rust",
            &[
                "Cargo.toml",
                "src/lib.rs",
                "tests/rules.rs",
                "sdk/quipu-guest/src/lib.rs",
            ][..],
        ),
        (
            "ts",
            &[
                "package.json",
                "tsconfig.json",
                "src/index.ts",
                "tests/rules.test.ts",
            ],
        ),
        (
            "js",
            &["package.json", "src/index.js", "tests/rules.test.js"],
        ),
        (
            "python",
            &["requirements.txt", "app.py", "tests/test_rules.py"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        run_in(dir.path(), &["new", "bank", "--lang", language]).ok();
        let files = files(&dir.path().join("bank"));
        let common = [
            ".gitignore",
            "AGENTS.md",
            "quipu.toml",
            "scenarios/rules.yaml",
        ];
        for file in own.iter().chain(&common) {
            assert!(files.iter().any(|it| it == file), "{file}\n{files:#?}");
        }
        for file in &files {
            let text = std::fs::read_to_string(dir.path().join("bank").join(file)).unwrap();
            let is_sdk = file.starts_with("sdk/");
            assert!(
                is_sdk || !text.contains("{{"),
                "{file} has a mark that is not filled in"
            );
        }
    }
}

#[test]
fn a_project_that_can_not_be_made_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, message, code) in [
        (&["new", "My Bank"][..], "is not a name of a project", 1),
        (
            &["new", "bank", "--kind", "domain", "--lang", "ts"],
            "the kind domain is for Rust",
            1,
        ),
        (
            &["new", "views", "--kind", "projection"],
            "with --category",
            2,
        ),
        (
            &["new", "views", "--kind", "projection", "--category", "Book"],
            "\"Book\" is not a name of a category: use 1 to 64 of a-z, 0-9 and _, beginning with a \
             letter, for example book",
            1,
        ),
        (
            &["new", "bank", "--category", "loan"],
            "leave out --category",
            2,
        ),
        (&["new", "bank", "--parent", "gone"], "No such file", 1),
    ] {
        let said = run_in(dir.path(), arguments);
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.contains(message), "{}", said.err);
    }
    assert_eq!(files(dir.path()), [""; 0]);
    run_in(dir.path(), &["new", "bank"]).ok();
    let said = run_in(dir.path(), &["new", "bank"]);
    assert!(said.err.contains("bank exists"), "{}", said.err);
}

#[test]
fn a_build_outside_of_a_project_names_the_command_that_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let said = run_in(dir.path(), &["build"]);
    assert_eq!(said.code, 1);
    for part in [
        "no quipu.toml here or in a folder above",
        "`quipu new NAME`",
    ] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    assert!(!said.err.contains("Cargo"), "{}", said.err);
}

#[test]
fn a_build_command_of_the_author_is_run_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
    let manifest = "name = \"own\"\nlanguage = \"rust\"\nbuild = 'BUILD'\n";
    std::fs::write(
        dir.path().join("made.wasm"),
        quipu_tests::examples::account(),
    )
    .unwrap();
    write(
        "quipu.toml",
        &manifest.replace("BUILD", "cp made.wasm \"$QUIPU_COMPONENT\""),
    );
    let said = run_in(dir.path(), &["build"]);
    assert!(
        said.err
            .contains("commands     open, deposit, withdraw, close"),
        "{}",
        said.err
    );
    let warning = "warning: the project is called own, but its component account, and hosts know \
                   it as account; set name = \"account\" in ./quipu.toml, or rename the component";
    assert!(said.err.contains(warning), "{}", said.err);
    assert_eq!(said.ok().trim_end(), "./build/own.wasm");
    std::fs::remove_file(dir.path().join("build/own.wasm")).unwrap();
    for (command, message) in [
        ("exit 3", "`exit 3` failed"),
        ("true", "there is no component at ./build/own.wasm"),
        ("echo x > \"$QUIPU_COMPONENT\"", "not WebAssembly"),
    ] {
        write("quipu.toml", &manifest.replace("BUILD", command));
        let said = run_in(dir.path(), &["build"]);
        assert_eq!(said.code, 1);
        assert!(said.err.contains(message), "{command}: {}", said.err);
    }
    for (language, message) in [
        ("typescript", "cd . && npm install"),
        (
            "python",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        ),
    ] {
        write(
            "quipu.toml",
            &format!("name = \"own\"\nlanguage = \"{language}\"\n"),
        );
        let said = run_in(dir.path(), &["build"]);
        assert_eq!(said.code, 1);
        assert!(said.err.contains(message), "{}", said.err);
    }
}

/// The tools of the SDKs say that `--verbose` shows more, whichever command runs them.
#[cfg(unix)]
#[test]
fn each_command_that_builds_passes_verbose_to_the_tool() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join(".venv/bin/python");
    std::fs::create_dir_all(python.parent().unwrap()).unwrap();
    // A tool that fails, and says with which arguments.
    let script = "#!/bin/sh\n[ \"$1\" = -c ] || { echo \"arguments: $*\"; exit 1; }\n";
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let manifest = "name = \"own\"\nlanguage = \"python\"\n";
    std::fs::write(dir.path().join("quipu.toml"), manifest).unwrap();
    for command in ["build", "test"] {
        for (more, is_passed) in [(&[][..], false), (&["--verbose"], true)] {
            let said = run_in(dir.path(), &[&[command], more].concat());
            assert!(said.err.contains("arguments: "), "{}", said.err);
            assert_eq!(said.err.contains("--verbose"), is_passed, "{}", said.err);
            said.fails(1, "the component was not built; the reason is above");
        }
    }
}

#[test]
fn doctor_names_what_is_missing_and_how_to_install_it() {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), &["doctor", "--lang", "rust"]).ok();
    let said = crate::program::quipu(&["doctor", "--lang", "js", "--json"])
        .env("PATH", dir.path())
        .output()
        .unwrap();
    let said = crate::program::said(&said);
    assert_eq!(said.code, 1);
    assert!(
        said.out
            .contains("Node.js 20 or newer is needed: install it from https://nodejs.org"),
        "{}",
        said.out
    );
    assert!(said.out.contains("\"tool\":\"npm\""), "{}", said.out);
    assert!(!said.out.contains("Python"), "{}", said.out);
}

/// Runs `quipu doctor` in a folder, on a machine with only these scripts as programs.
#[cfg(unix)]
fn doctor_with(dir: &Path, args: &[&str], programs: &[(&str, &str)]) -> Said {
    use std::os::unix::fs::PermissionsExt;
    let path = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        let file = path.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut doctor = crate::program::quipu(&[&["doctor"], args].concat());
    let output = doctor.current_dir(dir).env("PATH", path.path()).output();
    crate::program::said(&output.unwrap())
}

#[cfg(unix)]
#[test]
fn doctor_shows_a_version_that_is_too_old_and_one_command() {
    let dir = tempfile::tempdir().unwrap();
    let programs = [
        ("node", "echo v18.19.0"),
        ("npm", "echo 9.2.0"),
        ("brew", ""),
    ];
    let said = doctor_with(dir.path(), &["--lang", "js"], &programs);
    assert_eq!(said.code, 1);
    for text in [
        "too old  Node.js:",
        "v18.19.0; Node.js 20 or newer is needed: run `brew install node`",
        "ok       npm: 9.2.0",
    ] {
        assert!(said.out.contains(text), "{text}\n{}", said.out);
    }
    let said = doctor_with(dir.path(), &["--lang", "js"], &[("brew", "")]);
    let line = "missing  npm: run `brew install node`";
    assert!(said.out.contains(line), "{}", said.out);
    let rust = doctor_with(dir.path(), &["--lang", "rust"], &[("curl", ""), ("cc", "")]);
    let command = "sh -s -- -y --target wasm32-unknown-unknown`";
    assert!(rust.out.contains(command), "{}", rust.out);
    let python = [
        ("python3", "[ $1 = --version ] && echo Python 3.11.7"),
        ("brew", ""),
    ];
    let said = doctor_with(dir.path(), &["--lang", "python"], &python);
    let line = "missing  Python's module venv: run `brew install python`";
    assert!(said.out.contains(line), "{}", said.out);
}

#[cfg(unix)]
#[test]
fn doctor_says_when_the_packages_of_a_project_are_missing() {
    const PYTHON: &str =
        "case \"$*\" in --version) echo Python 3.11.7;; *ensurepip*) ;; *) exit 1;; esac";
    let dir = tempfile::tempdir().unwrap();
    for (language, tool, command) in [
        ("js", "missing  node_modules:", "&& npm install`"),
        (
            "python",
            "missing  .venv:",
            "&& python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`",
        ),
    ] {
        let name = format!("bank_{language}");
        run_in(dir.path(), &["new", &name, "--lang", language]).ok();
        let project = dir.path().join(name);
        let programs = [
            ("node", "echo v20.20.2"),
            ("npm", "echo 11.19.1"),
            ("python3", PYTHON),
        ];
        let said = doctor_with(&project, &[], &programs);
        assert_eq!(said.code, 1, "{}", said.out);
        for text in [tool, command] {
            assert!(said.out.contains(text), "{text}\n{}", said.out);
        }
    }
}
