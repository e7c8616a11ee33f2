//! What is known about a key of the configuration.

use std::ops::RangeInclusive;

/// A key of the configuration. Its line in `sections.rs` is the only place that describes it.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name of its section; empty for keys before the first section.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// The lines of its description.
    pub doc: &'static [&'static str],
    /// What its values are.
    pub kind: Kind,
    /// The numbers that it can have.
    pub range: Option<RangeInclusive<u64>>,
    /// For a default that is not a constant: an example of a value in TOML, and the default in
    /// words.
    pub default: Option<(&'static str, &'static str)>,
}

/// What the values of a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Boolean,
    Text,
    /// A text that may be a secret, or have one in it.
    Secret,
    /// The path of a file or folder.
    Path,
    /// A list of texts.
    Names,
    /// A table of texts.
    Texts,
    /// A number for each category.
    Numbers,
    /// A word about the validation of commands for each category.
    Validations,
    /// A snapshot policy for each category.
    Policies,
}

impl Kind {
    /// What an error says that was expected.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Number => "a whole number",
            Self::Boolean => "true or false",
            Self::Text | Self::Secret => "a text",
            Self::Path => "the path of a file",
            Self::Names => "a list of texts, as [\"a\", \"b\"]",
            Self::Texts => "a table of texts, as { region = \"eu-1\" }",
            Self::Numbers => "a number for each category, as { loan = 500 }",
            Self::Validations => {
                "\"off\", \"report\" or \"enforce\" for each category, as { loan = \"enforce\" }"
            }
            Self::Policies => "a policy for each category, as { others = \"off\" }",
        }
    }

    /// Whether a value of the environment is the text itself, without quotation marks.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Secret | Self::Path)
    }
}

impl Key {
    /// Section and name, as `http.idle_max_ms`.
    pub fn path(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// The variable of the environment that sets it, as `QUIPU_HTTP__IDLE_MAX_MS`.
    pub fn variable(&self) -> String {
        let name = match self.section {
            "" => format!("QUIPU_{}", self.name),
            section => format!("QUIPU_{section}__{}", self.name),
        };
        name.to_ascii_uppercase()
    }

    /// Its description, in one line.
    pub fn description(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// The numbers that it can have, in words.
    pub fn allowed(&self) -> Option<String> {
        let range = self.range.as_ref()?;
        Some(match (range.start(), range.end()) {
            (least, &u64::MAX) => format!("{least} or more"),
            (least, most) => format!("{least} to {most}"),
        })
    }

    /// Rejects a number that is not within the range.
    pub fn check(&self, given: Option<u64>) -> Result<(), String> {
        match (given, &self.range) {
            (Some(given), Some(range)) if !range.contains(&given) => Err(out_of_range(
                &self.path(),
                given,
                &self.allowed().unwrap_or_default(),
            )),
            _ => Ok(()),
        }
    }
}

/// The error about a number that a key can't have.
pub fn out_of_range(path: &str, given: u64, allowed: &str) -> String {
    format!("{path} is {given}; it must be {allowed}")
}
