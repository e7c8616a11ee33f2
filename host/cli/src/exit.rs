use std::io::{self, Write};
use std::process::ExitCode;

use quipu::store;
use quipu_api::{Code, Problem};
use serde::Serialize;

use super::client::{HostProblem, NoAnswer};

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

/// A failure that the printed result contains.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reported(String);

/// An error after the result was printed, which contains the failure: programs get nothing more.
pub fn reported(text: String) -> anyhow::Error {
    Reported(text).into()
}

impl Exit {
    /// The exit code for an error.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(|cause| cause.is::<WrongUse>()) {
            return Self::WrongUse;
        }
        let problem = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<HostProblem>());
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

/// A failure of the program itself for programs: a problem document without a status, because no
/// host answered.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    r#type: String,
    title: &'a str,
    detail: &'a str,
    code: &'a str,
}

impl<'a> Failure<'a> {
    fn new((code, title): (&'a str, &'a str), detail: &'a str) -> Self {
        Self {
            r#type: format!("urn:quipu:problem:{code}"),
            title,
            detail,
            code,
        }
    }
}

/// The code and the title of wrong usage.
const WRONG_USE: (&str, &str) = ("wrong-use", "the command is used wrongly");

/// Writes an error for programs, in place of the expected result: the problem document of the host,
/// or of this program with this text. Writes nothing if the printed result contains the failure.
///
/// # Errors
/// When it can't be written.
pub fn write_json(error: &anyhow::Error, text: &str, out: &mut impl Write) -> io::Result<()> {
    if error.chain().any(|cause| cause.is::<Reported>()) {
        return Ok(());
    }
    let mut causes = error.chain();
    match causes.find_map(|cause| cause.downcast_ref::<HostProblem>()) {
        Some(answered) => serde_json::to_writer(&mut *out, &answered.0)?,
        None => serde_json::to_writer(&mut *out, &Failure::new(kind(error), text))?,
    }
    writeln!(out)
}

/// Writes an error about the arguments of a command for programs.
///
/// # Errors
/// When it can't be written.
pub fn write_json_usage(text: &str, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Failure::new(WRONG_USE, text))?;
    writeln!(out)
}

/// The code and the title of a failure of this program.
fn kind(error: &anyhow::Error) -> (&'static str, &'static str) {
    if Exit::of(error) == Exit::WrongUse {
        return WRONG_USE;
    }
    if error.chain().any(|cause| cause.is::<NoAnswer>()) {
        return ("no-answer", "no host answers at the address");
    }
    let mut causes = error.chain();
    match causes.find_map(|cause| cause.downcast_ref::<store::Error>()) {
        Some(error) => {
            let code = Code::named(error.code());
            (code.as_str(), code.title())
        }
        None => ("failed", "the command failed"),
    }
}

/// Whether stdout was closed by its reader.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
