//! The command that lines of the log belong to.
//!
//! Threads of the engine work for many callers. While one of them handles a command, this module
//! knows which, so that a program that writes the log can name the trace and the command in each
//! line. An entered command costs two reference counts; its fields are made only for a line.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::meters::SpanIds;
use crate::model::{CommandRecord, StreamId};

/// Lines about commands that failed, in a second. Further ones are counted.
const LINES_PER_SECOND: u32 = 10;

thread_local! {
    static CURRENT: RefCell<Option<LoggedCommand>> = const { RefCell::new(None) };
}

/// Lines of this process about commands that failed.
static FAILED: Mutex<Limit> = Mutex::new(Limit::new());

/// A command that a thread handles.
#[derive(Debug, Clone)]
pub struct LoggedCommand {
    stream: StreamId,
    command: Arc<CommandRecord>,
    span: Option<SpanIds>,
}

impl LoggedCommand {
    pub(crate) fn new(
        stream: &StreamId,
        command: &Arc<CommandRecord>,
        span: Option<SpanIds>,
    ) -> Self {
        Self {
            stream: stream.clone(),
            command: Arc::clone(command),
            span,
        }
    }

    /// Lets the lines of this thread belong to the command until the returned value is dropped.
    pub(crate) fn enter(self) -> Entered {
        let before = CURRENT.try_with(|current| current.replace(Some(self)));
        Entered(before.ok().flatten())
    }

    /// Names and values for a line: `trace_id`, `span_id`, `stream`, `command_id`, `correlation_id`
    /// and `principal`, as far as they are known. The span is that of the command if it is traced,
    /// otherwise that of its caller.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let context = &self.command.context;
        let of_caller = context.traceparent.as_deref().and_then(SpanIds::of_caller);
        let mut fields = Vec::with_capacity(6);
        if let Some(ids) = self.span.or(of_caller) {
            fields.push(("trace_id", ids.trace()));
            fields.push(("span_id", ids.span()));
        }
        fields.push(("stream", self.stream.as_str().to_owned()));
        fields.push(("command_id", self.command.id.as_str().to_owned()));
        let correlation = context.correlation_id.as_deref();
        fields.extend(correlation.map(|id| ("correlation_id", id.to_owned())));
        let principal = context.principal.as_deref();
        fields.extend(principal.map(|name| ("principal", name.to_owned())));
        fields
    }
}

/// A command whose lines are written. The one before it continues when this value is dropped, also
/// after a panic.
#[must_use]
pub(crate) struct Entered(Option<LoggedCommand>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        // The thread may be ending.
        _ = CURRENT.try_with(|current| current.replace(before));
    }
}

/// The command that this thread handles now; none outside of the engine.
pub fn current() -> Option<LoggedCommand> {
    let current = CURRENT.try_with(|current| current.borrow().clone());
    current.ok().flatten()
}

/// Decides whether a line about a command that failed is written: at most 10 in a second. Returns
/// how many were left out before it.
pub(crate) fn may_report() -> Option<u64> {
    let mut limit = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    limit.admit(Instant::now())
}

/// Lines of the current second.
struct Limit {
    begun: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Limit {
    const fn new() -> Self {
        Self {
            begun: None,
            lines: 0,
            left_out: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        let goes_on = self
            .begun
            .is_some_and(|begun| now.saturating_duration_since(begun) < Duration::from_secs(1));
        if !goes_on {
            (self.begun, self.lines) = (Some(now), 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Command, CommandId};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn logged(id: &str, span: Option<SpanIds>) -> LoggedCommand {
        let command = Command::new("open", "{}").unwrap();
        let mut context = command.context;
        context.traceparent = Some(format!("00-{TRACE}-{PARENT}-01").into());
        context.principal = Some("ann".into());
        let id = CommandId::new(id).unwrap();
        let record = CommandRecord {
            context: context.correlated(&id),
            id,
            name: command.name,
            schema_version: 1,
            body: command.body,
            metadata: None,
            accepted_at: crate::model::Timestamp(0),
            seed: [0; 4],
        };
        let stream = "account-1".parse().unwrap();
        LoggedCommand::new(&stream, &Arc::new(record), span)
    }

    fn value(name: &str) -> Option<String> {
        let fields = current()?.fields();
        let found = fields.into_iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value)
    }

    #[test]
    fn lines_belong_to_the_innermost_command() {
        assert!(current().is_none());
        let outer = logged("d-1", None).enter();
        assert_eq!(value("command_id").as_deref(), Some("d-1"));
        assert_eq!(value("correlation_id").as_deref(), Some("d-1"));
        assert_eq!(value("principal").as_deref(), Some("ann"));
        assert_eq!(value("stream").as_deref(), Some("account-1"));
        assert_eq!(value("trace_id").as_deref(), Some(TRACE));
        assert_eq!(value("span_id").as_deref(), Some(PARENT));
        let panicked = std::panic::catch_unwind(|| {
            let ids = SpanIds::begin(Some(&format!("00-{TRACE}-{PARENT}-01")));
            let _inner = logged("d-2", Some(ids)).enter();
            assert_eq!(value("command_id").as_deref(), Some("d-2"));
            assert_eq!(value("trace_id").as_deref(), Some(TRACE));
            assert_ne!(value("span_id").as_deref(), Some(PARENT));
            std::panic::resume_unwind(Box::new("over"));
        });
        assert!(panicked.is_err());
        assert_eq!(value("command_id").as_deref(), Some("d-1"));
        drop(outer);
        assert!(current().is_none());
    }

    #[test]
    fn lines_of_a_second_are_limited_and_others_counted() {
        let mut limit = Limit::new();
        let now = Instant::now();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(limit.admit(now), Some(0));
        }
        assert_eq!(limit.admit(now), None);
        assert_eq!(limit.admit(now), None);
        let later = now + Duration::from_secs(1);
        assert_eq!(limit.admit(later), Some(2));
        assert_eq!(limit.admit(later), Some(0));
    }
}
