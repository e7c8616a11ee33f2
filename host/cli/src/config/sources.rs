//! Where settings come from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value as Toml;
use toml::de::{DeTable, DeValue};

use super::key::Key;
use super::{keys, keys_of, nearest};

/// A file may have this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How the variables of the environment begin that set keys.
const PREFIX: &str = "QUIPU_";

/// Where the value of a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody has set the key.
    Default,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Source {
    /// Sources of a higher rank take precedence.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    /// The line of a file; 0 elsewhere.
    fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            _ => 0,
        }
    }

    /// The kind of source, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value of a key in a source.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static Key,
    pub value: Toml,
    pub source: Source,
}

/// What all sources have, from the weakest to the strongest.
#[derive(Debug, Default)]
pub struct SourceValues {
    pub settings: Vec<Setting>,
    /// Mistakes, each with its place.
    pub problems: Vec<String>,
}

/// The flags of a command that set keys.
#[derive(Debug, Default)]
pub struct Flags(Vec<(&'static str, &'static str, Toml)>);

impl Flags {
    /// Adds a flag, if it is given: the path of its key, its name and its value.
    #[must_use]
    pub fn with(
        mut self,
        path: &'static str,
        flag: &'static str,
        given: Option<impl Into<Toml>>,
    ) -> Self {
        if let Some(given) = given {
            self.0.push((path, flag, given.into()));
        }
        self
    }

    /// Adds a flag whose value is a path.
    #[must_use]
    pub fn path(self, path: &'static str, flag: &'static str, given: Option<&Path>) -> Self {
        self.with(path, flag, given.map(|it| it.display().to_string()))
    }
}

/// Reads all sources.
pub fn read(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    flags: &Flags,
) -> SourceValues {
    let mut found = SourceValues::default();
    if let Some(path) = file {
        match read_text(path) {
            Ok(text) => found.read_file(path, &text),
            Err(why) => found.problems.push(format!("{}: {why}", path.display())),
        }
    }
    let mut variables: Vec<(String, OsString)> = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();
    variables.sort();
    for (name, value) in variables {
        found.read_variable(name, value);
    }
    for (path, flag, value) in &flags.0 {
        if let Some(key) = keys().find(|key| key.path() == *path) {
            found.settings.push(Setting {
                key,
                value: value.clone(),
                source: Source::Flag(flag),
            });
        }
    }
    found
}

fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;

    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("the configuration can't be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "the configuration has more than {FILE_BYTES_MAX} bytes"
        ));
    }
    Ok(text)
}

impl SourceValues {
    /// Reads the text of a file.
    pub fn read_file(&mut self, path: &Path, text: &str) {
        let parsed = DeTable::parse(text).and_then(|table| Ok((table, toml::from_str(text)?)));
        let (spans, values): (_, toml::Table) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                let why = shown(text, &error);
                return self.problems.push(format!("{}:{why}", path.display()));
            }
        };
        let mut file = File {
            path,
            text,
            found: self,
            problems: Vec::new(),
        };
        for (name, spanned) in spans.get_ref() {
            let Some(value) = values.get(name.get_ref().as_ref()) else {
                continue;
            };
            let place = name.span().start;
            file.read_item(name.get_ref(), place, spanned.get_ref(), value);
        }
        // In the order of the file, not of the names.
        file.found.settings.sort_by_key(|it| it.source.line());
        let mut problems = file.problems;
        problems.sort_by_key(|(place, _)| *place);
        let problems = problems.into_iter().map(|(_, problem)| problem);
        self.problems.extend(problems);
    }

    /// Reads a variable of the environment.
    fn read_variable(&mut self, name: String, value: OsString) {
        let rest = name[PREFIX.len()..].to_ascii_lowercase();
        let path = match rest.split_once("__") {
            Some((section, name)) => format!("{section}.{name}"),
            None => rest,
        };
        let Some(key) = keys().find(|key| key.path() == path) else {
            // A variable for something else.
            if path.contains('.') {
                let nearest = nearest::key(&path).map(Key::variable);
                let why = unknown(&path, nearest.as_deref());
                self.problems.push(format!("{name}: {why}"));
            }
            return;
        };
        match value.into_string() {
            Ok(text) => self.settings.push(Setting {
                key,
                value: of_text(key, text),
                source: Source::Environment(name),
            }),
            Err(_) => self.problems.push(format!("{name}: it is not UTF-8 text")),
        }
    }
}

