/// A part of a host, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name, as `committer` or `worker 1`.
    pub name: String,
    /// What it does now.
    pub state: PartState,
    /// How often it panicked and was restarted since the host was started.
    pub restarts: u64,
    /// What the last panic said.
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

/// What a part of a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// It works, or waits for work.
    Running,
    /// It panicked, and is about to restart.
    Restarting,
    /// It panicked, and does not restart: the host has to end.
    Failed,
}
