use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quipu_guest_build::{Machine, Tool};

use super::{Error, Language, Project};

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its file.
    pub component: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Builds the component of a project. The tools' own messages go to standard error.
///
/// The component's file is replaced only by a build that succeeded.
///
/// # Errors
/// When a tool is missing, with the command that installs it, or the build fails.
pub fn build(project: &Project, is_verbose: bool) -> Result<Built, Error> {
    let component = &project.component;
    if let Some(folder) = component.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    match (&project.build, project.language) {
        (Some(command), _) => own_command(project, command)?,
        (None, Language::Rust) => {
            let options = quipu_guest_build::Options {
                output: Some(component.clone()),
                ..Default::default()
            };
            quipu_guest_build::build(&project.dir, &options)?;
        }
        (None, Language::TypeScript | Language::JavaScript) => {
            let tool = node_tool(&project.dir)?;
            run(project, Command::new("node").arg(tool), is_verbose)?;
        }
        (None, Language::Python) => {
            let mut python = Command::new(python(&project.dir)?);
            run(project, python.args(["-m", "quipu_guest"]), is_verbose)?;
        }
    }
    let built = std::fs::metadata(component).map_err(|_| {
        Error::Failed(format!(
            "the build ended without an error, but there is no component at {}; `component` in \
             quipu.toml says where the build writes it",
            component.display()
        ))
    })?;
    Ok(Built {
        component: component.clone(),
        bytes: built.len(),
    })
}

/// Runs the author's own command in a shell, in the project's folder. The component's path is in
/// `QUIPU_COMPONENT`.
fn own_command(project: &Project, command: &str) -> Result<(), Error> {
    let (shell, flag) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let component = absolute(&project.component)?;
    let ended = Command::new(shell)
        .args([flag, command])
        .current_dir(&project.dir)
        .env("QUIPU_COMPONENT", component)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(Error::io(shell))?;
    match ended.success() {
        true => Ok(()),
        false => Err(Error::Failed(format!(
            "`{command}` failed ({ended}); its messages are above"
        ))),
    }
}

/// Runs the build command of an SDK.
fn run(project: &Project, tool: &mut Command, is_verbose: bool) -> Result<(), Error> {
    tool.args(["build", "--entry"])
        .arg(&project.entry)
        .arg("--out")
        .arg(absolute(&project.component)?)
        .args(is_verbose.then_some("--verbose"))
        .current_dir(&project.dir)
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    let program = tool.get_program().to_owned();
    let ended = tool.status().map_err(Error::io(PathBuf::from(program)))?;
    match ended.success() {
        true => Ok(()),
        false => Err(Error::Failed(
            "the component was not built; the reason is above".to_owned(),
        )),
    }
}

/// The build tool of the npm package, as the project has it installed.
pub(super) fn node_tool(dir: &Path) -> Result<PathBuf, Error> {
    program("node", Tool::Node)?;
    let tool = Path::new("node_modules/.bin/quipu-guest");
    match dir.join(tool).exists() {
        true => Ok(tool.to_owned()),
        false => {
            program("npm", Tool::Node)?;
            Err(Error::Missing {
                what: format!("the package @quipu/guest in {}", dir.display()),
                install: format!("run `cd {} && npm install`", dir.display()),
            })
        }
    }
}

/// The Python of the project's virtual environment, else the one on the path.
pub(super) fn python(dir: &Path) -> Result<PathBuf, Error> {
    let of_project = match cfg!(windows) {
        true => ".venv/Scripts/python.exe",
        false => ".venv/bin/python",
    };
    let environment = absolute(&dir.join(of_project))?;
    let python = match environment.exists() {
        true => environment,
        false => program("python3", Tool::Python)?,
    };
    let output = Command::new(&python)
        .args(["-c", "import quipu_guest"])
        .current_dir(dir)
        .output()
        .map_err(Error::io(&python))?;
    match output.status.success() {
        true => Ok(python),
        false if !has_venv(&python) => Err(Error::Missing {
            what: "Python's module venv".to_owned(),
            install: Tool::Python.advice(&Machine::current()),
        }),
        false => Err(Error::Missing {
            what: format!("the package quipu-guest for {}", python.display()),
            install: format!(
                "run `cd {} && python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`",
                dir.display()
            ),
        }),
    }
}

/// Whether a Python makes virtual environments. Debian has that in a package of its own.
pub(super) fn has_venv(python: &Path) -> bool {
    let asked = Command::new(python)
        .args(["-c", "import venv, ensurepip"])
        .output();
    asked.is_ok_and(|output| output.status.success())
}

/// Finds a program on the path.
pub(super) fn program(name: &str, tool: Tool) -> Result<PathBuf, Error> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&paths).map(|folder| folder.join(name));
    let found = found.find(|file| file.is_file());
    found.ok_or_else(|| Error::Missing {
        what: format!("the program {name}"),
        install: tool.advice(&Machine::current()),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io(path))
}
