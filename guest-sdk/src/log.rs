//! Lines for the host's log. They are write-only, so they can't make a guest impure. The host
//! limits their length and rate. Natively they go to stderr.

use crate::bindings::diagnostics::Level;

/// Logs at the finest level.
pub fn trace(message: &str) {
    write(Level::Trace, message);
}

/// Logs a line for developers.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Logs a line for operators.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Logs that something is odd, and handled.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Logs that something is wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    crate::bindings::diagnostics::log(level, message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
