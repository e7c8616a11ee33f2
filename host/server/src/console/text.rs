//! Text of strangers on a page: escaped, bounded, and with nothing that hides or turns it.

use std::fmt::Write as _;

use maud::{Markup, Render, html};
use serde_json::value::RawValue;

pub use crate::percent::encoded;
use quipu::model::is_hidden;

/// The most bytes of one payload on a page.
pub const SHOWN_MAX: usize = 64 << 10;
/// The most bytes of a payload in a row of a table.
pub const PREVIEW_MAX: usize = 160;
/// Deeper levels of JSON are not indented further.
const INDENTED_MAX: usize = 16;

/// A text that was not written by this program. Characters that are invisible, or change the
/// direction of the text, are shown by their number.
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(pub &'a str);

impl Render for Untrusted<'_> {
    fn render_to(&self, page: &mut String) {
        for c in self.0.chars() {
            match c {
                '&' => page.push_str("&amp;"),
                '<' => page.push_str("&lt;"),
                '>' => page.push_str("&gt;"),
                '"' => page.push_str("&quot;"),
                '\'' => page.push_str("&#39;"),
                c if is_hidden(c) => {
                    // Writing to a string does not fail.
                    _ = write!(
                        page,
                        "<span class=\"hidden-char\">\u{27e8}U+{:04X}\u{27e9}</span>",
                        u32::from(c)
                    );
                }
                c => page.push(c),
            }
        }
    }
}

/// The beginning of a text, and how many bytes follow it.
pub fn cut(text: &str, max: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(max);
    (&text[..end], text.len() - end)
}

/// The beginning of a text in one line.
pub fn preview(text: &str) -> Markup {
    let (begin, rest) = cut(text, PREVIEW_MAX);
    html! { code { (Untrusted(begin)) @if rest > 0 { "\u{2026}" } } }
}

/// JSON with line breaks, or the beginning of it: the rest is named, with how to get it.
pub fn json(text: &str, rest_from: &str) -> Markup {
    let (shown, rest) = indented(text);
    payload(&shown, rest, rest_from)
}

/// A text of any kind, or the beginning of it.
pub fn payload(shown: &str, rest: usize, rest_from: &str) -> Markup {
    html! {
        pre.payload tabindex="0" role="group" aria-label="Data" { code { (Untrusted(shown)) } }
        @if rest > 0 {
            p.note {
                (rest) " more bytes are not shown. Read all of them with " code { (Untrusted(rest_from)) }
            }
        }
    }
}

/// Breaks JSON into lines without changing its numbers or texts. Ends at the limit of a page, and
/// returns how many bytes of the JSON follow.
pub fn indented(json: &str) -> (String, usize) {
    let mut lines = String::new();
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    let mut chars = json.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if lines.len() >= SHOWN_MAX {
            return (lines, json.len() - at);
        }
        if is_text {
            lines.push(c);
            is_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                lines.push(c);
                while chars
                    .next_if(|(_, next)| next.is_ascii_whitespace())
                    .is_some()
                {}
                if let Some((_, end)) = chars.next_if(|(_, next)| matches!(next, '}' | ']')) {
                    lines.push(end);
                    continue;
                }
                depth += 1;
                break_line(&mut lines, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut lines, depth);
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                break_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                is_text = c == '"';
                lines.push(c);
            }
        }
    }
    (lines, 0)
}

fn break_line(lines: &mut String, depth: usize) {
    lines.push('\n');
    for _ in 0..depth.min(INDENTED_MAX) {
        lines.push_str("  ");
    }
}

/// Data as an answer has them: JSON, or base64 with their type.
pub fn data(json_data: Option<&RawValue>, base64: Option<(&str, &str)>, rest_from: &str) -> Markup {
    match (json_data, base64) {
        (_, Some((kind, base64))) => {
            let (begin, rest) = cut(base64, SHOWN_MAX);
            html! {
                p.note { "Base64 of " (Untrusted(kind)) }
                (payload(begin, rest, rest_from))
            }
        }
        (Some(raw), None) => json(raw.get(), rest_from),
        (None, None) => json("null", rest_from),
    }
}

/// A text as one word of a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Untrusted(text).render().into_string()
    }

    #[test]
    fn text_of_strangers_is_inert() {
        assert_eq!(
            rendered("<script>'\"&</script>"),
            "&lt;script&gt;&#39;&quot;&amp;&lt;/script&gt;"
        );
        let marked =
            |number| format!("a<span class=\"hidden-char\">\u{27e8}{number}\u{27e9}</span>b");
        for (c, number) in [
            ('\u{202e}', "U+202E"),
            ('\0', "U+0000"),
            ('\u{e0041}', "U+E0041"),
        ] {
            assert_eq!(rendered(&format!("a{c}b")), marked(number));
        }
        assert_eq!(rendered("ä\n\t日本"), "ä\n\t日本");
    }

    #[test]
    fn json_is_broken_into_lines_and_not_changed() {
        let json = r#"{"a":[1,2.50,{}],"b":"x\",{\\","c":[ ]}"#;
        let expected = "{\n  \"a\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"b\": \"x\\\",{\\\\\",\n  \"c\": []\n}";
        assert_eq!(indented(json), (expected.to_owned(), 0));
    }

    #[test]
    fn a_page_is_bounded_whatever_is_in_it() {
        for json in ["[".repeat(1 << 20), format!("\"{}\"", "ä".repeat(1 << 20))] {
            let (shown, rest) = indented(&json);
            assert!(shown.len() < SHOWN_MAX + 64, "{}", shown.len());
            assert!(rest > 1 << 18, "{rest}");
        }
        assert_eq!(cut("ää", 3), ("ä", 2));
    }

    #[test]
    fn a_part_of_an_address_and_a_word_of_a_shell_stay_one() {
        assert_eq!(encoded("a/b?..#ä"), "a%2Fb%3F%2E%2E%23%C3%A4");
        assert_eq!(quoted("loan-7"), "loan-7");
        assert_eq!(quoted("a'; rm -rf"), r"'a'\''; rm -rf'");
        assert_eq!(quoted(""), "''");
    }
}
