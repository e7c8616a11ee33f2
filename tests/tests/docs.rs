//! Checks the docs: links, what a build of the book needs, the pages of error codes, the lists of
//! operations and commands, the tests that ARCHITECTURE.md names, the rules that tests cite, and the
//! language.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "docs/rules.rs"]
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use quipu_author::conform::RULES;

/// Words that a reader has to translate. The docs of comparable projects have at most 2 of each in
/// 10,000 words.
const TELLTALES: [&str; 7] = [
    "behind", "stands", "told", "tells", "beside", "alone", "anew",
];
const TELLTALES_MAX: usize = 2;

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Adds the files below a folder that have one of these extensions.
fn find(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                find(&path, extensions, found);
            }
        } else if path
            .extension()
            .is_some_and(|it| extensions.iter().any(|known| it == *known))
        {
            found.push(path);
        }
    }
    found.sort();
}

fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(&root(), extensions, &mut found);
    found
}

/// The pages for readers: those in the root folder, and the book.
fn pages() -> Vec<PathBuf> {
    let book = root().join("docs");
    let pages = files(&["md"]).into_iter();
    let pages = pages.filter(|path| path.starts_with(&book) || path.parent() == Some(&root()));
    pages.collect()
}

/// The pages of the book.
fn book() -> Vec<PathBuf> {
    let book = root().join("docs/src");
    let pages = pages().into_iter();
    pages.filter(|page| page.starts_with(&book)).collect()
}

/// The lines of a page that are not in a code block.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// A line without its inline code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let line = without_code(line);
        for rest in line.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The anchors of a page's headings, as code hosts and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for line in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let title = title.trim().to_lowercase().replace(' ', "-");
        let is_allowed = |c: &char| c.is_alphanumeric() || "-_".contains(*c);
        let title: String = title.chars().filter(is_allowed).collect();
        let times = found.entry(title.clone()).or_default();
        all.insert(match *times {
            0 => title,
            times => format!("{title}-{times}"),
        });
        *times += 1;
    }
    all
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let leads = target.exists()
                && (anchor.is_empty()
                    || fs::read_to_string(&target)
                        .is_ok_and(|target| anchors(&target).contains(anchor)));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let listed = links(&read("docs/src/SUMMARY.md"));
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    let book = root().join("docs/src");
    for page in pages() {
        let Ok(page) = page.strip_prefix(&book) else {
            continue;
        };
        let page = page.to_str().unwrap().to_owned();
        assert!(
            page == "SUMMARY.md" || unique.contains(&page),
            "{page} is not in SUMMARY.md"
        );
    }
}

/// A line that is not a part, a page or an entry of a list is lost in the book, or ends its build.
#[test]
fn the_table_of_contents_has_only_parts_and_pages() {
    let settings = read("docs/book.toml");
    assert!(settings.contains("\ncreate-missing = false\n"));
    let mut deepest = 0;
    for line in read("docs/src/SUMMARY.md").lines() {
        let entry = line.trim_start();
        if entry.is_empty() || line.starts_with("# ") {
            deepest = 0;
            continue;
        }
        let indent = line.len() - entry.len();
        assert!(indent <= deepest, "{line}: it belongs to no page");
        let link = match entry.strip_prefix("- ") {
            Some(link) => {
                deepest = indent + 2;
                link
            }
            None => entry,
        };
        let is_link = link.starts_with('[') && link.ends_with(".md)");
        assert!(is_link && links(link).len() == 1, "{line}: not a page");
    }
}

#[test]
fn every_file_that_a_page_includes_exists() {
    for page in book() {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("{{#").skip(1) {
            let directive = rest.split("}}").next().unwrap();
            let file = directive.strip_prefix("include ");
            let file = file.map(|file| page.parent().unwrap().join(file.trim()));
            assert!(
                file.is_some_and(|file| file.is_file()),
                "{}: {{{{#{directive}}}}}",
                page.display()
            );
        }
    }
}

