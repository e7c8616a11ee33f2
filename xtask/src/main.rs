//! Chores of this repository, one word each; `cargo xtask --help` lists them.

mod clients;
mod sdks;

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, exit},
    sync::LazyLock,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use quipu_guest_build::{Ensured, Options, build, ensure};
use xtask::{
    axe, chromium,
    interpreters::{NODE, PYTHON},
    postgres, promtool, strace,
};

const HELP: &str = "\
Chores of this repository.

Usage: cargo xtask <WORD> [ARGS]…

  setup          installs what is missing: what compiles guests, PostgreSQL, Node.js, Python,
                 promtool, Chromium and axe-core for the tests
  demo [ARGS]…   the main job on a temporary store: `quipu demo ARGS`
  test [ARGS]…   every test: `cargo test --workspace --locked ARGS`
  bench [ARGS]…  load and latency: `quipu-bench ARGS`
  clients        clients that tools generate from the OpenAPI description, tried on a host;
                 needs Node.js, Python and their package registries
  sdks           the guest SDKs for JavaScript and Python, the client for TypeScript, new
                 projects in each language, and the tutorials; needs Node.js, Python and their
                 package registries
  bindings       the guest SDK's bindings, after the contract in wit/ has grown
  ci             what a change must pass: format, lints, documentation, tests

test and ci run setup first, demo and bench what they need of it. Exit codes: 2 for wrong use, else
that of the command that was run.
";

/// How many tests of a binary run at once.
const THREADS: &str = "RUST_TEST_THREADS";

/// How the variables begin that `cargo run` sets for this program. Some build scripts watch them: with
/// them, what another cargo compiled would be compiled a second time.
const OWN: [&str; 5] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
];

/// Guests that tests find in `guests/components/` of the target folder.
const EXAMPLE_GUESTS: [&str; 4] = ["loan", "loan-v2", "loan-views", "account"];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["-h" | "--help" | "help"] => {
            print!("{HELP}");
            Ok(())
        }
        ["setup"] => setup(),
        ["demo", args @ ..] => demo(args),
        ["test", args @ ..] => test(args),
        ["bench", args @ ..] => bench(args),
        ["clients"] => clients(),
        ["sdks"] => sdks(),
        ["bindings"] => bindings(),
        ["ci"] => ci(),
        [] => wrong_use("which chore?"),
        ["setup" | "clients" | "sdks" | "bindings" | "ci", arg, ..] => {
            wrong_use(&format!("unexpected argument: {arg}"))
        }
        [word, ..] => wrong_use(&format!("unknown word: {word}")),
    };
    if let Err(error) = done {
        eprintln!("error: {error:#}");
        exit(1);
    }
}

fn wrong_use(why: &str) -> ! {
    eprint!("error: {why}\n\n{HELP}");
    exit(2)
}

/// Finds or installs each thing that a fresh machine may lack, and reports it in one line.
fn setup() -> Result<()> {
    setup_guests()?;
    eprintln!("PostgreSQL: {}", postgres::ensure()?);
    // Only one test needs each of them, and that test says so.
    for (name, ensured) in [
        ("strace", strace::ensure()),
        ("promtool", promtool::ensure()),
        (NODE.name, NODE.ensure()),
        (PYTHON.name, PYTHON.ensure()),
        ("Chromium", chromium::ensure()),
        ("axe-core", axe::ensure(&target()?)),
    ] {
        match ensured {
            Ok(version) => eprintln!("{name}: {version}"),
            Err(error) => eprintln!("{name}: {error:#}"),
        }
    }
    Ok(())
}

/// The own program is in the folder `debug` of the target folder.
fn target() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.context("this program is not in a target folder")?;
    Ok(target.to_owned())
}

fn setup_guests() -> Result<()> {
    match ensure(root())? {
        Ensured::Found(toolchain) => eprintln!("guests: {toolchain}"),
        Ensured::Installed(toolchain, installer) => {
            eprintln!(
                "guests: {toolchain}, installed by `{}`",
                installer.command()
            );
        }
    }
    Ok(())
}

fn demo(args: &[&str]) -> Result<()> {
    setup_guests()?;
    let mut cargo = cargo_here("run")?;
    cargo.args(["--release", "--locked", "--package", "quipu-cli", "--"]);
    run(cargo.arg("demo").args(args))
}

