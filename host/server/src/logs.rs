//! The last lines of the host's log.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
/// How important a line is.
pub use tracing::Level as LogLevel;
use utoipa::ToSchema;

use super::failure::{Failure, Result};
use super::params::{PageSize, Params, Printable};
use super::{App, answer};
use quipu_api::{Code, Problem};

/// Most lines that are kept.
const LINES_MAX: usize = 5_000;
/// Most bytes of all lines that are kept.
const BYTES_MAX: usize = 2 << 20;
/// Longest line that is kept.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Most lines of one page.
const PAGE_MAX: usize = 1_000;
/// Longest time to wait for a line, in milliseconds.
const WAIT_MS_MAX: u64 = 20_000;

/// The last lines of a log, in memory and bounded. Cheap to clone.
#[derive(Clone)]
pub struct LogRing(Arc<Inner>);

struct Inner {
    lines: Mutex<Lines>,
    /// The number of the last line.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Lines {
    ring: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

#[derive(Clone)]
struct Line {
    number: u64,
    level: LogLevel,
    target: Box<str>,
    json: Arc<RawValue>,
}

impl Default for LogRing {
    fn default() -> Self {
        Self(Arc::new(Inner {
            lines: Mutex::default(),
            last: watch::Sender::new(0),
        }))
    }
}

impl LogRing {
    /// Adds a line: one JSON object. Old lines make room. Of a line that is too long only its
    /// length is kept.
    pub fn push(&self, level: LogLevel, target: &str, json: String) {
        let json = match json.len() <= LINE_BYTES_MAX {
            true => json,
            false => long(level, target, json.len()),
        };
        let Ok(json) = RawValue::from_string(json) else {
            return;
        };
        let mut lines = self.lines();
        lines.last += 1;
        lines.bytes += json.get().len();
        let line = Line {
            number: lines.last,
            level,
            target: target.into(),
            json: json.into(),
        };
        lines.ring.push_back(line);
        while lines.ring.len() > LINES_MAX || lines.bytes > BYTES_MAX {
            let Some(oldest) = lines.ring.pop_front() else {
                break;
            };
            lines.bytes -= oldest.json.get().len();
        }
        let last = lines.last;
        drop(lines);
        self.0.last.send_replace(last);
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `limit` lines after a number; without a number the last ones.
    fn read(&self, after: Option<u64>, limit: usize, filter: &Filter) -> Page {
        let lines = self.lines();
        let first = lines
            .ring
            .front()
            .map_or(lines.last + 1, |line| line.number);
        let lost = after.map_or(0, |after| first.saturating_sub(after.saturating_add(1)));
        let mut next = lines.last;
        let mut found: Vec<Line> = match after {
            None => {
                let newest = lines.ring.iter().rev().filter(|line| filter.admits(line));
                let mut newest: Vec<Line> = newest.take(limit).cloned().collect();
                newest.reverse();
                newest
            }
            Some(after) => {
                let later = lines.ring.iter().filter(|line| line.number > after);
                let admitted = later.filter(|line| filter.admits(line));
                admitted.take(limit + 1).cloned().collect()
            }
        };
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().map_or(next, |line| line.number);
        }
        Page { found, next, lost }
    }
}

impl fmt::Debug for LogRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogRing").finish_non_exhaustive()
    }
}

fn long(level: LogLevel, target: &str, bytes: usize) -> String {
    let message = format!("a line of {bytes} bytes is not kept; the log of the process has it");
    serde_json::json!({
        "level": level.as_str(),
        "target": target,
        "fields": {"message": message},
    })
    .to_string()
}

struct Page {
    found: Vec<Line>,
    next: u64,
    lost: u64,
}

struct Filter {
    level: LogLevel,
    target: Option<String>,
}

impl Filter {
    fn admits(&self, line: &Line) -> bool {
        let target = self.target.as_deref();
        // A level is greater the more it shows.
        line.level <= self.level && target.is_none_or(|it| is_within(&line.target, it))
    }
}

/// Whether a target is a module, or within it.
fn is_within(target: &str, module: &str) -> bool {
    let rest = target.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Which lines to read.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Only lines after this number; without it the last lines
    after: Option<u64>,
    /// The least important level: `error`, `warn`, `info`, `debug` or `trace`, by default `trace`. The log has only what its level in the configuration lets pass
    #[param(value_type = Option<String>)]
    level: Option<Printable>,
    /// Only lines of this module and those within it, for example `quipu_server`
    #[param(value_type = Option<String>)]
    target: Option<Printable>,
    /// Maximum number of lines: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<PAGE_MAX>,
    /// With `after`: how long to wait for a line, in milliseconds, up to 20000; by default 0
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    wait_ms: u64,
}

/// Lines of the log.
#[derive(Serialize, ToSchema)]
pub struct LogLines<'a> {
    /// The lines in their order, each a JSON object with `timestamp`, `level`, `target` and `fields`; with `trace_id`, `span_id`, `request`, `stream`, `command_id`, `correlation_id` and `principal` where they belong to a request or a command.
    #[schema(value_type = Vec<serde_json::Value>)]
    lines: Vec<&'a RawValue>,
    /// The value of `after` for the next page.
    next: u64,
    /// How many lines after `after` made room for newer ones before they were read.
    lost: u64,
}

