use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use quipu::model::escaped;
use serde::Serialize;

use super::problem::Shown;
use super::{Coverage, Difference};

/// Longest line of the coverage. A name that is longer has a line of its own.
const COLUMNS_MAX: usize = 80;

/// The result of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Its file.
    pub file: PathBuf,
    /// Its name.
    pub name: String,
    /// What is not as expected. Empty: the scenario passed.
    pub differences: Vec<Difference>,
    /// Facts that may explain a result that is not intended.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The results of some scenario files.
#[derive(Debug, Serialize)]
pub struct Report {
    /// One for each scenario, in order.
    #[serde(rename = "scenarios")]
    pub verdicts: Vec<Verdict>,
    /// Which decisions were shown.
    pub coverage: Coverage,
    /// Facts about the components that may be mistakes.
    pub notes: Vec<String>,
}

impl Report {
    /// Number of scenarios that did not pass.
    pub fn failed(&self) -> usize {
        self.verdicts.iter().filter(|it| !it.passed()).count()
    }

    /// Writes the results for people.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut file = None;
        let mut shown = Shown::default();
        for verdict in &self.verdicts {
            if file.replace(&verdict.file) != Some(&verdict.file) {
                writeln!(out, "{}", verdict.file.display())?;
            }
            let mark = if verdict.passed() { "ok  " } else { "FAIL" };
            writeln!(out, "  {mark} {}", escaped(&verdict.name, &[]))?;
            for difference in &verdict.differences {
                match difference.expected {
                    Some(_) => {
                        let line = difference.to_string();
                        writeln!(out, "         {}", escaped(&line, &[]))?;
                    }
                    None => {
                        for line in shown.lines(&verdict.name, &difference.found) {
                            writeln!(out, "         {line}")?;
                        }
                    }
                }
            }
            for note in &verdict.notes {
                writeln!(out, "         note: {}", escaped(note, &[]))?;
            }
        }
        let (all, failed) = (self.verdicts.len(), self.failed());
        let scenarios = if all == 1 { "scenario" } else { "scenarios" };
        writeln!(out, "\n{all} {scenarios}, {failed} failed")?;
        self.write_coverage(out)?;
        for note in &self.notes {
            writeln!(out, "note: {}", escaped(note, &[]))?;
        }
        Ok(())
    }

    fn write_coverage(&self, out: &mut impl Write) -> io::Result<()> {
        let Coverage {
            commands,
            events,
            rejections,
            sources,
        } = &self.coverage;
        for (what, declared) in [
            ("commands", commands),
            ("events", events),
            ("rejections", rejections),
            ("sources", sources),
        ] {
            if declared.declared == 0 {
                continue;
            }
            let seen = declared.declared - declared.never.len();
            let begin = format!("{what}: {seen} of {} seen", declared.declared);
            writeln!(out, "{}", with_names(begin, &declared.never))?;
        }
        Ok(())
    }

    /// Writes the results as JUnit XML.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write_junit(&self, out: &mut impl Write) -> io::Result<()> {
        let mut report = quick_junit::Report::new("quipu test");
        let mut rest = &self.verdicts[..];
        while let Some(first) = rest.first() {
            let of_file = rest.iter().take_while(|it| it.file == first.file).count();
            let (verdicts, after) = rest.split_at(of_file);
            let file = first.file.display().to_string();
            let mut suite = TestSuite::new(&file);
            for verdict in verdicts {
                let mut status = TestCaseStatus::success();
                if !verdict.passed() {
                    let lines = verdict.differences.iter().map(ToString::to_string);
                    status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(lines.collect::<Vec<_>>().join("\n"));
                }
                let mut case = TestCase::new(&verdict.name, status);
                case.set_classname(&file);
                suite.add_test_case(case);
            }
            report.add_test_suite(suite);
            rest = after;
        }
        let text = report.to_string().map_err(io::Error::other)?;
        out.write_all(text.as_bytes())
    }
}

/// Adds the names that were never seen, on as many lines as they need.
fn with_names(mut text: String, never: &BTreeSet<String>) -> String {
    let mut width = text.chars().count();
    for (number, name) in never.iter().enumerate() {
        let end = if number + 1 < never.len() { "," } else { "" };
        let part = match number {
            0 => format!("; never: {name}{end}"),
            _ => format!(" {name}{end}"),
        };
        let length = part.chars().count();
        if number > 0 && width + length > COLUMNS_MAX {
            text.push_str("\n ");
            width = 1;
        }
        text.push_str(&part);
        width += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_the_coverage_is_longer_than_80_columns() {
        let never: BTreeSet<String> = (10..79).map(|it| format!("bank command-{it}")).collect();
        let text = with_names("commands: 0 of 69 seen".to_owned(), &never);
        for line in text.lines() {
            assert!(line.len() <= COLUMNS_MAX, "{line}");
        }
        let (begin, names) = text.split_once("; never: ").unwrap();
        assert_eq!(begin, "commands: 0 of 69 seen");
        let names: BTreeSet<String> = names.split(',').map(|it| it.trim().to_owned()).collect();
        assert_eq!(names, never);
        assert!(text.lines().skip(1).all(|line| line.starts_with("  bank ")));
    }

    #[test]
    fn few_names_are_on_the_line() {
        let check = |never: &[&str], text: &str| {
            let never = never.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(with_names("events: 1 of 3 seen".to_owned(), &never), text);
        };
        check(&[], "events: 1 of 3 seen");
        check(&["a b", "c"], "events: 1 of 3 seen; never: a b, c");
    }
}
