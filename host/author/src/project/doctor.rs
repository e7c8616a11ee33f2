use std::path::Path;
use std::process::Command;

use quipu_guest_build::toolchain;
use serde::Serialize;

use super::build::program;
use super::{Language, Project};

/// What a machine has for the guests of one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The tool.
    pub tool: String,
    /// What was found. `None`: it is missing.
    pub found: Option<String>,
    /// What to do when it is missing or too old.
    pub advice: Option<String>,
    /// The languages that need it.
    pub needed_by: Vec<&'static str>,
}

impl Finding {
    /// Whether the tool is as it should be.
    pub fn is_well(&self) -> bool {
        self.advice.is_none()
    }

    fn of(needed_by: &[Language], tool: &str, found: Result<String, String>) -> Self {
        let (found, advice) = match found {
            Ok(found) => (Some(found), None),
            Err(advice) => (None, Some(advice)),
        };
        Self {
            tool: tool.to_owned(),
            found,
            advice,
            needed_by: needed_by.iter().map(|it| it.as_str()).collect(),
        }
    }
}

const NODE: [Language; 2] = [Language::TypeScript, Language::JavaScript];
/// Oldest major version of Node.js that builds guests.
const NODE_MIN: u32 = 20;
/// Oldest minor version of Python 3 that builds guests.
const PYTHON_MIN: u32 = 11;

/// Looks at the tools of a machine: for one language, else for all.
pub fn doctor(dir: &Path, language: Option<Language>) -> Vec<Finding> {
    let project = Project::read(dir).ok();
    let language = language.or_else(|| project.map(|it| it.language));
    let mut findings = vec![rust(dir)];
    findings.extend(node());
    findings.push(python());
    let is_needed = |it: &Finding| language.is_none_or(|one| it.needed_by.contains(&one.as_str()));
    findings.retain(is_needed);
    findings
}

fn rust(dir: &Path) -> Finding {
    let found = toolchain::find(dir);
    let found = found.map(|toolchain| toolchain.to_string());
    let tool = "Rust for WebAssembly";
    Finding::of(
        &[Language::Rust],
        tool,
        found.map_err(|error| error.to_string()),
    )
}

fn node() -> [Finding; 2] {
    let advice = format!("install Node.js {NODE_MIN} or newer: https://nodejs.org");
    let found = version("node", &["--version"]).and_then(|version| {
        let major = version.trim_start_matches('v').split('.').next()?;
        (major.parse::<u32>().ok()? >= NODE_MIN).then_some(version)
    });
    let npm = version("npm", &["--version"]);
    [
        Finding::of(&NODE, "Node.js", found.ok_or_else(|| advice.clone())),
        Finding::of(&NODE, "npm", npm.ok_or(advice)),
    ]
}

fn python() -> Finding {
    let advice = format!("install Python 3.{PYTHON_MIN} or newer with venv: https://python.org");
    let found = version("python3", &["--version"]).and_then(|version| {
        let minor = version.split('.').nth(1)?;
        (minor.parse::<u32>().ok()? >= PYTHON_MIN).then_some(version)
    });
    Finding::of(&[Language::Python], "Python", found.ok_or(advice))
}

/// The first line that a program prints about its version.
fn version(name: &str, arguments: &[&str]) -> Option<String> {
    let program = program(name, "").ok()?;
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
