//! Whether a host can work.

use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::store;
use crate::supervise::{Part, PartState, Supervisor};

/// The name of the check that the store can be written.
pub const STORE_WRITER: &str = "writer";
/// The name of the check that the store can be read.
pub const STORE_READER: &str = "reader";

/// Whether a host can do what callers need.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The checks, in the order in which callers would notice a failure.
    pub checks: Vec<Check>,
}

/// One thing that callers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `writer`, `reader`, or the name of a part.
    pub name: String,
    /// Why it does not work; none while it works.
    pub fault: Option<String>,
    /// What callers may read of the fault of a store.
    pub cause_of_store: Option<&'static str>,
    /// How often it panicked and was restarted.
    pub restarts: u64,
    /// The message of the last panic.
    pub cause: Option<String>,
}

type ProbeResult = Result<store::Result<()>, Elapsed>;

impl Readiness {
    /// Returns whether everything that callers need works.
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.fault.is_none())
    }

    pub(super) fn of(
        supervisor: &Supervisor,
        (writing, reading): (ProbeResult, ProbeResult),
        wait_max: Duration,
    ) -> Self {
        let tried = |name: &str, tried: ProbeResult| Check {
            name: name.to_owned(),
            cause_of_store: match &tried {
                Ok(Err(error)) => error.cause(),
                _ => None,
            },
            fault: match tried {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {wait_max:?}")),
            },
            restarts: 0,
            cause: None,
        };
        let mut checks = vec![tried(STORE_WRITER, writing), tried(STORE_READER, reading)];
        checks.extend(supervisor.parts().into_iter().map(Check::of));
        Self { checks }
    }
}

impl Check {
    fn of(part: Part) -> Self {
        let fault = match part.state {
            PartState::Running => None,
            PartState::Restarting => Some("it panicked and is being restarted".to_owned()),
            PartState::Failed => Some("it panicked: the host has to end".to_owned()),
        };
        Self {
            name: part.name,
            fault,
            cause_of_store: None,
            restarts: part.restarts,
            cause: part.cause,
        }
    }
}
