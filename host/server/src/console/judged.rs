//! What a candidate decides, next to what is recorded: the result of a preflight or of a shadow.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::layout;
use super::text::{self, Untrusted};
use quipu_api::{FindingView, JudgedView, ObjectionView, PreflightView};

/// Examples that are shown.
const EXAMPLES_MAX: usize = 30;
/// The most bytes of one side of an example.
const SIDE_MAX: usize = 2_048;

/// Decisions that agree with the recorded ones, those that differ, and those that were not made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    agree: u64,
    differ: u64,
    undecided: u64,
}

impl Counts {
    fn of(it: &JudgedView) -> Self {
        let of_events = it.different + it.rejected + it.unread + it.failed + it.impure;
        let of_rejections = it.refused_other + it.accepted + it.refused_failed;
        Self {
            agree: it.same + it.lifted + it.as_active + it.refused_same,
            differ: of_events + of_rejections,
            undecided: it.undecided,
        }
    }

    fn add(&mut self, other: Self) {
        self.agree += other.agree;
        self.differ += other.differ;
        self.undecided += other.undecided;
    }

    fn cells(self) -> Markup {
        html! {
            td.number { (self.agree) }
            td.number { (self.differ) }
            td.number { (self.undecided) }
        }
    }
}

/// The counts, the objections, and examples with both decisions side by side.
pub fn show(found: &PreflightView) -> Markup {
    html! {
        (counts(&found.commands))
        h2 { "Objections" }
        (objections(&found.objections))
        @if !found.changes.is_empty() { h2 { "Changes for others" } (changes(found)) }
        @if !found.examples.is_empty() { h2 { "Decisions that differ" } (examples(&found.examples)) }
    }
}

/// Agreeing and differing decisions, by category and by type of command.
fn counts(commands: &[JudgedView]) -> Markup {
    let mut categories: BTreeMap<&str, Counts> = BTreeMap::new();
    for it in commands {
        let counts = categories.entry(&it.category).or_default();
        counts.add(Counts::of(it));
    }
    let of_categories = html! {
        @for (category, counts) in &categories { tr { td { (Untrusted(category)) } (counts.cells()) } }
    };
    let of_commands = html! {
        @for it in commands {
            tr {
                td { (Untrusted(&it.category)) }
                td { (Untrusted(&it.command)) }
                (Counts::of(it).cells())
            }
        }
    };
    let of_category = ["Category", "Agree", "Differ", "Undecided"];
    let of_command = ["Category", "Command", "Agree", "Differ", "Undecided"];
    html! {
        h2 { "Decisions" }
        @if commands.is_empty() { p.note { "No command was decided." } }
        @else {
            (layout::table("Decisions by category", &of_category, &of_categories))
            (layout::table("Decisions by command", &of_command, &of_commands))
        }
    }
}

/// A table of objections.
pub fn objections(objections: &[ObjectionView]) -> Markup {
    let rows = html! {
        @for it in objections {
            tr {
                td { (Untrusted(&it.kind)) }
                td.number { (it.count) }
                td { (if it.blocks { "blocks" } else { "warns" }) }
                td { (Untrusted(&it.text)) }
            }
        }
    };
    html! {
        @if objections.is_empty() { p.note { "There is no objection." } }
        @else { (layout::table("Objections", &["Kind", "Count", "Effect", "Objection"], &rows)) }
    }
}

fn changes(found: &PreflightView) -> Markup {
    let rows = html! {
        @for it in &found.changes {
            tr {
                td { (Untrusted(&it.component)) }
                td { (Untrusted(&it.affected)) }
                td { (if it.breaks { "may break" } else { "compatible" }) }
                td.text { (Untrusted(&it.text)) }
            }
        }
    };
    let columns = ["Component", "Affects", "Effect", "Change"];
    layout::table("Changes for others", &columns, &rows)
}

fn examples(examples: &[FindingView]) -> Markup {
    let rows = html! {
        @for it in examples.iter().take(EXAMPLES_MAX) {
            @let sides = Sides::of(&it.text);
            tr {
                td { (place(it)) }
                td { (Untrusted(&it.kind)) @for remark in &sides.remarks { p { (Untrusted(text::cut(remark, SIDE_MAX).0)) } } }
                td.wide { del { (side(&sides.recorded)) } }
                td.wide { ins { (side(&sides.now)) } }
            }
        }
    };
    let columns = ["Decision", "Difference", "Recorded", "Candidate"];
    html! {
        (layout::table("Decisions that differ", &columns, &rows))
        @if examples.len() > EXAMPLES_MAX { p.note { "Further examples are not shown; " code { "--json" } " of the command prints up to 100." } }
    }
}

/// The decision that an example is about.
fn place(it: &FindingView) -> Markup {
    html! {
        @if let Some(stream) = &it.stream { (layout::stream(stream)) @if let Some(version) = it.version { " version " (version) } }
        @if let Some(position) = it.position { p { "position " (layout::position(position)) } }
        @if let Some(command) = &it.command { p { (Untrusted(command)) } }
    }
}

fn side(lines: &[&str]) -> Markup {
    html! {
        @if lines.is_empty() { span.none { "nothing" } }
        @for line in lines {
            @let (begin, rest) = text::cut(line, SIDE_MAX);
            p { code { (Untrusted(begin)) @if rest > 0 { "\u{2026}" } } }
        }
    }
}

/// The lines of a finding: `-` is recorded, `+` is decided by the candidate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sides<'a> {
    remarks: Vec<&'a str>,
    recorded: Vec<&'a str>,
    now: Vec<&'a str>,
}

impl<'a> Sides<'a> {
    fn of(text: &'a str) -> Self {
        let mut sides = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(recorded) = line.strip_prefix("- ") {
                sides.recorded.push(recorded);
            } else if let Some(now) = line.strip_prefix("+ ") {
                sides.now.push(now);
            } else {
                sides.remarks.push(line);
            }
        }
        sides
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_finding_are_divided_by_whose_they_are() {
        let text = "it is accepted now\n- rejected as a: b\n+ noted 1 {}\n+ noted 1 []";
        let expected = Sides {
            remarks: vec!["it is accepted now"],
            recorded: vec!["rejected as a: b"],
            now: vec!["noted 1 {}", "noted 1 []"],
        };
        assert_eq!(Sides::of(text), expected);
    }
}
