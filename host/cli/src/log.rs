//! The log of a host on stderr: one line for each event, whatever guests and clients send.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, OnceLock};

use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::log_format::{self, Form};
use quipu::model::escaped;
use quipu_server::LogRing;

/// Lines that wait to be written; further ones are lost.
const LINES_MAX: usize = 10_000;

type Change = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// Changes what the log of this process shows.
static CHANGE: OnceLock<Box<Change>> = OnceLock::new();

/// The last lines of the log of this process.
static RING: LazyLock<LogRing> = LazyLock::new(LogRing::default);

/// The last lines of the log of this process.
pub fn ring() -> LogRing {
    RING.clone()
}

/// Keeps the last lines.
struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        RING.push(
            *metadata.level(),
            metadata.target(),
            log_format::line(event),
        );
    }
}

/// What the log shows, for example `info` or `quipu=debug`.
///
/// # Errors
/// When the text is not a filter.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    let builder = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    builder.parse(text).map_err(|error| error.to_string())
}

/// Sets what the log shows.
///
/// # Errors
/// When the text is not a filter.
pub fn set(text: &str) -> Result<(), String> {
    let filter = filter(text)?;
    match CHANGE.get() {
        Some(change) => change(filter),
        None => Ok(()),
    }
}

/// Starts the log. Until [`set`] it shows what the variable `QUIPU_LOG` wants. A separate thread
/// writes the lines until the returned guard is dropped: a slow or closed reader can lose lines but
/// never delays a request.
pub fn start() -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_MAX)
        .finish(io::stderr());
    let filter = EnvFilter::builder()
        .with_env_var("QUIPU_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Lines(writer.clone()))
        .with_ansi(io::stderr().is_terminal())
        // Otherwise the subscriber would report its own errors on the same broken output, and
        // panic.
        .log_internal_errors(false)
        .event_format(Form::default())
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    // Another test of this process may have installed a subscriber already.
    if subscriber.finish().with(Keeper).try_init().is_ok() {
        let change = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        _ = CHANGE.set(Box::new(change));
    }
    guard
}

/// Writes each event on one line.
struct Lines(NonBlocking);

impl Write for Lines {
    /// Receives a complete event from the formatter.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        match log_format::is_json_now() {
            true => self.0.write_all(&one_line(event))?,
            false => self.0.write_all(&one_line(&with_request(event)))?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event with the request that it belongs to. It is called where the event happens.
fn with_request(event: &[u8]) -> Cow<'_, [u8]> {
    let fields = quipu_server::log_fields();
    let Some(line) = event.strip_suffix(b"\n").filter(|_| !fields.is_empty()) else {
        return Cow::Borrowed(event);
    };
    let mut line = line.to_vec();
    let text = String::from_utf8_lossy(event);
    let is_new = |name: &str| !text.contains(&format!(" {name}="));
    for (name, value) in fields.into_iter().filter(|(name, _)| is_new(name)) {
        line.extend(format!(" {name}={value:?}").into_bytes());
    }
    line.push(b'\n');
    Cow::Owned(line)
}

/// An event without line breaks inside. The formatter's own colours stay; it has escaped all
/// others.
fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(event);
    let (line, end) = match text.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (&*text, ""),
    };
    match escaped(line, &['\t', '\u{1b}']) {
        Cow::Borrowed(_) => Cow::Borrowed(event),
        Cow::Owned(line) => Cow::Owned((line + end).into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let colours = b"\x1b[32m INFO\x1b[0m quipu: ready\tnow\n";
        assert_eq!(&*one_line(colours), colours);
        let forged = b" WARN quipu: it said x\n2026-11-30T00:00:00Z ERROR quipu: y\r\n";
        let line = " WARN quipu: it said x\\n2026-11-30T00:00:00Z ERROR quipu: y\\r\n";
        assert_eq!(one_line(forged), line.as_bytes());
        assert_eq!(&*one_line(b""), b"");
    }
}
