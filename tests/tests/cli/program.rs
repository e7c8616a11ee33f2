use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use quipu_tests::{Place, examples, place};
use tempfile::TempDir;

/// The program, in an environment without settings.
pub fn quipu(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quipu-program"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("COLUMNS");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUIPU_") {
            command.env_remove(name);
        }
    }
    // Not the contexts of the person who runs the tests.
    command.env("QUIPU_CONTEXTS", "/nonexistent/contexts.toml");
    if args.first() != Some(&"config") {
        // Each component of the tests is compiled once, and not in each test.
        command.env("QUIPU_CACHE_DIR", place::compiled());
    }
    command
}

/// A host in a process of its own, stopped when this value is dropped.
pub struct Served {
    pub url: String,
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
    /// The folder of its store and the components.
    pub dir: TempDir,
}

/// The output of a command.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Served {
    /// A host on a SQLite file with the guests `account` and `loan`.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("modules");
        std::fs::create_dir(&modules).unwrap();
        std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
        std::fs::write(modules.join("loan.wasm"), examples::loan()).unwrap();
        let modules = modules.display().to_string();
        Self::start_in(dir, &["--modules", &modules])
    }

    /// A host on a store with a configuration, and the guest `account`.
    pub fn start_on(place: &Place, configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, modules) = (dir.path().join("quipu.toml"), dir.path().join("modules"));
        std::fs::write(&file, configuration).unwrap();
        std::fs::create_dir(&modules).unwrap();
        std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
        let (file, modules) = (text(&file), text(&modules));
        let mut command = quipu(&["serve", "--store", place.url(), "--config", &file]);
        command.args(["--modules", &modules, "--listen", "127.0.0.1:0"]);
        Self::ready(dir, command)
    }

    pub fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let store = format!("sqlite:{}", dir.path().join("q.db").display());
        let mut command = quipu(&["serve", "--store", &store]);
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(args);
        Self::ready(dir, command)
    }

    /// A host that may open only a limited number of files.
    pub fn start_with_files(dir: TempDir, files: u32) -> Self {
        let store = format!("sqlite:{}", dir.path().join("q.db").display());
        let script =
            format!("ulimit -n {files}; exec \"$0\" serve --store \"$1\" --listen 127.0.0.1:0");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_quipu-program"), &store]);
        command.stdin(Stdio::null()).env_remove("QUIPU_LOG");
        Self::ready(dir, command)
    }

    /// A host that a command starts.
    pub fn ready(dir: TempDir, mut command: Command) -> Self {
        // Tests read lines for people, unless they say otherwise.
        let mut given = command.get_envs();
        if !given.any(|(name, _)| name == "QUIPU_LOG_FORMAT") {
            command.env("QUIPU_LOG_FORMAT", "text");
        }
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(url) = line.trim_end().strip_prefix("ready ") else {
            panic!("not ready: {line:?} {}", all(child.stderr.take()));
        };
        Self {
            url: url.to_owned(),
            child,
            stdout,
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a client command to its end.
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, "")
    }

    /// Runs a client command as in a terminal with this number of columns.
    pub fn run_in(&self, columns: usize, args: &[&str]) -> Said {
        let mut command = quipu(args);
        command.env("QUIPU_URL", &self.url);
        command.env("COLUMNS", columns.to_string());
        said(&command.output().unwrap())
    }

    pub fn run_with(&self, args: &[&str], stdin: &str) -> Said {
        let mut command = quipu(args);
        command.env("QUIPU_URL", &self.url).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without reading its input.
        _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        said(&child.wait_with_output().unwrap())
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end: returns the exit code, the rest of stdout, and stderr.
    pub fn ended(mut self) -> (Said, TempDir) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let mut out = String::new();
        self.stdout.read_to_string(&mut out).unwrap();
        let err = all(self.child.stderr.take());
        let empty = tempfile::tempdir().unwrap();
        let dir = std::mem::replace(&mut self.dir, empty);
        (Said { code, out, err }, dir)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Said {
    /// Checks that it succeeded, and returns what it printed.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// Checks that it ended with this code, with this text on stderr, and with nothing on stdout
    /// except the problem that a program gets.
    pub fn fails(self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{}", self.err);
        assert!(self.err.contains(said), "{}", self.err);
        if !self.out.is_empty() {
            let problem: serde_json::Value = serde_json::from_str(&self.out).unwrap();
            assert!(problem["code"].is_string(), "{}", self.out);
        }
    }

    /// Checks that it ended with this code, with this text on stderr.
    pub fn fails_with_output(self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{}", self.err);
        assert!(self.err.contains(said), "{}", self.err);
    }
}

pub fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// Runs a command that needs no host.
pub fn run(args: &[&str]) -> Said {
    said(&quipu(args).output().unwrap())
}

/// The same with a variable of the environment.
pub fn run_in_environment(args: &[&str], name: &str, value: &str) -> Said {
    said(&quipu(args).env(name, value).output().unwrap())
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

fn all(stream: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut stream) = stream {
        stream.read_to_string(&mut text).unwrap();
    }
    text
}
