use std::sync::Arc;

use super::{CommandId, Invalid};

/// Values that the host vouches for, in addition to the command itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Groups the commands and events of one conversation. If the caller gives none, the host uses
    /// the command's id.
    pub correlation_id: Option<Arc<str>>,
    /// The message that led to this command.
    pub causation_id: Option<Arc<str>>,
    /// Identity of the caller.
    pub principal: Option<Arc<str>>,
    /// W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

impl Context {
    /// Longest value in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks the values, so that they can be stored. A `traceparent` that is not well-formed is
    /// left out, as its specification requires.
    ///
    /// # Errors
    /// When another value is empty, longer than 255 bytes, or contains a control character.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        let values = [
            ("correlation id", &self.correlation_id),
            ("causation id", &self.causation_id),
            ("principal", &self.principal),
        ];
        for (what, value) in values {
            let Some(value) = value else {
                continue;
            };
            let is_fit = (1..=Self::BYTES_MAX).contains(&value.len())
                && !value.chars().any(char::is_control);
            if !is_fit {
                return Err(Invalid(format!(
                    "a {what} has 1 to {} bytes without control characters",
                    Self::BYTES_MAX
                )));
            }
        }
        self.traceparent = self.traceparent.filter(|value| is_traceparent(value));
        Ok(self)
    }

    /// Sets the correlation id to the command's id if there is none: the conversation begins here.
    #[must_use]
    pub fn correlated(mut self, id: &CommandId) -> Self {
        self.correlation_id.get_or_insert_with(|| id.shared());
        self
    }
}

/// Whether the value has the form `version-trace-parent-flags` in lower-case hexadecimal digits.
///
/// Trace and parent must not be all zeros, and version `ff` is invalid. Only versions after `00`
/// may have more parts after the flags.
fn is_traceparent(value: &str) -> bool {
    let mut parts = value.splitn(5, '-');
    let mut digits = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.bytes().all(is_hex).then_some(part)
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) =
        (digits(2), digits(32), digits(16), digits(2))
    else {
        return false;
    };
    let is_some = |id: &str| id.bytes().any(|byte| byte != b'0');
    let may_end_so = match parts.next() {
        None => true,
        Some(rest) => {
            version != "00"
                && value.len() <= Context::BYTES_MAX
                && !rest.chars().any(char::is_control)
        }
    };
    version != "ff" && is_some(trace) && is_some(parent) && may_end_so
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn is_accepted(traceparent: &str) -> bool {
        let context = Context {
            traceparent: Some(traceparent.into()),
            ..Context::default()
        };
        context.checked().unwrap().traceparent.as_deref() == Some(traceparent)
    }

    #[test]
    fn a_traceparent_is_kept_or_passed_over() {
        for good in [
            format!("00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-ff"),
            format!("01-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01-what-comes-later"),
        ] {
            assert!(is_accepted(&good), "{good}");
        }
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            "00-xyz".to_owned(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-0G"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("01-{TRACE}-{PARENT}-01-{}", "x".repeat(255)),
            format!("01-{TRACE}-{PARENT}-01-\u{1}"),
            format!(" 00-{TRACE}-{PARENT}-01"),
        ] {
            assert!(!is_accepted(&bad), "{bad}");
        }
    }

    #[test]
    fn other_values_are_bounded_and_printable() {
        let with = |principal: &str| Context {
            principal: Some(principal.into()),
            ..Context::default()
        };
        assert!(with(&"x".repeat(255)).checked().is_ok());
        for bad in ["", "a\nb", &"x".repeat(256)] {
            let error = with(bad).checked().unwrap_err();
            assert!(error.0.contains("principal"), "{error}");
        }
    }
}