/// Reads the last lines of the host's log.
///
/// The host keeps up to 5000 lines and 2 MiB of them in memory, each of at most 16 KiB. They are those of this process, of all
/// its tenants, and a restart forgets them. Lines contain names of streams and ids, and no data of
/// events.
#[utoipa::path(
    get, path = "/v1/logs", operation_id = "read_logs", tag = "operations",
    security(("token" = ["operate"])),
    params(LogsQuery),
    responses(
        (status = 200, body = LogLines, description = "Lines"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem: `forbidden` when no lines are kept for the store"),
    ),
)]
pub async fn read(State(app): State<App>, Params(query): Params<LogsQuery>) -> Result<Response> {
    let Some(ring) = &app.options.logs else {
        let detail = "lines of the log belong to the host, not to a tenant: ask without Quipu-Tenant \
                      (--tenant), with a token of the main store";
        return Err(Failure::new(Code::Forbidden, detail));
    };
    let filter = filter(&query)?;
    if query.wait_ms > WAIT_MS_MAX || query.wait_ms > 0 && query.after.is_none() {
        let detail = format!("query: wait_ms is 0 to {WAIT_MS_MAX}, and needs `after`");
        return Err(Failure::bad_request(detail));
    }
    let due = Instant::now() + Duration::from_millis(query.wait_ms);
    let mut grown = ring.0.last.subscribe();
    let page = loop {
        grown.mark_unchanged();
        let page = ring.read(query.after, query.limit.0, &filter);
        if !page.found.is_empty() || query.wait_ms == 0 {
            break page;
        }
        let waiting = tokio::select! {
            grown = timeout_at(due, grown.changed()) => grown.is_ok_and(|it| it.is_ok()),
            () = app.ending.cancelled() => false,
        };
        if !waiting {
            break page;
        }
    };
    let lines = LogLines {
        lines: page.found.iter().map(|line| &*line.json).collect(),
        next: page.next,
        lost: page.lost,
    };
    answer::json(StatusCode::OK, &lines)
}

fn filter(query: &LogsQuery) -> Result<Filter> {
    let level = match &query.level {
        None => LogLevel::TRACE,
        Some(Printable(name)) => {
            let known = name.bytes().all(|byte| byte.is_ascii_lowercase());
            let level = LogLevel::from_str(name).ok().filter(|_| known);
            level.ok_or_else(|| {
                let detail =
                    format!("query: level: {name:?} is not error, warn, info, debug or trace");
                Failure::bad_request(detail)
            })?
        }
    };
    Ok(Filter {
        level,
        target: query.target.as_ref().map(|target| target.0.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(page: &Page) -> Vec<u64> {
        page.found.iter().map(|line| line.number).collect()
    }

    fn all() -> Filter {
        Filter {
            level: LogLevel::TRACE,
            target: None,
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_lost_ones_are_counted() {
        let ring = LogRing::default();
        assert_eq!(ring.read(Some(0), 9, &all()).next, 0);
        for n in 1..=LINES_MAX + 10 {
            ring.push(LogLevel::INFO, "quipu", format!("{{\"n\":{n}}}"));
        }
        let last = (LINES_MAX + 10) as u64;
        let page = ring.read(None, 2, &all());
        assert_eq!(
            (numbers(&page), page.next, page.lost),
            (vec![last - 1, last], last, 0)
        );
        let page = ring.read(Some(0), 2, &all());
        assert_eq!(
            (numbers(&page), page.next, page.lost),
            (vec![11, 12], 12, 10)
        );
        let page = ring.read(Some(last - 1), 2, &all());
        assert_eq!(
            (numbers(&page), page.next, page.lost),
            (vec![last], last, 0)
        );
        let page = ring.read(Some(u64::MAX), 2, &all());
        assert_eq!((numbers(&page), page.lost), (vec![], 0));
    }

    #[test]
    fn long_lines_take_no_room() {
        let ring = LogRing::default();
        ring.push(LogLevel::ERROR, "quipu", "x".repeat(LINE_BYTES_MAX + 1));
        let page = ring.read(None, 9, &all());
        assert!(page.found[0].json.get().contains("16385 bytes"));
        let line = format!("\"{}\"", "x".repeat(LINE_BYTES_MAX - 2));
        for _ in 0..1_000 {
            ring.push(LogLevel::ERROR, "quipu", line.clone());
        }
        assert!(ring.lines().bytes <= BYTES_MAX);
        assert_eq!(ring.lines().ring.len(), BYTES_MAX / LINE_BYTES_MAX);
    }

    #[test]
    fn lines_have_a_level_and_a_target() {
        let ring = LogRing::default();
        let lines = [
            (LogLevel::ERROR, "quipu::engine"),
            (LogLevel::DEBUG, "quipu_server::server"),
            (LogLevel::INFO, "quipu"),
        ];
        for (level, target) in lines {
            ring.push(level, target, "{}".to_owned());
        }
        let read = |level, target: Option<&str>| {
            let target = target.map(str::to_owned);
            numbers(&ring.read(None, 9, &Filter { level, target }))
        };
        assert_eq!(read(LogLevel::TRACE, None), [1, 2, 3]);
        assert_eq!(read(LogLevel::INFO, None), [1, 3]);
        assert_eq!(read(LogLevel::TRACE, Some("quipu")), [1, 3]);
        assert_eq!(read(LogLevel::TRACE, Some("quipu::engine")), [1]);
        assert_eq!(read(LogLevel::TRACE, Some("quipu::eng")), [0; 0]);
    }
}
