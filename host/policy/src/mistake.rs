//! What is wrong in the text of a policy.

use std::fmt;

use miette::Diagnostic;

/// A mistake, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line; none when the mistake has no single place.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
    /// Whether the policy can be used all the same.
    pub is_warning: bool,
}

impl Mistake {
    /// A mistake in a text.
    pub(crate) fn of(text: &str, error: &dyn Diagnostic, is_warning: bool) -> Self {
        let at = error.labels().and_then(|mut labels| labels.next());
        let line = at.map(|at| {
            let before = text.as_bytes().iter().take(at.offset());
            before.filter(|byte| **byte == b'\n').count() + 1
        });
        let mut why = error.to_string();
        if let Some(help) = error.help() {
            why = format!("{why}; {help}");
        }
        Self {
            line,
            why,
            is_warning,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if self.is_warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.why)
    }
}
