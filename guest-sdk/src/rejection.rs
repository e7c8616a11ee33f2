use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::log;

/// The domain said no. A response to the caller; nothing is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    code: Cow<'static, str>,
    message: String,
    details: Option<String>,
}

impl Rejection {
    /// `code` is for programs, and stable: `insufficient-funds`. `message` is for
    /// people; the host cuts it at 4 KiB.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Rejection {
            code: code.into(),
            message: message.into(),
            details: None,
        }
    }

    /// Adds facts for programs, as JSON. What JSON can't express (a map whose keys
    /// are not strings) is left out, and the host's log says so.
    pub fn details(mut self, details: impl Serialize) -> Self {
        match serde_json::to_string(&details) {
            Ok(json) => self.details = Some(json),
            Err(error) => log::error(&format!("details of rejection {}: {error}", self.code)),
        }
        self
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details as JSON.
    pub fn details_json(&self) -> Option<&str> {
        self.details.as_deref()
    }

    pub(crate) fn into_parts(self) -> (String, String, Option<String>) {
        (self.code.into_owned(), self.message, self.details)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Rejection {}
