//! A problem as people read it: the text of a guest with its line breaks, and each fault once.

use std::collections::BTreeMap;

use quipu::model::escaped;

/// How the runtime begins the text of a guest, which it quotes and escapes.
const MARKS: [&str; 2] = ["it says \"", "it said \""];

/// The faults that were shown, each with the first scenario that had it.
#[derive(Debug, Default)]
pub(super) struct Shown<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Shown<'a> {
    /// The lines of a problem of a scenario. A fault of a guest that an earlier scenario had is only
    /// named.
    pub fn lines(&mut self, scenario: &'a str, text: &'a str) -> Vec<String> {
        let (place, fault) = divided(text);
        if MARKS.iter().any(|mark| fault.contains(mark)) {
            match self.0.get(fault) {
                Some(first) if *first != scenario => {
                    let line = format!("{place}the same fault as in the scenario {first:?}");
                    return vec![line];
                }
                Some(_) => {}
                None => _ = self.0.insert(fault, scenario),
            }
        }
        let text = unquoted(text);
        let lines = text.split('\n').map(|line| escaped(line, &[]).into_owned());
        lines.collect()
    }
}

/// Divides a problem into its place in the scenario, as `given 2: `, and the rest.
fn divided(text: &str) -> (&str, &str) {
    let Some((place, _)) = text.split_once(": ") else {
        return ("", text);
    };
    match place == "when" || place.starts_with("given ") {
        true => text.split_at(place.len() + 2),
        false => ("", text),
    }
}

/// Shows the text of a guest with its line breaks, without quotes, if it has several lines.
fn unquoted(text: &str) -> String {
    let mut marks = MARKS.iter().filter_map(|mark| text.split_once(mark));
    let Some((before, quoted)) = marks.next() else {
        return text.to_owned();
    };
    let mark = if text[before.len()..].starts_with(MARKS[0]) {
        "it says"
    } else {
        "it said"
    };
    let mut shown = String::with_capacity(quoted.len());
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if shown.contains('\n') => {
                let after = &quoted[at + 1..];
                let indented = shown.replace('\n', "\n  ");
                return format!("{before}{mark}:\n  {indented}{after}");
            }
            '"' => break,
            '\\' => match chars.next() {
                Some((_, 'n')) => shown.push('\n'),
                Some((_, c @ ('"' | '\\' | '\''))) => shown.push(c),
                // Other characters stay escaped.
                Some((_, other)) => shown.extend(['\\', other]),
                None => break,
            },
            c => shown.push(c),
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_guest_has_its_line_breaks() {
        let mut shown = Shown::default();
        let text =
            r#"when: internal in bank (5bf98): it says "TypeError: \"x\"\n  app.py:3\tin f\u{1b}""#;
        assert_eq!(
            shown.lines("one", text),
            [
                "when: internal in bank (5bf98): it says:",
                "  TypeError: \"x\"",
                r"    app.py:3\tin f\u{1b}",
            ]
        );
        let text = r#"trap in bank (5bf98): unreachable; it said "one line""#;
        assert_eq!(shown.lines("one", text), [text]);
    }

    #[test]
    fn a_fault_is_shown_once_and_then_named_by_its_scenario() {
        let fault = r#"internal in bank (5bf98): it says "a\nb""#;
        let (given, when) = (format!("given 2: {fault}"), format!("when: {fault}"));
        let mut shown = Shown::default();
        assert_eq!(shown.lines("one", &given).len(), 3);
        assert_eq!(
            shown.lines("two", &when),
            [r#"when: the same fault as in the scenario "one""#]
        );
        let other = "when: command open can't be read: owner";
        for scenario in ["one", "two"] {
            assert_eq!(shown.lines(scenario, other), [other]);
        }
    }

    #[test]
    fn no_text_controls_the_terminal() {
        let mut shown = Shown::default();
        let lines = shown.lines("one", "rejected as a: \u{1b}[2J\nb");
        assert_eq!(lines, [r"rejected as a: \u{1b}[2J", "b"]);
    }
}
