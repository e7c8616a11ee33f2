use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::{Expected, Json, Message, Scenario, Scenarios};
use crate::mistake;

/// Largest scenario file in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most scenarios in one file.
const SCENARIOS_MAX: usize = 10_000;

/// Why a scenario file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It can't be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// It is too large.
    #[error("{path}: {bytes} bytes, at most {FILE_BYTES_MAX} are accepted")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not a scenario file.
    #[error("{path}:{line}: {text}")]
    Form {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What does not fit.
        text: String,
    },
    /// A scenario contradicts itself.
    #[error("{path}:{line}: scenario {name:?}: {text}")]
    Scenario {
        /// The file.
        path: PathBuf,
        /// The line, from 1, of the part of the scenario.
        line: u64,
        /// The scenario.
        name: String,
        /// What does not fit.
        text: String,
    },
}

impl Scenarios {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When the file can't be read or is not a scenario file. The error names the file and the
    /// line, or the scenario.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let error = |error| Error::Read {
            path: path.to_owned(),
            error,
        };
        let bytes = std::fs::metadata(path).map_err(error)?.len();
        if bytes > FILE_BYTES_MAX {
            let path = path.to_owned();
            return Err(Error::TooLarge { path, bytes });
        }
        let text = std::fs::read_to_string(path).map_err(error)?;
        Self::parse(path, text.strip_prefix('\u{feff}').unwrap_or(&text))
    }

    /// Reads the text of a scenario file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut scenarios: Self = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map_or(1, |at| at.line());
            Error::Form {
                path: path.to_owned(),
                line,
                text: mistake::plain(&first_line(&error.to_string())),
            }
        })?;
        path.clone_into(&mut scenarios.path);
        let refused = |number: usize, part: Part, error: String| Error::Scenario {
            path: path.to_owned(),
            line: line(text, number, part),
            name: scenarios.scenarios[number].name.clone(),
            text: error,
        };
        if scenarios.scenarios.len() > SCENARIOS_MAX {
            let text =
                format!("it is beyond the {SCENARIOS_MAX}th of the file; begin another file");
            return Err(refused(SCENARIOS_MAX, Part::Whole, text));
        }
        for (number, scenario) in scenarios.scenarios.iter().enumerate() {
            checked(scenario).map_err(|(part, text)| refused(number, part, text))?;
        }
        Ok(scenarios)
    }
}

impl Scenarios {
    /// The text of a scenario file.
    ///
    /// # Errors
    /// When a value has no YAML form.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }
}

/// The message of an error without its place, which is named before, and without the excerpt of
/// the file that follows it.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_, message)) => message.to_owned(),
        None => line.to_owned(),
    }
}

/// A part of a scenario.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    /// An element of `given`, counted from 0.
    Given(usize),
    When,
    Then,
}

/// Where the parts of the scenarios of a file are.
#[derive(Deserialize)]
struct Places {
    scenarios: Vec<Spanned<Place>>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    given: Vec<Spanned<IgnoredAny>>,
    when: Option<Spanned<IgnoredAny>>,
    then: Option<Spanned<IgnoredAny>>,
}

/// The line of a part of a scenario. Only a file with an error is read a second time.
fn line(text: &str, number: usize, part: Part) -> u64 {
    let places: Option<Places> = serde_saphyr::from_str(text).ok();
    let scenario = places.as_ref().and_then(|it| it.scenarios.get(number));
    let within = scenario.and_then(|scenario| {
        let place = &scenario.value;
        let part = match part {
            Part::Whole => None,
            Part::Given(number) => place.given.get(number),
            Part::When => place.when.as_ref(),
            Part::Then => place.then.as_ref(),
        };
        part.map(|part| part.referenced.line())
    });
    let whole = || scenario.map(|scenario| scenario.referenced.line());
    within.or_else(whole).unwrap_or(1)
}

fn checked(scenario: &Scenario) -> Result<(), (Part, String)> {
    for (number, given) in scenario.given.iter().enumerate() {
        checked_message(given)
            .map_err(|text| (Part::Given(number), format!("given {}: {text}", number + 1)))?;
    }
    if let Some(when) = &scenario.when {
        let wrong = |text: String| (Part::When, format!("when: {text}"));
        checked_message(when).map_err(wrong)?;
        if when.event.is_some() {
            return Err(wrong("name a `command`; events are given".to_owned()));
        }
    }
    checked_expected(&scenario.then, scenario.when.is_some())
        .map_err(|text| (Part::Then, format!("then: {text}")))
}

fn checked_message(message: &Message) -> Result<(), String> {
    let of_command = [
        ("id", message.id.is_some()),
        ("principal", message.principal.is_some()),
        ("seed", message.seed.is_some()),
    ];
    match (&message.event, &message.command) {
        (Some(_), None) => {
            if let Some((key, _)) = of_command.iter().find(|(_, is_given)| *is_given) {
                return Err(format!("`{key}` is for commands, not for events"));
            }
        }
        (None, Some(_)) if !message.tags.is_empty() => {
            return Err("`tags` are for events; a command's events have their own".to_owned());
        }
        (None, Some(_)) => {}
        (Some(_), Some(_)) => return Err("name an `event` or a `command`, not both".to_owned()),
        (None, None) => return Err("name an `event` or a `command`".to_owned()),
    }
    one_body(message.data.as_ref(), message.json.as_deref())
}

fn checked_expected(expected: &Expected, has_command: bool) -> Result<(), String> {
    if expected.is_empty() {
        return Err("it expects nothing; `events: []` expects that nothing happens".to_owned());
    }
    let answers = [
        ("events", expected.events.is_some()),
        ("rejected", expected.rejected.is_some()),
        ("invalid_command", expected.invalid_command.is_some()),
    ];
    let mut named = answers.iter().filter(|(_, is_named)| *is_named);
    if let Some((name, _)) = named.next() {
        if !has_command {
            return Err(format!(
                "`{name}` is the answer to a command, and `when` is missing"
            ));
        }
        if let Some((other, _)) = named.next() {
            return Err(format!("a command has one answer: `{name}` or `{other}`"));
        }
    }
    for event in expected.events.iter().chain(&expected.lifted).flatten() {
        one_body(event.data.as_ref(), event.json.as_deref())
            .map_err(|text| format!("event {}: {text}", event.event))?;
    }
    Ok(())
}

fn one_body(data: Option<&Json>, json: Option<&str>) -> Result<(), String> {
    match (data, json) {
        (Some(_), Some(_)) => Err("give the body as `data` or as `json`, not both".to_owned()),
        _ => Ok(()),
    }
}
