//! The only import: a log that guests can write but not read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::bindings::{DIAGNOSTICS, Level};
use super::fault::bounded;
use super::sandbox::State;
use super::{Fuel, Limits};
use quipu_model::escaped;

/// Fuel for a message, in addition to one unit per byte. A guest that logs endlessly runs out of
/// fuel.
const FUEL_PER_MESSAGE: Fuel = 1_000;

/// The log of one instance.
pub(super) struct Diagnostics {
    component: Arc<str>,
    bytes_max: usize,
    per_second_max: u32,
    second: Option<Instant>,
    count: u32,
    dropped: u32,
    /// Last error message logged in this call.
    last_error: Option<String>,
}

impl Diagnostics {
    pub(super) fn new(component: Arc<str>, limits: &Limits) -> Self {
        Self {
            component,
            bytes_max: limits.message_bytes_max,
            per_second_max: limits.messages_per_second_max,
            second: None,
            count: 0,
            dropped: 0,
            last_error: None,
        }
    }

    pub(super) fn begin_call(&mut self) {
        self.last_error = None;
    }

    pub(super) fn take_last_error(&mut self) -> Option<String> {
        self.last_error.take()
    }

    fn write(&mut self, level: Level, message: String) {
        if self.is_within_rate() {
            emit(&self.component, level, &message);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        if matches!(level, Level::Error) {
            self.last_error = Some(message);
        }
    }

    /// Counts messages per second. When a new second begins, logs how many messages were dropped.
    fn is_within_rate(&mut self) -> bool {
        let now = Instant::now();
        let goes_on = self
            .second
            .is_some_and(|began| now.duration_since(began) < Duration::from_secs(1));
        if !goes_on {
            if self.dropped > 0 {
                let (component, dropped) = (&*self.component, self.dropped);
                tracing::warn!(target: "quipu::guest", component, dropped, "messages dropped");
            }
            (self.second, self.count, self.dropped) = (Some(now), 0, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.per_second_max
    }
}

fn emit(component: &str, level: Level, message: &str) {
    // A guest writes exactly one line, which can't look like a line of the host.
    let message = escaped(message, &['\t']);
    match level {
        Level::Trace => tracing::trace!(target: "quipu::guest", component, "{message}"),
        Level::Debug => tracing::debug!(target: "quipu::guest", component, "{message}"),
        Level::Info => tracing::info!(target: "quipu::guest", component, "{message}"),
        Level::Warn => tracing::warn!(target: "quipu::guest", component, "{message}"),
        Level::Error => tracing::error!(target: "quipu::guest", component, "{message}"),
    }
}

/// Makes the log available to guests.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance(DIAGNOSTICS)?
        .func_wrap("log", |mut store: StoreContextMut<'_, State>, call| {
            let (level, message): (Level, WasmStr) = call;
            let (length, text) = {
                let text = message.to_str(&store)?;
                let bytes_max = store.data().diagnostics.bytes_max;
                (text.len(), bounded(&text, bytes_max).to_owned())
            };
            let left = store.get_fuel()?;
            let cost = FUEL_PER_MESSAGE.saturating_add(length as u64);
            store.set_fuel(left.saturating_sub(cost))?;
            store.data_mut().diagnostics.write(level, text);
            Ok(())
        })
}
