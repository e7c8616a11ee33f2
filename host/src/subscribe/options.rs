use std::time::Duration;

/// Limits of subscriptions.
#[derive(Debug, Clone)]
pub struct Options {
    /// Limit for the number of subscriptions of this host. Further ones are rejected.
    pub subscriptions_max: usize,
    /// Number of newest events that are kept in memory for all subscriptions. A subscription that
    /// lags further reads from the store.
    pub ring_events_max: usize,
    /// Limit for the bytes of these events.
    pub ring_bytes_max: usize,
    /// Limit for the number of events that one subscription reads at once while it catches up.
    pub page_events_max: usize,
    /// Limit for the bytes of these events. A single larger event is still read.
    pub page_bytes_max: usize,
    /// Limit for the bytes of such pages that all subscriptions hold in memory. If there is no room
    /// for another page, that page has a single event.
    pub catch_up_bytes_max: usize,
    /// Limit for the number of pages that are read at the same time for catching up.
    pub reads_max: usize,
    /// Time without a message after which a subscription sends a heartbeat.
    pub heartbeat: Duration,
    /// How long a shutdown waits for the handlers of named subscriptions.
    pub shutdown_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            subscriptions_max: 4_000,
            ring_events_max: 8_192,
            ring_bytes_max: 32 << 20,
            page_events_max: 256,
            page_bytes_max: 256 << 10,
            catch_up_bytes_max: 128 << 20,
            reads_max: 16,
            heartbeat: Duration::from_secs(15),
            shutdown_wait: Duration::from_secs(5),
        }
    }
}
