//! Re-decides commands after a conflict.

use std::time::{Duration, Instant};

use super::Error;
use super::request::Request;
use super::worker::{Inbox, Message};
use crate::deploy::{self, Registry};

/// The pause after a conflict is random, at most 1 ms doubled with each conflict, at most this
/// many times.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

/// Decides a command again because others wrote to the stream first: immediately after the first
/// conflict, after a pause later, until its deadline.
pub fn decide_again(runtime: &tokio::runtime::Handle, worker: &Inbox, mut request: Request) {
    if Instant::now() >= request.deadline {
        let stream = request.stream.clone();
        return request.answer(Err(Error::Conflict(stream)));
    }
    request.conflicts += 1;
    if tracing::enabled!(tracing::Level::DEBUG) {
        let _line = request.logged().enter();
        tracing::debug!(
            command = %request.command.name, conflicts = request.conflicts,
            "others wrote to the stream first; a command is re-decided"
        );
    }
    if request.conflicts == 1 {
        return worker.send(Message::Again(request));
    }
    let (pause, worker) = (pause(request.conflicts), worker.clone());
    // If the request is dropped with the task, its caller is answered that it was not decided.
    runtime.spawn(async move {
        tokio::time::sleep(pause).await;
        worker.send(Message::Again(request));
    });
}

/// Reads the plan that another host has raised. If this host can't load it, waits until the next try,
/// until a deadline.
///
/// # Errors
/// Why it can't be loaded, after the deadline.
pub async fn learn_plan(
    registry: &Registry,
    tries: &mut u32,
    deadline: Instant,
) -> Result<(), Error> {
    let Err(error) = registry.refresh().await else {
        return Ok(());
    };
    if Instant::now() >= deadline {
        return Err(match error {
            deploy::Error::Store(error) => error.into(),
            error => Error::PlanNotLoaded(error.to_string()),
        });
    }
    if *tries == 0 {
        tracing::warn!(%error, "the plan could not be read; the store rejects the old one");
    }
    // A pause even after the first time.
    *tries = (*tries).max(1) + 1;
    tokio::time::sleep(pause(*tries)).await;
    Ok(())
}

/// Returns the pause after this many conflicts: none after the first one, then a random time.
pub fn pause(conflicts: u32) -> Duration {
    if conflicts <= 1 {
        return Duration::ZERO;
    }
    let pause_max_ms = 1u64 << conflicts.min(PAUSE_DOUBLINGS_MAX);
    Duration::from_micros(rand::random_range(0..=pause_max_ms * 1_000))
}
