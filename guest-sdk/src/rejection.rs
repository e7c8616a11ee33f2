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
    /// people; it is cut at 4 KiB, because a host accepts no more.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        cut(&mut message);
        Rejection {
            code: code.into(),
            message,
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

/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// A text of which a host accepts every byte.
pub(crate) fn bounded(mut text: String) -> String {
    cut(&mut text);
    text
}

fn cut(message: &mut String) {
    if message.len() <= MESSAGE_BYTES_MAX {
        return;
    }
    let ends = (0..=MESSAGE_BYTES_MAX).rev();
    let end = ends.take(4).find(|end| message.is_char_boundary(*end));
    message.truncate(end.unwrap_or_default());
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_4_kib_between_two_characters() {
        let len = |text: &str| Rejection::new("code", text).message().len();
        assert_eq!(len("short"), 5);
        assert_eq!(len(&"a".repeat(4096)), 4096);
        assert_eq!(len(&"a".repeat(4097)), 4096);
        assert_eq!(len(&format!("a{}", "é".repeat(4000))), 4095);
        assert_eq!(len(&format!("abc{}", "🙂".repeat(4000))), 4095);
    }
}