/// A book shows something else than is written where a code block does not end, or where a name in
/// angle brackets is taken for HTML. The check of links reads no links by reference, and headings
/// with links have other anchors.
#[test]
fn every_page_is_shown_as_it_is_written() {
    for page in book() {
        let text = fs::read_to_string(&page).unwrap();
        let page = page.display();
        assert!(text.starts_with("# "), "{page}: no title");
        let is_fence = |line: &&str| line.trim_start().starts_with("```");
        let is_open = text.lines().filter(is_fence).fold(false, |open, _| !open);
        assert!(!is_open, "{page}: a code block does not end");
        for line in prose(&text) {
            let shown = without_code(line);
            let is_html =
                |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
            assert!(
                !shown.split('<').skip(1).any(is_html),
                "{page}: HTML: {line}"
            );
            assert!(!shown.contains("]["), "{page}: by reference: {line}");
            let is_heading = line.starts_with('#');
            assert!(!is_heading || links(line).is_empty(), "{page}: {line}");
        }
    }
}

#[test]
fn every_error_code_has_a_page_and_every_page_is_a_code() {
    let codes = read("tests/golden/codes.txt");
    let codes: BTreeMap<&str, &str> = codes.lines().filter_map(|it| it.split_once(' ')).collect();
    let mut pages = Vec::new();
    find(
        &root().join("docs/src/reference/errors"),
        &["md"],
        &mut pages,
    );
    let pages: BTreeSet<String> = pages
        .iter()
        .map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<String> = codes.keys().map(|code| (*code).to_owned()).collect();
    assert_eq!(pages, known);
    let index = read("docs/src/reference/errors.md");
    for (code, status) in codes {
        let page = read(&format!("docs/src/reference/errors/{code}.md"));
        assert!(page.starts_with(&format!("# {code}\n")), "{code}: heading");
        assert!(
            page.contains(&format!("\nStatus {status} ")),
            "{code}: status"
        );
        for part in ["## What to do", "## Retry", "## Fields", "## Example"] {
            assert!(page.contains(part), "{code}: {part}");
        }
        for member in [
            format!("\"type\": \"urn:quipu:problem:{code}\""),
            format!("\"status\": {status}"),
            format!("\"code\": \"{code}\""),
        ] {
            assert!(page.contains(&member), "{code}: example: {member}");
        }
        let row = format!("| [`{code}`](errors/{code}.md) | {status} |");
        assert!(index.contains(&row), "{code}: errors.md");
    }
}

#[test]
fn every_rule_of_the_contract_has_the_section_that_its_findings_name() {
    for rule in RULES {
        let (path, anchor) = rule.page.split_once('#').unwrap();
        let (page, name) = (read(path), rule.name);
        assert!(anchors(&page).contains(anchor), "{name}: no section");
        let row = format!("| [`{name}`](#{anchor}) |");
        assert!(page.contains(&row), "{name}: table");
        let (_, section) = page.split_once(&format!("\n### {anchor}\n\n")).unwrap();
        let section = section.split("\n### ").next().unwrap();
        assert!(!section.starts_with("- "), "{name}: what it means");
        for part in ["Typical cause", "Remedy", "Example"] {
            let part = format!("\n- **{part}:** ");
            assert!(section.contains(&part), "{name}: {part}");
        }
        assert_eq!(page.matches("\n### ").count(), RULES.len());
    }
}

/// Whether a line of Rust calculates with amounts so that a stored event could make it overflow.
fn may_overflow(line: &str) -> bool {
    let is_amount = ["amount", "balance", "total", "cents"];
    let is_amount = is_amount.iter().any(|name| line.contains(name));
    let is_sum = [" += ", " -= ", " * 100"]
        .iter()
        .any(|sum| line.contains(sum));
    is_amount && is_sum
}

#[test]
fn no_guest_that_is_shown_in_rust_calculates_unchecked() {
    let mut shown = Vec::new();
    find(&root().join("host/author/templates"), &["rs"], &mut shown);
    assert!(shown.len() >= 6, "templates");
    let mut texts: Vec<String> = shown
        .iter()
        .map(|it| fs::read_to_string(it).unwrap())
        .collect();
    for page in pages()
        .iter()
        .filter(|page| !page.ends_with("coming-from.md"))
    {
        let text = fs::read_to_string(page).unwrap();
        let blocks = text.split("\n```rust").skip(1);
        texts.extend(blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned()));
    }
    assert!(texts.len() >= shown.len() + 10, "pages");
    for line in texts.iter().flat_map(|text| text.lines()) {
        assert!(!may_overflow(line), "{line}");
    }
}

