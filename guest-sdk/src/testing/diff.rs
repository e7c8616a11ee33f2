//! Two texts line by line, for the message of a test that fails.

use std::fmt::Debug;

use super::exact::{Json, pretty};

/// Lines without a change that are shown before and after a change.
const AROUND: usize = 3;
/// Above this number of cells, the lines that differ are not aligned.
const CELLS_MAX: usize = 1_000_000;

/// Panics with the lines that differ unless both values are equal.
#[track_caller]
pub(super) fn assert_same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) {
    if expected != found {
        let shown = |value: &T| format!("{value:#?}");
        panic!("{}", report(what, &shown(expected), &shown(found)));
    }
}

/// Panics with the lines that differ unless both JSON texts have the same value.
#[track_caller]
pub(super) fn assert_same_json(what: &str, expected: &str, found: &str) {
    if Json::new(expected) != Json::new(found) {
        panic!("{}", report(what, &pretty(expected), &pretty(found)));
    }
}

fn report(what: &str, expected: &str, found: &str) -> String {
    let lines = diff(expected, found);
    format!("{what}: not as expected (- expected, + found)\n{lines}")
}

/// A line, and in which text it is.
#[derive(Clone, Copy, PartialEq)]
enum Line<'a> {
    Both(&'a str),
    Expected(&'a str),
    Found(&'a str),
}

fn diff(expected: &str, found: &str) -> String {
    let expected: Vec<_> = expected.lines().collect();
    let found: Vec<_> = found.lines().collect();
    let is_same = |(a, b): &(&&str, &&str)| a == b;
    let head = expected.iter().zip(&found).take_while(is_same).count();
    let (before, expected) = expected.split_at(head);
    let (_, found) = found.split_at(head);
    let from_end = expected.iter().rev().zip(found.iter().rev());
    let tail = from_end.take_while(is_same).count();
    let (expected, after) = expected.split_at(expected.len() - tail);
    let found = &found[..found.len() - tail];

    let mut lines: Vec<_> = before.iter().map(|line| Line::Both(line)).collect();
    if expected.len().saturating_mul(found.len()) <= CELLS_MAX {
        align(expected, found, &mut lines);
    } else {
        lines.extend(expected.iter().map(|line| Line::Expected(line)));
        lines.extend(found.iter().map(|line| Line::Found(line)));
    }
    lines.extend(after.iter().map(|line| Line::Both(line)));
    shown(&lines)
}

/// Adds the lines of both texts so that as many as possible are in both.
fn align<'a>(expected: &[&'a str], found: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = found.len() + 1;
    // How many lines both texts have in common from a line of each on.
    let mut common = vec![0_u32; (expected.len() + 1) * width];
    for e in (0..expected.len()).rev() {
        for f in (0..found.len()).rev() {
            common[e * width + f] = if expected[e] == found[f] {
                common[(e + 1) * width + f + 1] + 1
            } else {
                common[(e + 1) * width + f].max(common[e * width + f + 1])
            };
        }
    }
    let (mut e, mut f) = (0, 0);
    while e < expected.len() || f < found.len() {
        if e < expected.len() && f < found.len() && expected[e] == found[f] {
            lines.push(Line::Both(expected[e]));
            (e, f) = (e + 1, f + 1);
        } else if f == found.len()
            || e < expected.len() && common[(e + 1) * width + f] >= common[e * width + f + 1]
        {
            lines.push(Line::Expected(expected[e]));
            e += 1;
        } else {
            lines.push(Line::Found(found[f]));
            f += 1;
        }
    }
}

/// Leaves out lines that are far from every change.
fn shown(lines: &[Line<'_>]) -> String {
    let is_change = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let is_near = |index: usize| {
        let near = index.saturating_sub(AROUND)..lines.len().min(index + AROUND + 1);
        lines[near].iter().any(is_change)
    };
    let mut text = String::new();
    let mut index = 0;
    while index < lines.len() {
        let gap = (index..lines.len()).take_while(|it| !is_near(*it)).count();
        if gap > 1 {
            text.push_str(&format!("  … {gap} equal lines\n"));
            index += gap;
            continue;
        }
        let (mark, line) = match lines[index] {
            Line::Both(line) => (' ', line),
            Line::Expected(line) => ('-', line),
            Line::Found(line) => ('+', line),
        };
        text.push_str(&format!("{mark} {line}\n"));
        index += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_are_marked() {
        let found = diff("a\nb\nc\nd", "a\nx\nc\nd\ne");
        assert_eq!(found, "  a\n- b\n+ x\n  c\n  d\n+ e\n");
        assert_eq!(diff("", "a"), "+ a\n");
        assert_eq!(diff("a\nb", "b"), "- a\n  b\n");
        assert_eq!(diff("b\na\nb", "b\nb\na"), "  b\n- a\n  b\n+ a\n");
    }

    #[test]
    fn equal_lines_far_from_a_change_are_counted() {
        let text = |changed: &str| {
            let lines: Vec<_> = (0..20)
                .map(|line| match line {
                    10 => changed.to_owned(),
                    line => line.to_string(),
                })
                .collect();
            lines.join("\n")
        };
        let expected = "  … 7 equal lines\n  7\n  8\n  9\n- a\n+ b\n  11\n  12\n  13\n  … 6 \
                        equal lines\n";
        assert_eq!(diff(&text("a"), &text("b")), expected);
    }

    #[test]
    fn texts_of_many_lines_are_shown_without_alignment() {
        let lines = |mark: &str| {
            let lines: Vec<_> = (0..2_000).map(|line| format!("{mark}{line}")).collect();
            lines.join("\n")
        };
        let found = diff(&lines("a"), &lines("b"));
        assert_eq!(found.lines().count(), 4_000);
        assert!(found.starts_with("- a0\n- a1\n"), "{}", &found[..20]);
    }

    #[test]
    #[should_panic(expected = "state: not as expected (- expected, + found)
  {
-   \"a\": 1.0,
+   \"a\": 1.5,
    \"b\": [
      12345678901234567891
    ]
  }
")]
    fn json_is_compared_by_value_and_shown_member_by_member() {
        let expected = r#"{"b":[12345678901234567891],"a":1.0}"#;
        assert_same_json("state", expected, expected.trim_end());
        assert_same_json(
            "state",
            expected,
            r#"{"a":1.5, "b": [12345678901234567891]}"#,
        );
    }
}
