use tokio::sync::watch;

/// Notifies waiters that there may be something new. A number is raised each time; it does not say
/// how much is new.
#[derive(Debug, Clone)]
pub struct Wakes {
    /// The log may have grown.
    pub log: watch::Receiver<u64>,
    /// Another host may have raised the plan.
    pub plan: watch::Receiver<u64>,
}

/// Wakes those who wait.
#[derive(Debug)]
pub(super) struct Waker {
    log: watch::Sender<u64>,
    plan: watch::Sender<u64>,
}

impl Waker {
    /// A waker, and what it wakes.
    pub(super) fn new() -> (Self, Wakes) {
        let (log, plan) = (watch::Sender::new(0), watch::Sender::new(0));
        let wakes = Wakes {
            log: log.subscribe(),
            plan: plan.subscribe(),
        };
        (Self { log, plan }, wakes)
    }

    /// The log may have grown.
    pub(super) fn log(&self) {
        self.log.send_modify(|times| *times += 1);
    }

    /// The plan may have been raised.
    pub(super) fn plan(&self) {
        self.plan.send_modify(|times| *times += 1);
    }
}
