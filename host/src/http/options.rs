use std::time::Duration;

/// Bounds of requests.
#[derive(Debug, Clone)]
pub struct Options {
    /// A JSON body. A little more than the largest append as base64.
    pub body_bytes_max: usize,
    /// A component.
    pub module_bytes_max: usize,
    /// One line of NDJSON.
    pub line_bytes_max: usize,
    /// Commands of one NDJSON request in flight, at most one for each stream.
    pub lines_in_flight_max: usize,
    /// Lines of one NDJSON request that wait for an earlier one of their stream.
    pub lines_waiting_max: usize,
    /// From a request's head to its answer's head; then the answer is `timeout`.
    /// A line of NDJSON waits as long while the host is overloaded.
    pub request_time_max: Duration,
    /// How long a client may leave an answer unread that is ready to be sent. Then it is
    /// cut off; a subscription is told so, if it can be.
    pub slow_reader_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_bytes_max: 24 << 20,
            module_bytes_max: 64 << 20,
            line_bytes_max: 2 << 20,
            lines_in_flight_max: 256,
            lines_waiting_max: 4_096,
            request_time_max: Duration::from_secs(30),
            slow_reader_max: Duration::from_secs(30),
        }
    }
}