/// Builds the benchmark and the program that it starts hosts with, and runs the benchmark. Both are
/// built at once, so that their dependencies are compiled once.
fn bench(args: &[&str]) -> Result<()> {
    setup_guests()?;
    let mut cargo = cargo_here("build")?;
    cargo.args(["--release", "--locked"]);
    cargo.args(["--package", "quipu-bench", "--package", "quipu-cli"]);
    run(cargo.args(["--bin", "quipu-bench", "--bin", "quipu"]))?;
    run(Command::new(target()?.join("release/quipu-bench")).args(args))
}

fn test(args: &[&str]) -> Result<()> {
    setup()?;
    let options = Options {
        locked: true,
        ..Options::default()
    };
    for guest in EXAMPLE_GUESTS {
        let built = build(&root().join("example-guests").join(guest), &options)?;
        let component = built.component.display();
        eprintln!("{guest}: {} KiB, {component}", built.bytes / 1024);
    }
    let mut cargo = cargo("test");
    if env::var_os(THREADS).is_none() {
        // Most tests wait for most of their time.
        let cores = thread::available_parallelism().map_or(2, usize::from);
        cargo.env(THREADS, (2 * cores).to_string());
    }
    run(cargo.args(["--workspace", "--locked"]).args(args))
}

fn clients() -> Result<()> {
    let component = account()?;
    let target = debug_program(&component)?;
    let options = Options {
        locked: true,
        ..Options::default()
    };
    // Projections are released before the decider whose events they read.
    let guests = [
        "tests/guests/coin",
        "example-guests/loan-views",
        "example-guests/loan",
    ];
    let mut domain = Vec::new();
    for guest in guests {
        domain.push(build(&root().join(guest), &options)?.component);
    }
    clients::check(root(), target, &component, &domain)
}

fn sdks() -> Result<()> {
    let component = account()?;
    let target = debug_program(&component)?;
    sdks::check(root(), target, &target.join("debug/quipu"))
}

/// The generator is a package of its own, so that nothing else compiles it.
fn bindings() -> Result<()> {
    let mut cargo = cargo("run");
    cargo.args([
        "--locked",
        "--manifest-path",
        "guest-sdk/bindings/Cargo.toml",
    ]);
    run(cargo.args(["--target-dir", "target/bindings"]))
}

/// Builds the component of the guest `account`.
fn account() -> Result<PathBuf> {
    setup_guests()?;
    let options = Options {
        locked: true,
        ..Options::default()
    };
    let built = build(&root().join("example-guests/account"), &options)?;
    Ok(built.component)
}

/// Builds the program as `debug/quipu` of the target folder that has a component, and returns that
/// folder. The whole workspace is selected, so that nothing is compiled with other features than
/// for the tests.
fn debug_program(component: &Path) -> Result<&Path> {
    // It is in guests/components/ there.
    let target = component.ancestors().nth(3);
    let target = target.context("the component is not in a target folder")?;
    run(cargo("build").args(["--locked", "--workspace", "--bin", "quipu"]))?;
    Ok(target)
}

fn ci() -> Result<()> {
    step("format", || run(cargo("fmt").args(["--all", "--check"])))?;
    step("lints", || {
        let mut clippy = cargo("clippy");
        clippy.args(["--workspace", "--all-targets", "--locked"]);
        run(clippy.args(["--", "--deny", "warnings"]))
    })?;
    step("documentation", || {
        let mut doc = cargo("doc");
        doc.args(["--workspace", "--no-deps", "--locked"]);
        run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    step("tests", || test(&[]))
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("==> {name}");
    let start = Instant::now();
    work().with_context(|| name.to_owned())?;
    eprintln!("<== {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The cargo that runs this program, at the repository's root.
fn cargo(subcommand: &str) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo.arg(subcommand).current_dir(root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OWN.iter().any(|begin| text.starts_with(begin)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The same in the current folder, so that relative paths among the arguments work.
fn cargo_here(subcommand: &str) -> Result<Command> {
    let mut cargo = cargo(subcommand);
    cargo.current_dir(env::current_dir()?);
    cargo.arg("--manifest-path").arg(root().join("Cargo.toml"));
    Ok(cargo)
}

/// Ends this program with the command's own exit code when it fails: the command has
/// printed its error, and callers may distinguish the exit codes of `quipu`.
fn run(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).file_name();
    let words = program.into_iter().chain(command.get_args());
    let shown = words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let status = command
        .status()
        .with_context(|| format!("`{shown}` did not start"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => {
            eprintln!("`{shown}` failed: {status}");
            exit(code)
        }
        None => bail!("`{shown}` was ended: {status}"),
    }
}

/// The folder of the repository. Cargo names it when it runs this program: the folder may have been
/// moved since the program was compiled.
fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        let own = PathBuf::from(own);
        own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
    });
    &ROOT
}