#[test]
fn every_operation_is_on_the_page_about_http() {
    let page = read("docs/src/reference/http.md");
    for line in read("tests/golden/operations.txt").lines() {
        let [id, method, path] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let row = format!("| `{method} {path}` | `{id}` |");
        assert!(method == "HEAD" || page.contains(&row), "{row}");
    }
}

#[test]
fn every_command_is_on_the_page_about_the_command_line() {
    let page = read("docs/src/reference/cli.md");
    let help = read("tests/golden/help.txt");
    let commands = help.lines().filter_map(|line| line.strip_prefix("$ "));
    for command in commands.filter_map(|line| line.strip_suffix(" --help")) {
        let is_listed = [' ', '`'].iter().any(|end| {
            let start = format!("`{command}{end}");
            page.contains(&start)
        });
        assert!(is_listed, "{command}");
    }
}

#[test]
fn every_folder_of_the_code_map_exists() {
    let text = read("ARCHITECTURE.md");
    let (_, map) = text.split_once("| place | crate | content |\n").unwrap();
    let rows = map.lines().take_while(|line| line.starts_with('|'));
    let places = rows.filter_map(|row| row.split('|').nth(1));
    let places: Vec<&str> = places
        .flat_map(|it| it.split('`').skip(1).step_by(2))
        .collect();
    assert!(places.len() > 10, "{places:?}");
    for place in places {
        assert!(root().join(place).is_dir(), "{place}");
    }
}

/// The paths that `llms.txt` names: a word with `/` that begins with a folder of the repository.
fn paths_for_agents(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "`(),:".contains(c));
    let folders = ["docs/", "wit/", "example-guests/", "guest-sdk/", "tests/"];
    let is_path = |word: &&str| folders.iter().any(|folder| word.starts_with(folder));
    words.filter(is_path).collect()
}

#[test]
fn every_path_that_agents_are_given_exists() {
    let text = read("docs/src/llms.txt");
    let paths = paths_for_agents(&text);
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        assert!(root().join(path).exists(), "llms.txt: {path}");
    }
}

#[test]
fn agents_are_given_every_page_about_guests_and_every_tutorial() {
    let text = read("docs/src/llms.txt");
    let paths = paths_for_agents(&text);
    for folder in ["guests", "tutorials", "rules"] {
        let mut pages = Vec::new();
        find(&root().join("docs/src").join(folder), &["md"], &mut pages);
        assert!(pages.len() > 2, "{folder}");
        for page in pages {
            let page = page.strip_prefix(root()).unwrap().to_str().unwrap();
            assert!(paths.contains(page), "{page} is not in llms.txt");
        }
    }
}

/// The commands of the program that a page shows, in blocks and within sentences.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let spans = lines
        .clone()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let shown = lines
        .chain(spans)
        .filter(|shown| shown.starts_with("quipu "));
    let shown = shown.map(|shown| shown.split(['#', '|', '>', ';']).next().unwrap().to_owned());
    shown.collect()
}

