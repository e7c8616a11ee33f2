//! JSON for people; numbers, texts and the order of members do not change.

/// JSON text with one member or element on a line. Accepts any well-formed JSON.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let (mut is_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        if is_text {
            out.push(c);
            is_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            c if c.is_ascii_whitespace() => {}
            '{' | '[' => {
                depth += 1;
                out.push(c);
                break_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                out.truncate(out.trim_end().len());
                if !out.ends_with(['{', '[']) {
                    break_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                is_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_lines_and_nothing_else_changes() {
        let json =
            "{\"b\": 1.00,\"a\":[ ], \"c\":[1e2,{ }],\n\"t\":\"a\\\"{ , :\\\\\",\"u\":\"[\"}";
        let expected = "{\n  \"b\": 1.00,\n  \"a\": [],\n  \"c\": [\n    1e2,\n    {}\n  ],\n  \
            \"t\": \"a\\\"{ , :\\\\\",\n  \"u\": \"[\"\n}";
        assert_eq!(pretty(json), expected);
        for same in ["1", "\"a b\"", "null", "[]", "{}", "12345678901234567890"] {
            assert_eq!(pretty(same), same);
        }
    }
}
