use std::fmt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Error;
use super::name::check_project;
use crate::mistake;

/// Name of the project file.
pub const FILE: &str = "quipu.toml";
/// Largest project file in bytes.
const BYTES_MAX: u64 = 64 << 10;
/// Folders that builds write.
const WRITTEN: [&str; 7] = [
    "target",
    "build",
    "node_modules",
    ".venv",
    "__pycache__",
    ".quipu",
    ".git",
];
/// A star does not reach into other folders.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};
/// Most patterns in a list.
const PATTERNS_MAX: usize = 100;

/// A guest project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its folder.
    pub dir: PathBuf,
    /// Its name: the component's file is `NAME.wasm`.
    pub name: String,
    /// Language of its source.
    pub language: Language,
    /// The source file with which the build begins. Rust: not used.
    pub entry: PathBuf,
    /// A command of the author's own that writes the component, in place of the usual build.
    pub build: Option<String>,
    /// The component's file.
    pub component: PathBuf,
    /// Files whose change starts a build in `quipu dev`.
    pub watch: Vec<String>,
    /// Scenario files.
    pub scenarios: Vec<String>,
    /// The store of `quipu dev`.
    pub store: String,
}

/// A language for guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, compiled by cargo.
    Rust,
    /// TypeScript, compiled by the package `@quipu/guest`.
    TypeScript,
    /// JavaScript, compiled by the package `@quipu/guest`.
    JavaScript,
    /// Python, compiled by the package `quipu-guest`.
    Python,
}

/// The project file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    name: Spanned<String>,
    language: Language,
    entry: Option<Spanned<PathBuf>>,
    build: Option<String>,
    component: Option<Spanned<PathBuf>>,
    watch: Option<Spanned<Vec<String>>>,
    scenarios: Option<Spanned<Vec<String>>>,
    store: Option<String>,
}

impl Language {
    /// The name in a project file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }

    fn entry(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::TypeScript => "src/index.ts",
            Self::JavaScript => "src/index.js",
            Self::Python => "app.py",
        }
    }

    fn watch(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["src/**/*.rs", "Cargo.toml"],
            Self::TypeScript => &["src/**/*.ts", "package.json", "tsconfig.json"],
            Self::JavaScript => &["src/**/*.js", "package.json"],
            Self::Python => &["**/*.py", "pyproject.toml"],
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Project {
    /// Reads the project in a folder.
    ///
    /// # Errors
    /// When there is no project file, or it does not fit. The error names the file and the line.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let bytes = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoProject(dir.to_owned()));
            }
            Err(error) => return Err(Error::io(path)(error)),
        };
        let refused = |line, text: String| Error::Manifest {
            path: path.clone(),
            line,
            text,
        };
        if bytes > BYTES_MAX {
            let text = format!("{bytes} bytes, at most {BYTES_MAX} are accepted");
            return Err(refused(None, text));
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            refused(line, mistake::plain(error.message().trim()))
        })?;
        let read = Self::of(dir, manifest);
        read.map_err(|wrong| refused(Some(line_of(&text, wrong.byte)), wrong.text))
    }

    /// The scenario files, sorted by name.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn scenario_files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        let dir = Pattern::escape(&self.dir.display().to_string());
        for pattern in &self.scenarios {
            let found = glob::glob(&format!("{dir}/{pattern}"));
            let found = found.map_err(|error| self.wrong_pattern(pattern, &error))?;
            for file in found {
                let file = file.map_err(|error| {
                    let path = error.path().to_owned();
                    Error::io(path)(error.into())
                })?;
                files.push(file);
            }
        }
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// Whether a change of this file starts a build: it fits a pattern, and the build does not
    /// write it.
    pub fn watches(&self, file: &Path) -> bool {
        let Ok(path) = file.strip_prefix(&self.dir) else {
            return false;
        };
        let mut folders = path.ancestors().skip(1);
        let is_written = file == self.component || folders.any(Self::is_written_by_builds);
        let mut patterns = self.watch.iter().chain(&self.scenarios);
        !is_written
            && (path == Path::new(FILE)
                || patterns.any(|it| {
                    Pattern::new(it).is_ok_and(|pattern| pattern.matches_path_with(path, OPTIONS))
                }))
    }

    /// Whether a folder contains what builds write, by its name.
    pub(super) fn is_written_by_builds(folder: &Path) -> bool {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| WRITTEN.contains(&name))
    }

    fn wrong_pattern(&self, pattern: &str, error: &glob::PatternError) -> Error {
        Error::Manifest {
            path: self.dir.join(FILE),
            line: None,
            text: format!("pattern {pattern:?}: {}", error.msg),
        }
    }

    fn of(dir: &Path, manifest: Manifest) -> Result<Self, Wrong> {
        check_project(manifest.name.get_ref()).map_err(Wrong::at(&manifest.name))?;
        for (key, path) in [
            ("entry", &manifest.entry),
            ("component", &manifest.component),
        ] {
            if let Some(path) = path {
                check_inside(key, path.get_ref()).map_err(Wrong::at(path))?;
            }
        }
        for (key, patterns) in [
            ("watch", &manifest.watch),
            ("scenarios", &manifest.scenarios),
        ] {
            if let Some(patterns) = patterns {
                check_patterns(key, patterns.get_ref()).map_err(Wrong::at(patterns))?;
            }
        }
        let name = manifest.name.into_inner();
        let language = manifest.language;
        let owned = |patterns: &[&str]| patterns.iter().map(|&it| it.to_owned()).collect();
        let entry = manifest.entry.map(Spanned::into_inner);
        let component = manifest.component.map(Spanned::into_inner);
        let component = component.unwrap_or_else(|| format!("build/{name}.wasm").into());
        let watch = manifest.watch.map(Spanned::into_inner);
        let scenarios = manifest.scenarios.map(Spanned::into_inner);
        Ok(Self {
            entry: entry.unwrap_or_else(|| language.entry().into()),
            build: manifest.build,
            component: dir.join(component),
            watch: watch.unwrap_or_else(|| owned(language.watch())),
            scenarios: scenarios.unwrap_or_else(|| owned(&["scenarios/*.yaml"])),
            store: manifest
                .store
                .unwrap_or_else(|| "sqlite:.quipu/dev.db".to_owned()),
            name,
            language,
            dir: dir.to_owned(),
        })
    }
}

