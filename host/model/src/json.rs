//! Checks that JSON is well-formed and not nested too deep. There is no other such check.

use serde::de::IgnoredAny;

use super::Invalid;

/// Deepest nesting of arrays and objects in a JSON body.
pub const DEPTH_MAX: usize = 128;

/// Strips the byte order mark with which some programs begin a file.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// The same for a text.
pub fn text_without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Checks a text without building a tree.
///
/// # Errors
/// When it is not UTF-8, not well-formed, or nested deeper than [`DEPTH_MAX`].
pub fn check(text: &[u8]) -> Result<(), Invalid> {
    let text = std::str::from_utf8(text)
        .map_err(|error| Invalid(format!("not well-formed JSON: not UTF-8 {error}")))?;
    if depth(text.as_bytes()) > DEPTH_MAX {
        return Err(Invalid(format!("JSON nested deeper than {DEPTH_MAX}")));
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| Invalid(format!("not well-formed JSON: {error}")))?;
    Ok(())
}

/// Returns the deepest nesting. Exact only for well-formed JSON.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn nesting_is_allowed_up_to_the_bound() {
        assert_eq!(check(nested(DEPTH_MAX).as_bytes()), Ok(()));
        assert!(check(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(check(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let text = format!("\"{}\\\"{}\"", "[".repeat(300), "{".repeat(300));
        assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn anything_but_one_json_value_is_refused() {
        for text in [
            "",
            "{",
            "{}{}",
            "{\"a\":}",
            "nul",
            "\"\u{1}\"",
            "[1,]",
            "01",
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text}");
        }
        assert!(check(b"\"\xff\"").is_err());
        for text in ["null", " {\"a\": [1, 2.5e3, \"\\u00e9\"]} ", "\"\""] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
