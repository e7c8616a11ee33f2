use std::io::{self, Write};
use std::process::ExitCode;

use quipu_api::Problem;

/// How a command ended, as the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: it failed.
    Failed,
    /// 2: wrong usage.
    WrongUse,
    /// 3: the domain rejected the command.
    Rejected,
    /// 4: the stream does not have the expected version, or there was another conflict.
    Conflict,
}

/// An error about wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// The answer was no; it has been printed.
#[derive(Debug, thiserror::Error)]
#[error("denied")]
pub struct Denied;

impl Exit {
    /// The exit code for an error.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(|cause| cause.is::<WrongUse>()) {
            return Self::WrongUse;
        }
        let problem = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<super::client::HostProblem>());
        problem.map_or(Self::Failed, |answered| Self::of_problem(&answered.0))
    }

    fn of_problem(problem: &Problem) -> Self {
        match problem.code.as_str() {
            "rejected" => Self::Rejected,
            "conflict" | "wrong-expected-version" => Self::Conflict,
            "bad-request" | "duplicate-in-append" => Self::WrongUse,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::WrongUse => 2,
            Exit::Rejected => 3,
            Exit::Conflict => 4,
        })
    }
}

/// Writes a host's problem document for programs, in place of the expected result.
///
/// # Errors
/// When it can't be written.
pub fn write_json(error: &anyhow::Error, out: &mut impl Write) -> io::Result<()> {
    let mut causes = error.chain();
    let answered = causes.find_map(|cause| cause.downcast_ref::<super::client::HostProblem>());
    let Some(answered) = answered else {
        return Ok(());
    };
    serde_json::to_writer(&mut *out, &answered.0)?;
    writeln!(out)
}

/// Whether stdout was closed by its reader.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
