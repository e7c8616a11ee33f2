use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{WrongUse, reported};
use crate::table::counted;
use crate::tls;
use quipu_policy::{Cases, SCHEMA, roles};

/// Check and test the policy of a host
///
/// A policy is a text in the language Cedar. It permits more than the roles, or forbids what they
/// allow. The key `access.policy` of the configuration names its file.
#[derive(Debug, Args)]
pub struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Test(Test),
    Schema(Schema),
    Roles(Roles),
}

/// Check the text of a policy; exit code 1 when it has mistakes
#[derive(Debug, Args)]
struct Check {
    /// The policy
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Run the tests of a policy; exit code 1 when one fails
///
/// The file of tests is TOML. Each test is a section: [[case]], role = "client", action = "command", on
/// = "stream/loan-1", expect = "allow" or "deny"; also caller, categories, projections and attributes.
#[derive(Debug, Args)]
struct Test {
    /// The policy
    file: PathBuf,
    /// The tests
    cases: PathBuf,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
}

/// Print what a policy can name, as a Cedar schema
#[derive(Debug, Args)]
struct Schema {}

/// Print the roles, as policies
#[derive(Debug, Args)]
struct Roles {}

impl Policy {
    pub fn run(self) -> Result<()> {
        let mut out = io::stdout().lock();
        match self.command {
            Command::Check(check) => check.run(&mut out),
            Command::Test(test) => test.run(&mut out),
            Command::Schema(_) => Ok(write!(out, "{SCHEMA}")?),
            Command::Roles(_) => Ok(write!(out, "{}", roles())?),
        }
    }
}

/// Reads a file of a policy or of its tests.
fn read(path: &Path) -> Result<String, WrongUse> {
    let bytes = tls::read_small(path).map_err(WrongUse)?;
    String::from_utf8(bytes).map_err(|_| WrongUse(format!("{}: it is not UTF-8", path.display())))
}

/// Reads a policy. Its warnings are printed on stderr.
///
/// # Errors
/// When it can't be read, or has mistakes; each has a line.
pub fn load(path: &Path) -> Result<quipu_policy::Policy, WrongUse> {
    let listed = |mistakes: &[quipu_policy::Mistake]| {
        let lines = mistakes
            .iter()
            .map(|it| format!("{}: {it}", path.display()));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (policy, warnings) = quipu_policy::Policy::parse(&read(path)?)
        .map_err(|mistakes| WrongUse(listed(&mistakes)))?;
    if !warnings.is_empty() {
        // The reader of warnings may be gone.
        _ = writeln!(io::stderr(), "{}", listed(&warnings));
    }
    Ok(policy)
}

impl Check {
    fn run(self, out: &mut impl Write) -> Result<()> {
        let text = read(&self.file)?;
        let (number, mistakes) = match quipu_policy::Policy::parse(&text) {
            Ok((policy, warnings)) => (Some(policy.len()), warnings),
            Err(mistakes) => (None, mistakes),
        };
        if self.json {
            let mistakes = mistakes
                .iter()
                .map(|it| json!({ "line": it.line, "why": it.why, "warning": it.is_warning }));
            let mistakes: Vec<_> = mistakes.collect();
            let valid = number.is_some();
            writeln!(
                out,
                "{}",
                json!({ "valid": valid, "policies": number, "mistakes": mistakes })
            )?;
        } else {
            for mistake in &mistakes {
                writeln!(out, "{}: {mistake}", self.file.display())?;
            }
        }
        match number {
            Some(number) if !self.json => {
                let rules = counted(number as u64, "rule", "rules");
                writeln!(out, "the policy is valid: {rules}")?;
            }
            Some(_) => {}
            None => {
                let found = counted(mistakes.len() as u64, "mistake", "mistakes");
                return Err(reported(format!("the policy has {found}")));
            }
        }
        Ok(())
    }
}

impl Test {
    fn run(self, out: &mut impl Write) -> Result<()> {
        let policy = load(&self.file)?;
        let wrong = |why: String| WrongUse(format!("{}: {why}", self.cases.display()));
        let cases: Cases =
            toml::from_str(&read(&self.cases)?).map_err(|error| wrong(error.to_string()))?;
        if cases.cases.is_empty() {
            return Err(wrong("it has no [[case]]".to_owned()).into());
        }
        let mut failed = 0;
        for (index, case) in cases.cases.iter().enumerate() {
            let number = index + 1;
            let outcome = case.run(&policy);
            let outcome = outcome.map_err(|error| wrong(format!("case {number}: {error}")))?;
            failed += usize::from(!outcome.is_passed);
            if self.json {
                let passed = outcome.is_passed;
                writeln!(
                    out,
                    "{}",
                    json!({ "case": number, "passed": passed, "what": outcome.what })
                )?;
            } else {
                let result = if outcome.is_passed { "ok" } else { "FAILED" };
                let (who, what) = (&case.caller, &outcome.what);
                writeln!(
                    out,
                    "{result:6} {number:3} {who}: {} on {}: {what}",
                    case.action, case.on
                )?;
            }
        }
        match failed {
            0 => Ok(()),
            failed => Err(reported(format!(
                "{failed} of {} tests failed",
                cases.cases.len()
            ))),
        }
    }
}
