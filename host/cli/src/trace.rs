use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use console::{measure_text_width, truncate_str};
use reqwest::Method;

use super::execute::one_lined;
use super::table::{counted, printable};
use super::{Client, Connection};
use quipu_api::{TraceEntry, TraceView};

/// Columns of a line.
const COLUMNS: usize = 80;
/// The deepest level that is indented.
const LEVELS_MAX: usize = 8;
/// Digits of a digest: enough to name a module in other commands.
const DIGEST_DIGITS: usize = 12;

/// Show the causes and the consequences of an event or a command
///
/// Prints a tree: a message is followed by those that it led to, as their causation id says. Events
/// with the same correlation id belong to one conversation. Rejected commands are part of it, as
/// far as they are stored. * marks what the id names. The log is searched from its newest event on,
/// within bounds; a position, or an id that the host made, is found at once.
#[derive(Debug, Args)]
pub struct Trace {
    /// A position, or the id of an event, of a command or of a conversation
    #[arg(value_name = "EVENT|COMMAND|CORRELATION")]
    id: String,
    /// Search the id only in this stream
    #[arg(long)]
    stream: Option<String>,
    /// Search the id only before position N
    #[arg(long, value_name = "N")]
    before: Option<u64>,
    /// At most N events and rejections
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Trace {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.stream.iter().map(|it| ("stream", it.clone())));
        query.extend(self.before.map(|it| ("before", it.to_string())));
        let request = client.request(Method::GET, &["v1", "trace", &self.id]);
        let body = client.send(request.query(&query)).await?.text().await?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", one_lined(&body))?;
            return Ok(out.flush()?);
        }
        let trace: TraceView = serde_json::from_str(&body)?;
        write_tree(&trace, &mut out)?;
        Ok(out.flush()?)
    }
}

/// The tree with its heading, and what may be missing.
fn write_tree(trace: &TraceView, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", heading(trace))?;
    for (index, entry) in trace.entries.iter().enumerate() {
        let branches = branches(&trace.entries, index);
        for line in lines(entry, &branches) {
            writeln!(out, "{line}")?;
        }
    }
    if trace.left_out > 0 {
        let count = trace.left_out;
        writeln!(out, "left out: {count} of streams that you may not read")?;
    }
    match trace.cut.as_deref() {
        None => Ok(()),
        Some("limit") => writeln!(out, "there may be more; --limit shows more"),
        Some(_) => writeln!(
            out,
            "there may be more: searched positions {} to {} of {}",
            trace.searched_from, trace.searched_to, trace.head
        ),
    }
}

fn heading(trace: &TraceView) -> String {
    let events = trace.entries.iter().filter(|it| it.rejection.is_none());
    let events = events.count();
    let rejections = trace.entries.len() - events;
    let mut counts = counted(events as u64, "event", "events");
    if rejections > 0 {
        let rejections = counted(rejections as u64, "rejection", "rejections");
        counts += &format!(", {rejections}");
    }
    let found_as = &trace.found_as;
    cut(&format!("{found_as} {}: {counts}", printable(&trace.id)))
}

/// The lines before an entry that connect it with its cause.
fn branches(entries: &[TraceEntry], index: usize) -> String {
    let depth = depth_of(&entries[index]);
    let mut branches = String::new();
    for level in 1..=depth {
        // Whether another entry of this level follows below the same cause.
        let mut later = entries[index + 1..].iter().map(depth_of);
        let next = later.find(|other| *other <= level);
        let has_next = next == Some(level);
        branches += match (level == depth, has_next) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        };
    }
    branches
}

fn depth_of(entry: &TraceEntry) -> usize {
    usize::try_from(entry.depth).map_or(LEVELS_MAX, |depth| depth.min(LEVELS_MAX))
}

/// An entry on as few lines as fit: what happened where, then who decided and when.
fn lines(entry: &TraceEntry, branches: &str) -> Vec<String> {
    let mark = if entry.is_match { " *" } else { "" };
    let name = match &entry.rejection {
        Some(code) => format!("{} rejected: {}", entry.r#type, code),
        None => entry.r#type.clone(),
    };
    let stream = printable(&entry.stream);
    let what = format!("{stream} v{} {}{mark}", entry.version, printable(&name));
    let module = match &entry.module {
        Some(digest) => digest.chars().take(DIGEST_DIGITS).collect(),
        None => "appended".to_owned(),
    };
    let mut facts = vec![module];
    facts.extend(entry.principal.as_deref().map(printable));
    facts.push(seconds(&entry.recorded_at));
    let facts = facts.join("  ");
    let one = format!("{branches}{what}  {facts}");
    if measure_text_width(&one) <= COLUMNS {
        return vec![one];
    }
    let below = branches.replace("├─", "│ ").replace("└─", "  ");
    let first = format!("{branches}{what}");
    vec![cut(&first), cut(&format!("{below}  {facts}"))]
}

/// A time without its fractions of a second.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

fn cut(line: &str) -> String {
    truncate_str(line, COLUMNS, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(depth: u64, stream: &str) -> TraceEntry {
        TraceEntry {
            depth,
            cause: None,
            position: Some(1),
            id: Some("0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f".to_owned()),
            stream: stream.to_owned(),
            version: 1,
            r#type: "opened".to_owned(),
            recorded_at: "2026-12-01T18:00:00.123456Z".to_owned(),
            rejection: None,
            command_id: None,
            correlation_id: None,
            causation_id: None,
            module: Some("0123456789abcdef".repeat(4)),
            plan: 1,
            principal: Some("ann".to_owned()),
            is_match: depth == 0,
        }
    }

    fn shown(entries: Vec<TraceEntry>, left_out: u64, cut: Option<&str>) -> String {
        let trace = TraceView {
            id: "k1".to_owned(),
            found_as: "command".to_owned(),
            entries,
            left_out,
            cut: cut.map(str::to_owned),
            searched_from: 1,
            searched_to: 9,
            head: 12,
        };
        let mut out = Vec::new();
        write_tree(&trace, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn consequences_are_below_their_cause() {
        let entries = vec![
            entry(0, "a-1"),
            entry(1, "b-1"),
            entry(2, "c-1"),
            entry(1, "d-1"),
        ];
        let expected = "\
command k1: 4 events
a-1 v1 opened *  0123456789ab  ann  2026-12-01T18:00:00Z
├─ b-1 v1 opened  0123456789ab  ann  2026-12-01T18:00:00Z
│  └─ c-1 v1 opened  0123456789ab  ann  2026-12-01T18:00:00Z
└─ d-1 v1 opened  0123456789ab  ann  2026-12-01T18:00:00Z
left out: 2 of streams that you may not read
there may be more: searched positions 1 to 9 of 12
";
        assert_eq!(shown(entries, 2, Some("search")), expected);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal() {
        let long = format!("{}-{}", "a".repeat(40), "\u{1f9e8}".repeat(60));
        let entries = (0..40).map(|depth| entry(depth, &long)).collect();
        for line in shown(entries, 0, Some("limit")).lines() {
            assert!(measure_text_width(line) <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn no_text_of_strangers_controls_the_terminal() {
        let mut hostile = entry(0, "a-1");
        hostile.r#type = "\u{1b}[2Jx".to_owned();
        hostile.principal = Some("\u{202e}ann".to_owned());
        let shown = shown(vec![hostile], 0, None);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
}
