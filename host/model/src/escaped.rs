use std::borrow::Cow;

/// Escapes a text so that it fits on one line: line breaks, other control characters, and
/// characters that change the direction of writing become escapes such as `\n`. Characters in
/// `exceptions` are not escaped.
///
/// All text from guests or clients passes through this function before it is logged, so that nobody
/// can forge a log line.
pub fn escaped<'a>(text: &'a str, exceptions: &[char]) -> Cow<'a, str> {
    let is_unsafe = |c: char| {
        let steers = matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        (c.is_control() || steers) && !exceptions.contains(&c)
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unsafe(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line() {
        for (text, line) in [
            ("plain é\t日", "plain é\t日"),
            ("a\nb\r\nc", "a\\nb\\r\\nc"),
            ("\u{1b}[2J\u{85}\0", "\\u{1b}[2J\\u{85}\\u{0}"),
            ("\u{2028}\u{202e}x", "\\u{2028}\\u{202e}x"),
        ] {
            assert_eq!(escaped(text, &['\t']), line);
        }
        assert_eq!(escaped("\u{1b}[1m\n", &['\u{1b}']), "\u{1b}[1m\\n");
    }
}
