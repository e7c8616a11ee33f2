use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use console::Term;

use super::exit::WrongUse;
use super::table;
use quipu_api::Code;
use quipu_author::conform::RULES;

/// Explain an error code: what it means, and what to do
///
/// Without a code, lists all of them. Also explains the rules of `quipu conform`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as not-fresh, or the rule of `quipu conform`, as batching
    code: Option<String>,
}

/// The page with a section for each rule of `quipu conform`.
const CONTRACT: &str = include_str!("../../../docs/src/guests/conform.md");
/// The longest line of a page outside of its code blocks.
const COLUMNS_MAX: usize = 80;

macro_rules! pages {
    ($($code:literal)*) => {
        /// The page of each error code in the book.
        const PAGES: &[(&str, &str)] = &[$((
            $code,
            include_str!(concat!("../../../docs/src/reference/errors/", $code, ".md")),
        ),)*];
    };
}

pages! {
    "bad-request"
    "body-timeout"
    "category-owned"
    "claim-lost"
    "conflict"
    "document-not-found"
    "duplicate-in-append"
    "event-not-found"
    "events-lost"
    "finding-not-acknowledged"
    "forbidden"
    "guest-fault"
    "idempotency-key-reused"
    "import-refused"
    "internal"
    "invalid-command"
    "method-not-allowed"
    "module-not-found"
    "module-refused"
    "not-found"
    "not-fresh"
    "not-ready"
    "not-settled"
    "overloaded"
    "partial-duplicate"
    "preflight-failed"
    "projection-failing"
    "projection-not-found"
    "projection-refused"
    "proposal-closed"
    "proposal-not-found"
    "rate-limited"
    "rejected"
    "reload-refused"
    "snapshot-refused"
    "state-not-shown"
    "store-damaged"
    "store-unavailable"
    "stream-archived"
    "stream-not-found"
    "stream-too-long"
    "subscription-held"
    "subscription-not-found"
    "tenant-not-found"
    "tenant-refused"
    "tenant-suspended"
    "timeout"
    "token-not-found"
    "token-refused"
    "too-large"
    "too-many-acknowledged"
    "too-many-proposals"
    "too-many-subscriptions"
    "truncate-refused"
    "unauthorized"
    "unknown-category"
    "unreadable-event"
    "unsigned"
    "wrong-expected-version"
}

impl Explain {
    pub fn run(self) -> Result<()> {
        let mut out = io::stdout().lock();
        let columns = table::width(&Term::stdout()).map_or(COLUMNS_MAX, |it| it.min(COLUMNS_MAX));
        let Some(code) = self.code else {
            write!(out, "{}", list(columns))?;
            return Ok(());
        };
        let page = PAGES.iter().find(|(name, _)| *name == code);
        let page = page.map(|(_, page)| (*page).to_owned());
        let page = page.or_else(|| rule(&code));
        let page = page.ok_or_else(|| WrongUse(unknown(&code)))?;
        write!(out, "{}", wrapped(&plain(&page), columns))?;
        Ok(())
    }
}

/// The section of a rule of `quipu conform`, as a page.
fn rule(name: &str) -> Option<String> {
    let rule = RULES.iter().find(|rule| rule.name == name)?;
    let (_, section) = CONTRACT.split_once(&format!("\n### {name}\n"))?;
    let section = section.split("\n### ").next()?.replace("**", "");
    let (text, section) = (rule.text, section.trim());
    Some(format!(
        "# {name}\n\nA rule of `quipu conform`: {text}.\n\n{section}\n"
    ))
}

/// Every code with its status and its title. A title that is too long continues on
/// indented lines.
fn list(columns: usize) -> String {
    let mut out = String::new();
    for code in Code::ALL {
        let begin = format!("{:24} {} ", code.as_str(), code.status());
        let indent = " ".repeat(begin.len());
        out.push_str(&begin);
        push_words(&mut out, code.title(), &indent, begin.len(), columns);
    }
    out
}

fn unknown(code: &str) -> String {
    let known = Code::ALL.iter().map(|code| code.as_str());
    let known = known.chain(RULES.iter().map(|rule| rule.name));
    let nearest =
        known.max_by(|one, other| strsim::jaro(one, code).total_cmp(&strsim::jaro(other, code)));
    match nearest {
        Some(nearest) => format!(
            "there is no error code {code:?}; did you mean {nearest}? `quipu explain` lists all"
        ),
        None => format!("there is no error code {code:?}"),
    }
}

