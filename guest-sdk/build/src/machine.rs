//! The machine that set-up works on.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often the end of a command with a time limit is checked.
const POLL: Duration = Duration::from_millis(50);

/// How often a command with a time limit is reported as still running.
const PROGRESS: Duration = Duration::from_secs(20);

/// The search path and the file system on which set-up finds programs. Tests use a folder
/// of scripts instead.
#[derive(Clone, Debug)]
pub struct Machine {
    path: OsString,
    root: PathBuf,
}

impl Machine {
    /// This machine, with this process's search path.
    #[must_use]
    pub fn current() -> Self {
        Self {
            path: env::var_os("PATH").unwrap_or_default(),
            root: PathBuf::from("/"),
        }
    }

    #[cfg(test)]
    pub(crate) fn fake(path: &Path, root: &Path) -> Self {
        Self {
            path: path.into(),
            root: root.to_owned(),
        }
    }

    /// The root of the file system.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A command that is searched on this machine's path.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = self.find(program).unwrap_or_else(|| program.into());
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        command
    }

    /// Whether the search path has a program.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let name = format!("{program}{}", env::consts::EXE_SUFFIX);
        let mut files = env::split_paths(&self.path).map(|folder| folder.join(&name));
        files.find(|file| file.is_file())
    }

    /// Whether Debian's packages can be installed here, by root.
    #[must_use]
    pub fn is_debian(&self) -> bool {
        let os_release = fs::read_to_string(self.root.join("etc/os-release"));
        os_release.is_ok_and(|text| text.lines().any(|line| line == "ID=debian"))
            && self.has("apt-get")
    }

    /// Whether this process may install packages.
    #[must_use]
    pub fn is_root(&self) -> bool {
        let output = self.command("id").arg("-u").output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
    }
}

/// Runs a command, and returns what went wrong. Its output goes to standard error, because
/// standard output is for data.
pub(crate) fn run(command: Command) -> Result<(), String> {
    let mut child = start(command)?;
    result(child.wait())
}

/// Like [`run`]; the command is killed after `limit`. Says every 20 s that it still runs.
pub(crate) fn run_for(command: Command, limit: Duration) -> Result<(), String> {
    let mut child = start(command)?;
    let start = Instant::now();
    let mut progress = PROGRESS;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return result(Ok(status)),
            Ok(None) => {}
            Err(error) => return result(Err(error)),
        }
        let elapsed = start.elapsed();
        if elapsed >= limit {
            // The command may have ended at this moment. Both cases are errors here.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no result within {} s", limit.as_secs()));
        }
        if elapsed >= progress {
            eprintln!("{} of {} s", progress.as_secs(), limit.as_secs());
            progress += PROGRESS;
        }
        thread::sleep(POLL);
    }
}

fn start(mut command: Command) -> Result<Child, String> {
    command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .spawn()
        .map_err(|error| format!("it did not start: {error}"))
}

fn result(status: io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_reported_with_its_exit_status() {
        let mut failing = Command::new("rustc");
        failing.args(["--quiet", "--no-such-flag"]);
        assert_eq!(run(failing), Err("exit status: 1".to_owned()));

        let error = run(Command::new("quipu-no-such-program")).unwrap_err();
        assert!(error.starts_with("it did not start: "), "{error}");
    }

    #[test]
    fn debian_is_recognised_by_its_name_and_its_installer() {
        let is_debian = |os_release: &str, programs: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("etc")).unwrap();
            fs::write(dir.path().join("etc/os-release"), os_release).unwrap();
            for program in programs {
                fs::write(dir.path().join(program), "").unwrap();
            }
            Machine::fake(dir.path(), dir.path()).is_debian()
        };
        let debian = "NAME=\"Debian\"\nID=debian\n";
        assert!(is_debian(debian, &["apt-get"]));
        assert!(!is_debian(debian, &[]));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n", &["apt-get"]));
        assert!(!is_debian("", &["apt-get"]));
    }
}