#[test]
fn every_command_that_is_shown_has_its_options() {
    let help = read("tests/golden/help.txt");
    let parts = help.split("\n$ quipu ").skip(1);
    let help: BTreeMap<&str, &str> = parts.filter_map(|it| it.split_once(" --help\n")).collect();
    assert!(help.len() > 30);
    let mut unknown = Vec::new();
    for page in pages() {
        for shown in commands(&fs::read_to_string(&page).unwrap()) {
            let mut words = shown.split_whitespace().skip(1);
            let name = words.next().unwrap();
            let action = format!("{name} {}", words.next().unwrap_or_default());
            if name.starts_with('-') || name.chars().all(char::is_uppercase) {
                continue;
            }
            let Some(text) = help.get(&*action).or_else(|| help.get(name)) else {
                unknown.push(format!("{}: {shown}", page.display()));
                continue;
            };
            for option in shown.split(' ').filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                let is_known = [' ', '\n']
                    .iter()
                    .any(|end| text.contains(&format!("{option}{end}")));
                if !is_known && option != "--help" {
                    unknown.push(format!("{}: {option} of {shown}", page.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// A name with three underscores or more in the invariants is the name of a test.
#[test]
fn every_test_that_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let (_, invariants) = text.split_once("\n## Invariants\n").unwrap();
    check_tests(invariants.split("\n## ").next().unwrap(), 20);
}

/// The threat model names the tests that hold its claims.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    check_tests(&read("docs/src/operating/threat-model.md"), 30);
}

/// Each row of its tables is a claim.
#[test]
fn every_claim_of_the_threat_model_names_a_test() {
    let text = read("docs/src/operating/threat-model.md");
    let lines = prose(&text);
    let is_rule = |line: &&str| line.starts_with("| ---");
    let mut claims = 0;
    for (number, line) in lines.iter().enumerate() {
        let is_head = lines.get(number + 1).is_some_and(is_rule);
        if !line.starts_with("| ") || is_rule(line) || is_head {
            continue;
        }
        claims += 1;
        assert!(!named_tests(line).is_empty(), "no test holds this: {line}");
    }
    assert!(claims >= 50, "{claims}");
}

/// The names of tests in a text.
fn named_tests(text: &str) -> BTreeSet<&str> {
    let names = text.split('`').skip(1).step_by(2);
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    names.filter(is_test).collect()
}

/// Checks that the tests that a text names exist, and that there are at least `least`.
fn check_tests(text: &str, least: usize) {
    let names = named_tests(text);
    assert!(names.len() >= least, "{names:?}");
    let sources = files(&["rs"]);
    let sources: Vec<String> = sources
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for name in names {
        let declared = format!("fn {name}(");
        assert!(
            sources.iter().any(|text| text.contains(&declared)),
            "no test is called {name}"
        );
    }
}

/// The number of all words, and of each telltale.
#[derive(Default)]
struct Words {
    all: usize,
    telltales: BTreeMap<&'static str, usize>,
}

impl Words {
    fn add(&mut self, text: &str) {
        for word in text.split(|c: char| !c.is_alphabetic()) {
            self.all += usize::from(!word.is_empty());
            let word = word.to_lowercase();
            if let Some(telltale) = TELLTALES.iter().find(|telltale| **telltale == word) {
                *self.telltales.entry(telltale).or_default() += 1;
            }
        }
    }

    /// How often a telltale occurs in 10,000 words.
    fn rate(&self, telltale: &str) -> f64 {
        let count = self.telltales.get(telltale).copied().unwrap_or_default();
        count as f64 * 10_000.0 / self.all.max(1) as f64
    }

    fn report(&self, area: &str) {
        let rates = TELLTALES.map(|word| format!("{word} {:.1}", self.rate(word)));
        println!("{area}: {} words; {}", self.all, rates.join(", "));
    }
}

#[test]
fn the_docs_are_in_plain_english() {
    let mut docs = Words::default();
    for page in pages() {
        docs.add(&fs::read_to_string(page).unwrap());
    }
    docs.report("docs");
    for word in TELLTALES {
        let rate = docs.rate(word);
        assert!(
            rate <= TELLTALES_MAX as f64,
            "\"{word}\" occurs {rate:.1} times in 10,000 words of the docs, more than {TELLTALES_MAX}"
        );
    }
}

/// Published: their text can't change. The bindings are generated from them.
const FROZEN: [&str; 3] = ["wit", "migrations", "generated"];

#[test]
fn the_comments_are_in_plain_english() {
    let mut areas: BTreeMap<String, Words> = BTreeMap::new();
    for path in files(&["rs"]) {
        let below = path.strip_prefix(root()).unwrap();
        if below
            .components()
            .any(|part| FROZEN.iter().any(|it| part.as_os_str() == *it))
        {
            continue;
        }
        let area = below.components().next().unwrap().as_os_str();
        let area = area.to_string_lossy().into_owned();
        let words = areas.entry(area).or_default();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(comment) = line.trim_start().strip_prefix("//") {
                words.add(comment);
            }
        }
    }
    assert!(areas.contains_key("host"));
    for (area, words) in &areas {
        words.report(&format!("comments of {area}"));
        for word in TELLTALES {
            let rate = words.rate(word);
            assert!(
                rate <= TELLTALES_MAX as f64,
                "\"{word}\" occurs {rate:.1} times in 10,000 words of the comments of {area}, \
                 more than {TELLTALES_MAX}"
            );
        }
    }
}
