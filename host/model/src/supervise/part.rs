/// A part of a host and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name, such as `committer` or `worker 1`.
    pub name: String,
    /// Current state.
    pub state: PartState,
    /// Number of restarts after a panic since the host started.
    pub restarts: u64,
    /// Message of the last panic.
    pub cause: Option<String>,
}

impl Part {
    pub(super) fn running(name: String) -> Self {
        Self {
            name,
            state: PartState::Running,
            restarts: 0,
            cause: None,
        }
    }
}

/// State of a part of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// It works or waits for work.
    Running,
    /// It panicked and is about to restart.
    Restarting,
    /// It panicked and does not restart: the host must shut down.
    Failed,
}
