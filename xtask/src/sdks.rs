//! The guest SDKs for JavaScript and Python, the client for TypeScript, the projects that
//! `quipu new` makes, and the tutorials.
//!
//! What they need comes from npm and PyPI in the versions that their packages name. Everything made
//! is in `sdks/` of the target folder, but for the packages of npm.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Programs that have to be there, and what each comes with.
const NEEDED: [(&str, &str); 3] = [
    ("npm", "Node.js 20 or later"),
    ("node", "Node.js 20 or later"),
    ("python3", "Python 3.11 or later"),
];
/// The pages of `docs/src/tutorials`.
const TUTORIALS: [&str; 3] = ["rust.md", "typescript.md", "python.md"];
const NPM_INSTALL: [&str; 5] = [
    "install",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--silent",
];

/// Runs the tests of the SDKs, of their example guests and of the client, and swaps guests of all
/// languages. Takes tokens of a real OpenID provider. Then makes a project of each language and kind,
/// and builds and tests it. At the end runs the tutorials as their readers do.
pub fn check(root: &Path, target: &Path, quipu: &Path) -> Result<()> {
    for (program, what) in NEEDED {
        let found = Command::new(program).arg("--version").output();
        ensure!(found.is_ok(), "`{program}` was not found: install {what}");
    }
    let made = target.join("sdks");
    fs::create_dir_all(&made)?;
    for folder in ["guest-sdk/js", "example-guests/loan-ts"] {
        let folder = root.join(folder);
        run(&folder, "npm", &NPM_INSTALL)?;
        run(&folder, "npm", &["test", "--silent"])?;
    }
    client(&root.join("clients/typescript"), target, quipu)?;
    let python = environment(root, &made)?;
    for folder in ["guest-sdk/python", "example-guests/loan-py"] {
        run(&root.join(folder), &python, &["-m", "unittest", "--quiet"])?;
    }
    swaps(root, target, (&made, &python), quipu)?;
    oidc(root, quipu)?;
    projects(&made, quipu)?;
    tutorials(root, &made, quipu)
}

/// Builds the account in TypeScript and Python, and lets them continue a stream that the account in
/// Rust has begun.
fn swaps(root: &Path, target: &Path, (made, python): (&Path, &str), quipu: &Path) -> Result<()> {
    let component = |name: &str| made.join(name).display().to_string();
    let (typescript, in_python) = (component("account-ts.wasm"), component("account-py.wasm"));
    let guests = root.join("tests/guests");
    let folder = guests.join("account-ts");
    run(&folder, "npm", &NPM_INSTALL)?;
    let build = ["quipu-guest", "build", "--out", &typescript];
    run(&folder, "npx", &build)?;
    let build = ["-m", "quipu_guest", "build", "--out", &in_python];
    run(&guests.join("account-py"), python, &build)?;
    let rust = target.join("guests/components/account.wasm");
    let (rust, quipu) = (rust.display().to_string(), quipu.display().to_string());
    let args = ["run.py", "--quipu", &quipu, &rust, &typescript, &in_python];
    run(&root.join("tests/swaps"), "python3", &args)
}

/// Takes the tokens of a real OpenID provider.
fn oidc(root: &Path, quipu: &Path) -> Result<()> {
    let folder = root.join("tests/oidc");
    run(&folder, "npm", &NPM_INSTALL)?;
    let quipu = quipu.display().to_string();
    run(&folder, "python3", &["run.py", "--quipu", &quipu])
}

/// Runs every command of the tutorials from an empty folder.
fn tutorials(root: &Path, made: &Path, quipu: &Path) -> Result<()> {
    let runner = root.join("tests/tutorials");
    run(&runner, "python3", &["-m", "unittest", "--quiet"])?;
    let (quipu, made) = (quipu.display().to_string(), made.display().to_string());
    let pages = TUTORIALS.map(|name| {
        let page = root.join("docs/src/tutorials").join(name);
        page.display().to_string()
    });
    let mut args = vec!["run.py", "--quipu", &quipu, "--parent", &made];
    args.extend(pages.iter().map(String::as_str));
    run(&runner, "python3", &args)
}

/// The tests of the client for TypeScript, against a host. `npm install` ran in the guest SDK
/// before, because one of them builds a projection.
fn client(folder: &Path, target: &Path, quipu: &Path) -> Result<()> {
    run(folder, "npm", &NPM_INSTALL)?;
    let mut test = Command::new("npm");
    test.args(["test", "--silent"])
        .env("QUIPU_PROGRAM", quipu)
        .env("QUIPU_COMPONENTS", target.join("guests/components"));
    finished(test.current_dir(folder), "npm test", folder)
}

/// A virtual environment with the SDK for Python and what its tests need.
fn environment(root: &Path, made: &Path) -> Result<String> {
    let programs = made.join("venv/bin");
    if !programs.join("python").exists() {
        run(made, "python3", &["-m", "venv", "venv"])?;
    }
    let python = programs.join("python").display().to_string();
    let sdk = format!("{}[test]", root.join("guest-sdk/python").display());
    let install = ["-m", "pip", "install", "--quiet", "--editable", &sdk];
    run(made, &python, &install)?;
    Ok(python)
}

/// Makes, builds and tests a project of each language and kind.
fn projects(made: &Path, quipu: &Path) -> Result<()> {
    let folder = made.join("projects");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let quipu = quipu.display().to_string();
    for language in ["ts", "js", "python"] {
        for (name, more) in [
            ("bank", &[][..]),
            ("views", &["--kind", "projection", "--category", "bank"]),
            ("steps", &["--kind", "upcaster", "--category", "bank"]),
        ] {
            let name = format!("{name}_{language}");
            let new = [&["new", &name, "--lang", language], more].concat();
            run(&folder, &quipu, &new)?;
            let project = folder.join(&name);
            match language {
                "python" => python_project(&project)?,
                _ => {
                    run(&project, "npm", &NPM_INSTALL)?;
                    run(&project, "npm", &["test", "--silent"])?;
                }
            }
            run(&project, &quipu, &["test"])?;
            let component = format!("build/{name}.wasm");
            run(
                &project,
                &quipu,
                &["conform", &component, "scenarios/rules.yaml"],
            )?;
        }
    }
    Ok(())
}

fn python_project(project: &Path) -> Result<()> {
    run(project, "python3", &["-m", "venv", ".venv"])?;
    let python: PathBuf = [".venv", "bin", "python"].iter().collect();
    let python = project.join(python).display().to_string();
    let install = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
    run(project, &python, &install)?;
    run(project, &python, &["-m", "unittest", "--quiet"])
}

fn run(folder: &Path, program: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    finished(
        &mut command,
        &format!("{program} {}", args.join(" ")),
        folder,
    )
}

fn finished(command: &mut Command, shown: &str, folder: &Path) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("`{shown}` did not start"))?;
    let folder = folder.display();
    ensure!(status.success(), "`{shown}` failed in {folder}: {status}");
    Ok(())
}
