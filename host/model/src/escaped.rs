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

/// Whether a character is invisible, or changes the direction of the text around it. Line breaks and
/// tabs are not hidden.
pub fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{180e}' => {
            true
        }
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' => true,
        '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
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

    #[test]
    fn a_hidden_character_is_one_that_nobody_sees_or_that_turns_others() {
        for c in ['\0', '\u{200b}', '\u{202e}', '\u{e0041}', '\u{feff}'] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in ['\n', '\t', ' ', 'a', '\u{e9}', '\u{65e5}'] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }
}
