use std::time::Duration;

/// Bounds of subscriptions.
#[derive(Debug, Clone)]
pub struct Options {
    /// Subscriptions of this host; one more is refused.
    pub subscriptions_max: usize,
    /// Newest events that are kept for all subscriptions. Who falls further behind
    /// reads them from the store.
    pub ring_events_max: usize,
    /// Bytes of these events.
    pub ring_bytes_max: usize,
    /// Events that one subscription reads at once while it catches up.
    pub page_events_max: usize,
    /// Bytes of them that it keeps, unless the first alone has more.
    pub page_bytes_max: usize,
    /// Bytes of such pages that all subscriptions hold. Where there is no room for another
    /// page, it has one event.
    pub catch_up_bytes_max: usize,
    /// Pages that are read for catching up at the same time.
    pub reads_max: usize,
    /// A subscription that has told nothing for so long tells how far it is.
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
