//! The parts of an export's line that shipping needs.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A line. Its other attributes are not read here: an import checks all of them.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    pub subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub stream: Option<Cow<'a, str>>,
    #[serde(default)]
    pub position: Option<u64>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Begin,
    Module,
    Plan,
    Dropped,
    Commit,
    Event,
    Archived,
    Anchor,
    End,
}

/// The data of the first line.
#[derive(Debug, Deserialize)]
pub struct Begin {
    pub format: u64,
    pub after: u64,
    #[serde(default)]
    pub after_id: Option<String>,
    pub head: u64,
}

/// The data of the last line of an export that ended early.
#[derive(Debug, Deserialize)]
struct Failed<'a> {
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

/// The data of a commit.
#[derive(Debug, Deserialize)]
pub struct Commit<'a> {
    pub events: u64,
    pub plan: u64,
    #[serde(borrow, default)]
    command: Option<Command<'a>>,
}

#[derive(Debug, Deserialize)]
struct Command<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    accepted_at: Cow<'a, str>,
}

/// What the commits of one append to several streams have in common: id and time of the command.
pub type Shared = (String, String);

impl Commit<'_> {
    pub fn shared(&self) -> Option<Shared> {
        let command = self.command.as_ref()?;
        Some((command.id.to_string(), command.accepted_at.to_string()))
    }
}

impl<'a> Line<'a> {
    /// Reads a line, with or without its line feed.
    pub fn read(text: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(text).context("a line is not one of an export")
    }

    pub fn kind(&self) -> Result<Kind> {
        if self.stream.is_some() {
            return Ok(Kind::Event);
        }
        Ok(match &*self.r#type {
            "quipu.export" => Kind::Begin,
            "quipu.module" => Kind::Module,
            "quipu.plan" => Kind::Plan,
            "quipu.dropped" => Kind::Dropped,
            "quipu.commit" => Kind::Commit,
            "quipu.stream" => Kind::Archived,
            "quipu.anchor" => Kind::Anchor,
            "quipu.end" => Kind::End,
            "quipu.failed" => bail!(
                "the export ended early: {}",
                self.data::<Failed<'_>>()?.detail
            ),
            unknown => bail!("this program knows no line of type {unknown:?}: use a newer program"),
        })
    }

    /// Reads the data.
    pub fn data<T: Deserialize<'a>>(&self) -> Result<T> {
        let data = self.data.map_or("null", RawValue::get);
        serde_json::from_str(data).with_context(|| format!("the data of line {:?}", self.id))
    }

    /// The time, which the line must have.
    pub fn time(&self) -> Result<&str> {
        let time = self.time.as_deref();
        time.with_context(|| format!("line {:?} has no time", self.id))
    }

    /// The subject, which the line must have.
    pub fn subject(&self) -> Result<&str> {
        let subject = self.subject.as_deref();
        subject.with_context(|| format!("line {:?} has no subject", self.id))
    }
}
