//! Compiles components in a separate process, because some small components take the compiler more
//! time and memory than the host has, and the compiler has no limits of its own.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::load::configuration;
use super::{Error, Limits};

/// A program that compiles components, with limits for one component.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program. It is called with [`Compiler::ARGUMENT`] and the size of a guest's stack in
    /// bytes, and must call [`Compiler::serve`].
    pub program: PathBuf,
    /// Highest size of its address space.
    pub memory_bytes_max: u64,
    /// Highest processor time. The run time may be twice as long, because other programs use the
    /// processors, too.
    pub time_max: Duration,
}

/// Sets the limits before the program starts, at a low priority. Where the system does not support
/// such a limit, or already has a lower one, that remains. The wall-clock time is always limited.
#[cfg(unix)]
const SCRIPT: &str = "ulimit -v \"$1\" 2>/dev/null; ulimit -t \"$2\" 2>/dev/null; \
    exec nice -n 10 \"$3\" \"$4\" \"$5\"";
/// Factor by which a busy machine may lengthen the run time.
const SLOWER: u32 = 2;
/// Exit codes of a shell that can't start a program, for example after an upgrade replaced it.
const NOT_STARTED: [i32; 2] = [126, 127];
/// Prefix of errors that are not the component's fault.
pub(super) const NO_PROCESS: &str = "no process for the compiler";
/// Longest compiled component.
const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// Longest report.
const REPORT_BYTES_MAX: u64 = 4 << 10;
/// Interval between checks whether the process has ended.
const CHECK_PAUSE: Duration = Duration::from_millis(2);

impl Compiler {
    /// First argument of the program.
    pub const ARGUMENT: &str = "compile-component";

    /// Creates a compiler that runs the host's own program with the default limits.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            memory_bytes_max: 2 << 30,
            time_max: Duration::from_secs(60),
        }
    }

    /// Runs in the compiler process: compiles the component from standard input and writes the
    /// result to standard output.
    ///
    /// # Errors
    /// The message of the compiler.
    pub fn serve(
        stack_bytes_max: usize,
        input: &mut impl Read,
        output: &mut impl Write,
    ) -> Result<(), String> {
        let limits = Limits {
            stack_bytes_max,
            ..Limits::default()
        };
        let mut bytes = Vec::new();
        let read = input.read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        let engine = Engine::new(&configuration(&limits));
        let engine = engine.map_err(|error| Error::Engine(format!("{error:#}")).to_string())?;
        let compiled = engine.precompile_component(&bytes);
        let compiled = compiled.map_err(|error| format!("{error:#}"))?;
        let written = output.write_all(&compiled).and_then(|()| output.flush());
        written.map_err(|error| error.to_string())
    }

    /// Compiles a component in a new process.
    ///
    /// # Errors
    /// The message of the compiler, or the reason why it was killed.
    pub(super) fn compile(&self, limits: &Limits, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let began = |error: std::io::Error| format!("{NO_PROCESS}: {error}");
        let mut child = self.command(limits).spawn().map_err(began)?;
        let (input, output, report) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (status, compiled, report) = std::thread::scope(|scope| {
            scope.spawn(move || {
                if let Some(mut input) = input {
                    // The process may end without reading all of it. In that case its report gives
                    // the reason.
                    _ = input.write_all(bytes);
                }
            });
            let compiled = scope.spawn(move || read(output, COMPILED_BYTES_MAX));
            let report = scope.spawn(move || read(report, REPORT_BYTES_MAX));
            let until = Instant::now() + self.time_max.saturating_mul(SLOWER);
            let status = wait(&mut child, until);
            let read = (
                compiled.join().unwrap_or_default(),
                report.join().unwrap_or_default(),
            );
            (status, read.0, read.1)
        });
        let report = String::from_utf8_lossy(&report).trim().to_owned();
        match status {
            Ok(Some(status)) if status.success() => Ok(compiled),
            Ok(Some(status)) if status.code() == Some(FAILED) => Err(report),
            Ok(Some(status)) if status.code().is_some_and(|it| NOT_STARTED.contains(&it)) => {
                Err(format!("{NO_PROCESS}: {report}"))
            }
            Ok(Some(_) | None) => Err(format!(
                "compiling it takes more than {} MiB of memory or {} s of processor time; what is larger than that \
                 can be allowed by `[guests] compile_memory_bytes_max` and `compile_time_max_ms`",
                self.memory_bytes_max >> 20,
                self.time_max.as_secs()
            )),
            Err(error) => Err(began(error)),
        }
    }

    #[cfg(unix)]
    fn command(&self, limits: &Limits) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "sh"])
            .arg((self.memory_bytes_max >> 10).to_string())
            .arg(self.time_max.as_secs().max(1).to_string())
            .arg(&self.program)
            .arg(Self::ARGUMENT)
            .arg(limits.stack_bytes_max.to_string());
        piped(command)
    }

    /// Starts the program directly: on other systems only the run time is limited.
    #[cfg(not(unix))]
    fn command(&self, limits: &Limits) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(Self::ARGUMENT)
            .arg(limits.stack_bytes_max.to_string());
        piped(command)
    }
}

/// Exit code of the program when the compiler rejects the component.
pub const FAILED: i32 = 3;

fn piped(mut command: Command) -> Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn read(from: Option<impl Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // A truncated output is not a valid compiled component.
        _ = from.by_ref().take(bytes_max).read_to_end(&mut bytes);
        _ = std::io::copy(&mut from, &mut std::io::sink());
    }
    bytes
}

/// Waits for the exit status. `None` when the time limit was reached and the process was killed.
fn wait(child: &mut Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(CHECK_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_not_the_components_fault() {
        let compiler = Compiler::new("/no/such/program".into());
        let error = compiler.compile(&Limits::default(), b"").unwrap_err();
        assert!(error.starts_with(NO_PROCESS), "{error}");
    }
}
