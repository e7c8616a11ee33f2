//! Compiling in a process of its own: some bytes that are cheap to send take a compiler more time
//! and memory than there is, and no limit of its own keeps it from that.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::load::configuration;
use super::{Error, Limits};

/// A program that compiles components, and what it may take for one.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program: called with [`Compiler::ARGUMENT`] and the bytes of stack that guests have, it
    /// does [`Compiler::serve`].
    pub program: PathBuf,
    /// Address space that it may use.
    pub memory_bytes_max: u64,
    /// How long it may take, and how much processor time.
    pub time_max: Duration,
}

/// Sets the limits before the program starts, at a low priority. A system that has no such limit,
/// or a lower one already, keeps what it has; the wall-clock time is limited in any case.
#[cfg(unix)]
const SCRIPT: &str = "ulimit -v \"$1\" 2>/dev/null; ulimit -t \"$2\" 2>/dev/null; \
    exec nice -n 10 \"$3\" \"$4\" \"$5\"";
/// How a shell ends when it cannot start a program, as one that an upgrade has replaced.
const NOT_STARTED: [i32; 2] = [126, 127];
/// What is said where the fault is not the component's.
pub(super) const NO_PROCESS: &str = "no process for the compiler";
/// Longest compiled component.
const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// Longest report.
const REPORT_BYTES_MAX: u64 = 4 << 10;
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

impl Compiler {
    /// The first argument of the program.
    pub const ARGUMENT: &str = "compile-component";

    /// One that is called by the host's own program, within the usual limits.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            memory_bytes_max: 2 << 30,
            time_max: Duration::from_secs(60),
        }
    }

    /// What the program does: compiles the component on its standard input, and writes what
    /// becomes of it to its standard output.
    ///
    /// # Errors
    /// With what the compiler says.
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

    /// The compiled form of a component.
    ///
    /// # Errors
    /// With what the compiler says, or why it was ended.
    pub(super) fn compile(&self, limits: &Limits, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let began = |error: std::io::Error| format!("{NO_PROCESS}: {error}");
        let mut child = self.command(limits).spawn().map_err(began)?;
        let (input, output, report) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (status, compiled, report) = std::thread::scope(|scope| {
            scope.spawn(move || {
                if let Some(mut input) = input {
                    // It may end without reading all of it; then its report says why.
                    _ = input.write_all(bytes);
                }
            });
            let compiled = scope.spawn(move || read(output, COMPILED_BYTES_MAX));
            let report = scope.spawn(move || read(report, REPORT_BYTES_MAX));
            let status = wait(&mut child, Instant::now() + self.time_max);
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
                "compiling it takes more than {} MiB of memory or {} s; what is larger than that \
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

    /// On other systems only its time is limited.
    #[cfg(not(unix))]
    fn command(&self, limits: &Limits) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(Self::ARGUMENT)
            .arg(limits.stack_bytes_max.to_string());
        piped(command)
    }
}

/// How the program ends when the compiler refuses the component.
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
        // What is cut off is no compiled component.
        _ = from.by_ref().take(bytes_max).read_to_end(&mut bytes);
        _ = std::io::copy(&mut from, &mut std::io::sink());
    }
    bytes
}

/// How it ended; none: it was ended, since its time was over.
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
        std::thread::sleep(LOOK);
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