/// A page without the marks of links.
fn plain(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((start, label)) = before.rsplit_once('[') else {
            text.push_str(before);
            text.push_str("](");
            rest = after;
            continue;
        };
        text.push_str(start);
        text.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

/// Wraps the paragraphs of a page. Code blocks stay as they are. A table that is too wide becomes a
/// list.
fn wrapped(page: &str, columns: usize) -> String {
    let mut out = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with(FENCE) {
            push(&mut out, line);
            for line in lines.by_ref() {
                push(&mut out, line);
                if line.starts_with(FENCE) {
                    break;
                }
            }
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|next| next.starts_with('|')) {
                rows.push(row);
            }
            push_table(&mut out, &rows, columns);
        } else if is_text(line) {
            let mut text = line.to_owned();
            while let Some(more) = lines.next_if(|next| is_text(next) && !next.starts_with("- ")) {
                text.push(' ');
                text.push_str(more);
            }
            push_wrapped(&mut out, &text, columns);
        } else {
            push(&mut out, line);
        }
    }
    out
}

/// The line before and after a code block.
const FENCE: &str = "```";

/// Whether a line is one of a paragraph.
fn is_text(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(['#', '|']) && !line.starts_with(FENCE)
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Adds a paragraph.
fn push_wrapped(out: &mut String, text: &str, columns: usize) {
    let indent = if text.starts_with("- ") { "  " } else { "" };
    push_words(out, text, indent, 0, columns);
}

/// Adds words to a line that has this width, and to further lines with an indent. A word that is
/// longer than a line has one of its own.
fn push_words(out: &mut String, text: &str, indent: &str, mut width: usize, columns: usize) {
    for (index, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && width + 1 + length > columns {
            out.push('\n');
            out.push_str(indent);
            width = indent.len();
        } else if index > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
}

/// Adds a table as it is, or a list of its rows without the heading.
fn push_table(out: &mut String, rows: &[&str], columns: usize) {
    if rows.iter().all(|row| row.chars().count() <= columns) {
        for row in rows {
            push(out, row);
        }
        return;
    }
    // After the heading comes a line of dashes.
    for row in rows.iter().skip(2) {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        if let Some((first, others)) = cells.split_first() {
            let text = format!("- {first}: {}", others.join("; "));
            push_wrapped(out, &text, columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        let codes = Code::ALL.iter().map(|code| code.as_str());
        let mut codes: Vec<_> = codes.collect();
        codes.sort_unstable();
        let pages: Vec<_> = PAGES.iter().map(|(code, _)| *code).collect();
        assert_eq!(pages, codes);
    }

    #[test]
    fn every_rule_of_conform_has_a_page() {
        for known in RULES {
            let page = wrapped(&plain(&rule(known.name).unwrap()), COLUMNS_MAX);
            assert!(page.starts_with(&format!("# {}\n\nA rule of", known.name)));
            for part in ["\n- Typical cause: ", "\n- Remedy: ", "\n- Example: "] {
                assert!(page.contains(part), "{page}");
            }
            assert!(!page.contains("###") && !page.contains("]("), "{page}");
            for line in page.lines() {
                assert!(line.chars().count() <= COLUMNS_MAX, "{line}");
            }
        }
        assert!(unknown("batchin").contains("did you mean batching?"));
    }

    #[test]
    fn no_line_of_a_page_is_longer_than_80_columns() {
        for (code, page) in PAGES {
            let (page, mut is_code) = (plain(page), false);
            for line in wrapped(&page, COLUMNS_MAX).lines() {
                is_code ^= line.starts_with(FENCE);
                let fits = line.chars().count() <= COLUMNS_MAX;
                assert!(is_code || fits, "{code}: {line}");
            }
        }
    }

    #[test]
    fn no_line_of_the_list_is_longer_than_80_columns() {
        let list = list(COLUMNS_MAX);
        for line in list.lines() {
            assert!(line.chars().count() <= COLUMNS_MAX, "{line}");
        }
        let codes = list.lines().filter(|line| !line.starts_with(' '));
        assert_eq!(codes.count(), Code::ALL.len());
        let words = list.split_whitespace().collect::<Vec<_>>().join(" ");
        for code in Code::ALL {
            assert!(words.contains(code.title()), "{}", code.as_str());
        }
    }

    #[test]
    fn paragraphs_and_wide_tables_are_wrapped() {
        let page = "# a-code\n\none two three\nfour five\n\n```json\n{\"long\": \"as it is, always\"}\n```\n\n\
                    | a | b | c |\n| --- | --- | --- |\n| `x` | the first | of all |\n";
        let expected = "# a-code\n\none two three\nfour five\n\n```json\n{\"long\": \"as it is, always\"}\n```\n\n\
                        - `x`: the\n  first; of all\n";
        assert_eq!(wrapped(page, 15), expected);
        assert_eq!(wrapped("one two\nthree\n", 80), "one two three\n");
        let table = "| a | b |\n| --- | --- |\n| x | y |\n";
        assert_eq!(wrapped(table, 80), table);
    }

    #[test]
    fn links_are_shown_as_their_texts() {
        let page =
            "See [Running a host](../running.md#pages) and [`forbidden`](forbidden.md). a[0](x)\n";
        assert_eq!(plain(page), "See Running a host and `forbidden`. a0\n");
        assert_eq!(plain("no link ](x"), "no link ](x");
    }
}
