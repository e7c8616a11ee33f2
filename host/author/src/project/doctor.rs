use std::path::Path;
use std::process::Command;

use quipu_guest_build::{Machine, Tool, toolchain};
use serde::Serialize;

use super::build::{has_venv, node_tool, program, python as project_python};
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

    fn well(needed_by: &[Language], tool: &str, found: String) -> Self {
        Self::new(needed_by, tool, Some(found), None)
    }

    fn missing(needed_by: &[Language], tool: &str, advice: String) -> Self {
        Self::new(needed_by, tool, None, Some(advice))
    }

    fn new(
        needed_by: &[Language],
        tool: &str,
        found: Option<String>,
        advice: Option<String>,
    ) -> Self {
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

const PYTHON: [Language; 1] = [Language::Python];

/// Checks the tools of a machine: for one language, else for all. In a project also whether its
/// packages are installed.
pub fn doctor(dir: &Path, language: Option<Language>) -> Vec<Finding> {
    let project = Project::read(dir).ok();
    let language = language.or_else(|| project.as_ref().map(|it| it.language));
    let machine = Machine::current();
    let mut findings = vec![rust(dir)];
    findings.extend(node(&machine));
    findings.extend(python(&machine));
    let is_needed = |it: &Finding| language.is_none_or(|one| it.needed_by.contains(&one.as_str()));
    findings.retain(is_needed);
    // Without the tools the packages can't be installed.
    if let Some(project) = project
        && findings.iter().all(Finding::is_well)
    {
        findings.extend(packages(&project));
    }
    findings
}

fn rust(dir: &Path) -> Finding {
    let (needed_by, tool) = ([Language::Rust], "Rust for WebAssembly");
    match toolchain::find(dir) {
        Ok(toolchain) => Finding::well(&needed_by, tool, toolchain.to_string()),
        Err(error) => Finding::missing(&needed_by, tool, error.to_string()),
    }
}

fn node(machine: &Machine) -> [Finding; 2] {
    let install = Tool::Node.advice(machine);
    let node = match version("node", Tool::Node) {
        Some(version) if number(&version, 0).is_some_and(|major| major >= NODE_MIN) => {
            Finding::well(&NODE, "Node.js", version)
        }
        found => {
            let advice = format!("Node.js {NODE_MIN} or newer is needed: {install}");
            Finding::new(&NODE, "Node.js", found, Some(advice))
        }
    };
    let npm = match version("npm", Tool::Node) {
        Some(version) => Finding::well(&NODE, "npm", version),
        None => Finding::missing(&NODE, "npm", install),
    };
    [node, npm]
}

fn python(machine: &Machine) -> Vec<Finding> {
    let install = Tool::Python.advice(machine);
    let found = version("python3", Tool::Python);
    let is_well = |version: &String| number(version, 1).is_some_and(|minor| minor >= PYTHON_MIN);
    let Some(version) = found.clone().filter(is_well) else {
        let advice = format!("Python 3.{PYTHON_MIN} or newer is needed: {install}");
        return vec![Finding::new(&PYTHON, "Python", found, Some(advice))];
    };
    let module = "Python's module venv";
    let has_venv = program("python3", Tool::Python).is_ok_and(|python| has_venv(&python));
    let venv = match has_venv {
        true => Finding::well(&PYTHON, module, "it makes virtual environments".to_owned()),
        false => Finding::missing(&PYTHON, module, install),
    };
    vec![Finding::well(&PYTHON, "Python", version), venv]
}

/// Whether the packages of a project are installed. A build command of the author's own has its
/// own needs.
fn packages(project: &Project) -> Option<Finding> {
    if project.build.is_some() {
        return None;
    }
    let (folder, found) = match project.language {
        Language::Rust => return None,
        Language::TypeScript | Language::JavaScript => ("node_modules", node_tool(&project.dir)),
        Language::Python => (".venv", project_python(&project.dir)),
    };
    let needed_by = [project.language];
    Some(match found {
        Ok(found) => Finding::well(&needed_by, folder, found.display().to_string()),
        Err(error) => Finding::missing(&needed_by, folder, error.to_string()),
    })
}

/// A number of a version, counted from 0.
fn number(version: &str, part: usize) -> Option<u32> {
    let version = version.trim_start_matches('v');
    version.split('.').nth(part)?.parse().ok()
}

/// The first line that a program prints about its version.
fn version(name: &str, tool: Tool) -> Option<String> {
    let program = program(name, tool).ok()?;
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