/// A value of the environment: TOML, or a text without quotation marks.
fn of_text(key: &Key, text: String) -> Toml {
    let is_quoted = text.starts_with(['"', '\'']);
    if key.kind.is_text() && !is_quoted {
        return Toml::String(text);
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    let only = parsed.ok().filter(|table| table.len() == 1);
    let value = only.and_then(|mut table| table.remove("value"));
    value.unwrap_or(Toml::String(text))
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    found: &'a mut SourceValues,
    /// Mistakes, and where they are.
    problems: Vec<(usize, String)>,
}

impl File<'_> {
    /// Reads a key before the first section, or a section.
    fn read_item(&mut self, name: &str, place: usize, spanned: &DeValue<'_>, value: &Toml) {
        if let Some(key) = keys_of("").iter().find(|key| key.name == name) {
            return self.add(key, place, value);
        }
        let keys = keys_of(name);
        let (DeValue::Table(spans), Toml::Table(values)) = (spanned, value) else {
            return match keys {
                [] => self.unknown(name, place),
                _ => {
                    let name = name.to_owned();
                    self.problem(place, &format!("{name} is a section: write [{name}]"));
                }
            };
        };
        if keys.is_empty() {
            let nearest = nearest::section(name).unwrap_or_default();
            let named = named(name);
            let why = format!("there is no section{named}; the nearest is [{nearest}]");
            return self.problem(place, &why);
        }
        for (inner, _) in spans {
            let place = inner.span().start;
            let inner = inner.get_ref().as_ref();
            match (keys.iter().find(|key| key.name == inner), values.get(inner)) {
                (Some(key), Some(value)) => self.add(key, place, value),
                _ => self.unknown(&format!("{name}.{inner}"), place),
            }
        }
    }

    fn add(&mut self, key: &'static Key, place: usize, value: &Toml) {
        let source = Source::File {
            path: self.path.to_owned(),
            line: line(self.text, place),
        };
        self.found.settings.push(Setting {
            key,
            value: value.clone(),
            source,
        });
    }

    fn unknown(&mut self, path: &str, place: usize) {
        let nearest = nearest::key(path).map(Key::path);
        self.problem(place, &unknown(path, nearest.as_deref()));
    }

    fn problem(&mut self, place: usize, why: &str) {
        let (path, line) = (self.path.display(), line(self.text, place));
        self.problems.push((place, format!("{path}:{line}: {why}")));
    }
}

/// The error about a key that does not exist.
pub fn unknown(path: &str, nearest: Option<&str>) -> String {
    let nearest = nearest.unwrap_or("store");
    let named = named(path);
    format!("there is no key{named}; the nearest is {nearest}")
}

/// A name as an error shows it. What is no name may be a secret at the wrong place.
fn named(name: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match name.len() <= 80 && name.chars().all(is_name) {
        true => format!(" {name}"),
        false => " of this name".to_owned(),
    }
}

/// The number of a line, from 1 on.
pub fn line(text: &str, place: usize) -> usize {
    let before = text.get(..place).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// An error of the syntax with its line; with what the line says, unless it may have the address of
/// a store.
pub fn shown(text: &str, error: &toml::de::Error) -> String {
    let number = line(text, error.span().map_or(0, |span| span.start));
    let message = error.message();
    let content = text.lines().nth(number - 1).unwrap_or_default();
    match content.contains("store") || content.contains(['@', '?']) {
        true => format!("{number}: {message}"),
        false => format!("{number}: {message}: {}", content.trim()),
    }
}