/// A value that does not fit, at a byte of the project file.
struct Wrong {
    byte: usize,
    text: String,
}

impl Wrong {
    fn at<T>(value: &Spanned<T>) -> impl FnOnce(String) -> Self {
        let byte = value.span().start;
        move |text| Self { byte, text }
    }
}

fn check_inside(key: &str, path: &Path) -> Result<(), String> {
    let mut parts = path.components();
    match path.is_relative() && !parts.any(|it| it == std::path::Component::ParentDir) {
        true => Ok(()),
        false => Err(format!(
            "{key}: {} is outside of the project",
            path.display()
        )),
    }
}

fn check_patterns(key: &str, patterns: &[String]) -> Result<(), String> {
    if patterns.len() > PATTERNS_MAX {
        let found = patterns.len();
        return Err(format!(
            "{key}: {found} patterns, at most {PATTERNS_MAX} are accepted"
        ));
    }
    for pattern in patterns {
        Pattern::new(pattern)
            .map_err(|error| format!("{key}: pattern {pattern:?}: {}", error.msg))?;
    }
    Ok(())
}

/// Says why a folder without a project file can't be built: the project is in a folder above, or
/// there is none.
pub fn not_a_project(dir: &Path) -> Error {
    let within = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut above = within.ancestors().skip(1);
    let dir = dir.to_owned();
    match above.find(|folder| folder.join(FILE).is_file()) {
        Some(found) => Error::ProjectAbove {
            dir,
            found: found.to_owned(),
        },
        None => Error::NothingToBuild(dir),
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|it| *it == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        let read = Project::read(dir.path());
        read.map_err(|error| {
            error
                .to_string()
                .replace(&dir.path().display().to_string(), ".")
        })
    }

    #[test]
    fn two_keys_are_a_project() {
        let project = read("name = \"bank\"\nlanguage = \"python\"\n").unwrap();
        assert_eq!(project.entry, Path::new("app.py"));
        assert!(project.component.ends_with("build/bank.wasm"));
        assert_eq!(project.scenarios, ["scenarios/*.yaml"]);
        assert_eq!(project.store, "sqlite:.quipu/dev.db");
    }

    #[test]
    fn only_sources_and_scenarios_are_watched() {
        let project = read("name = \"bank\"\nlanguage = \"python\"\n").unwrap();
        for (file, is_watched) in [
            ("app.py", true),
            ("rules/limits.py", true),
            ("scenarios/rules.yaml", true),
            ("quipu.toml", true),
            ("build/bank.wasm", false),
            (".venv/lib/site.py", false),
            ("__pycache__/app.py", false),
            ("README.md", false),
        ] {
            assert_eq!(
                project.watches(&project.dir.join(file)),
                is_watched,
                "{file}"
            );
        }
        assert!(!project.watches(Path::new("/elsewhere/app.py")));
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        for (text, message) in [
            ("name = \"bank\"\n", "./quipu.toml:1: `language` is missing"),
            (
                "name = \"bank\"\nlanguage = \"cobol\"\n",
                "./quipu.toml:2: unknown variant `cobol`, expected one of `rust`, `typescript`, \
                 `javascript`, `python`",
            ),
            (
                "name = \"bank\"\nlanguage = \"rust\"\n\nwacth = []\n",
                "./quipu.toml:4: unknown field `wacth`; did you mean `watch`? There are `name`, \
                 `language`, `entry`, `build`, `component`, `watch`, `scenarios`, `store`",
            ),
            (
                "name = \"Bank 1\"\nlanguage = \"rust\"\n",
                "./quipu.toml:1: \"Bank 1\" is not a name of a project: use 1 to 48 of a-z, 0-9 and \
                 _, beginning with a letter, for example bank_1",
            ),
            (
                "name = \"b\"\nlanguage = \"rust\"\ncomponent = \"../b.wasm\"\n",
                "./quipu.toml:3: component: ../b.wasm is outside of the project",
            ),
            (
                "name = \"b\"\nlanguage = \"rust\"\n\nwatch = [\n  \"src/*.rs\",\n  \"src/***\",\n]\n",
                "./quipu.toml:4: watch: pattern \"src/***\": wildcards are either regular `*` or \
                 recursive `**`",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
        let dir = tempfile::tempdir().unwrap();
        let missing = Project::read(dir.path()).unwrap_err().to_string();
        assert!(missing.ends_with("no quipu.toml there; `quipu new NAME` makes a project"));
    }

    #[test]
    fn a_folder_without_a_project_names_the_project_above() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("src/rules");
        std::fs::create_dir_all(&folder).unwrap();
        let error = not_a_project(&folder).to_string();
        assert!(
            error.contains("no quipu.toml here or in a folder above; `quipu new NAME` makes"),
            "{error}"
        );
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let error = not_a_project(&folder).to_string();
        let command = format!("quipu build {}", dir.path().display());
        assert!(error.ends_with(&command), "{error}");
    }
}
