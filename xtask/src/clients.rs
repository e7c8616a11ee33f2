//! Clients that tools generate from the interface's description, and programs that use them.
//!
//! The generators and what they need come from npm and PyPI in the versions that
//! `tests/clients` names; everything made is in `clients/` of the target folder.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// Programs that have to be there, and what each comes with.
const NEEDED: [(&str, &str); 3] = [
    ("npm", "Node.js 20 or later"),
    ("node", "Node.js 20 or later"),
    ("python3", "Python 3.11 or later"),
];

/// Generates both clients from what a host says of itself and of its domain, and runs their programs
/// against it, with a token: with a component that they upload, and with those of the domain, which
/// are deployed in their order. The client of this repository takes the same types.
pub fn check(root: &Path, target: &Path, component: &Path, domain: &[PathBuf]) -> Result<()> {
    for (program, what) in NEEDED {
        let found = Command::new(program).arg("--version").output();
        ensure!(found.is_ok(), "`{program}` was not found: install {what}");
    }
    let made = target.join("clients");
    let quipu = target.join("debug/quipu");
    let host = Host::start(&quipu)?;
    let program = quipu.display().to_string();
    for file in domain {
        let file = file.display().to_string();
        run(target, &program, &["deploy", &file, "--url", &host.url])?;
    }
    let (typescript, python) = (
        fresh(root, &made, "typescript")?,
        fresh(root, &made, "python")?,
    );
    generate_typescript(root, &typescript, &host)?;
    let interpreter = generate_python(&python, &host)?;
    // From the first token on, every request needs one.
    let token = host.create_token(&quipu)?;
    let component = component.display().to_string();
    let of_domain = ["build/domain.js", "build/typed.js"];
    for (folder, program, client, of_domain) in [
        (&typescript, "node", "build/client.js", &of_domain[..]),
        (&python, &*interpreter, "client.py", &["domain.py"][..]),
    ] {
        let token = Some(&*token);
        run_with(folder, program, &[client, &host.url, &component], token)?;
        for &script in of_domain {
            run_with(folder, program, &[script, &host.url], token)?;
        }
    }
    Ok(())
}

/// A folder with a client's program, without what an earlier run generated.
fn fresh(root: &Path, made: &Path, name: &str) -> Result<PathBuf> {
    let (from, to) = (root.join("tests/clients").join(name), made.join(name));
    fs::create_dir_all(&to)?;
    for generated in ["build", "generated"] {
        _ = fs::remove_dir_all(to.join(generated));
    }
    for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(to)
}

fn generate_typescript(root: &Path, folder: &Path, host: &Host) -> Result<()> {
    run(
        folder,
        "npm",
        &["ci", "--no-audit", "--no-fund", "--silent"],
    )?;
    install_client(&root.join("clients/typescript"), folder)?;
    let description = format!("{}/openapi.json", host.url);
    let generate = ["run", "--silent", "generate", "--", &description];
    run(folder, "npm", &generate)?;
    let description = format!("{}/v1/domain/openapi.json", host.url);
    let generate = ["run", "--silent", "generate-domain", "--", &description];
    run(folder, "npm", &generate)?;
    run(folder, "npm", &["run", "--silent", "check"])
}

/// Copies the client of this repository to the installed packages, which `npm ci` has replaced.
fn install_client(client: &Path, folder: &Path) -> Result<()> {
    let installed = folder.join("node_modules/@quipu/client");
    let (from, to) = (client.join("src"), installed.join("src"));
    fs::create_dir_all(&to)?;
    let manifest = "package.json";
    fs::copy(client.join(manifest), installed.join(manifest))?;
    for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Returns the interpreter that has what the programs need.
fn generate_python(folder: &Path, host: &Host) -> Result<String> {
    let programs = folder.join("venv/bin");
    if !programs.join("python").exists() {
        run(folder, "python3", &["-m", "venv", "venv"])?;
    }
    let program = |name: &str| programs.join(name).display().to_string();
    let python = program("python");
    let install = ["-m", "pip", "install", "--quiet", "--requirement"];
    let install = [&install[..], &["requirements.txt"]].concat();
    run(folder, &python, &install)?;
    for (path, package) in [
        ("/openapi.json", "quipu_client"),
        ("/v1/domain/openapi.json", "domain_client"),
    ] {
        let description = format!("{}{path}", host.url);
        let generate = ["generate", "--url", &description, "--meta", "none"];
        let output = ["--output-path", package, "--overwrite"];
        let generate = [&generate[..], &output].concat();
        run(folder, &program("openapi-python-client"), &generate)?;
    }
    let programs = ["client.py", "domain.py"];
    run(
        folder,
        &python,
        &[&["-m", "mypy", "--strict"][..], &programs].concat(),
    )?;
    Ok(python)
}

fn run(folder: &Path, program: &str, args: &[&str]) -> Result<()> {
    run_with(folder, program, args, None)
}

fn run_with(folder: &Path, program: &str, args: &[&str], token: Option<&str>) -> Result<()> {
    let mut command = Command::new(program);
    // The host is on this machine.
    command
        .args(args)
        .current_dir(folder)
        .env("NO_PROXY", "127.0.0.1");
    if let Some(token) = token {
        command.env("QUIPU_TOKEN", token);
    }
    let status = command
        .status()
        .with_context(|| format!("`{program}` did not start"))?;
    let shown = args.join(" ");
    ensure!(status.success(), "`{program} {shown}` failed: {status}");
    Ok(())
}

/// A host on a store in memory, ended with the value.
struct Host {
    child: Child,
    url: String,
}

impl Host {
    fn start(quipu: &Path) -> Result<Self> {
        let mut child = Command::new(quipu)
            .args(["serve", "--store", "memory:", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| quipu.display().to_string())?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Some(url) = line.trim_end().strip_prefix("ready ") else {
            _ = child.kill();
            bail!("the host is not ready: {line:?}");
        };
        Ok(Self {
            url: url.to_owned(),
            child,
        })
    }

    /// Creates the first token.
    fn create_token(&self, quipu: &Path) -> Result<String> {
        let arguments = ["token", "create", "clients", "--role", "admin"];
        let output = Command::new(quipu)
            .args(arguments)
            .args(["--url", &self.url])
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "no token was created: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
