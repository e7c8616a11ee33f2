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
    /// Open connections. Fewer when the process may not open so many files: 64 of those, or
    /// three quarters where that is less, are left for everything else. One more closes the
    /// one that has been idle for longest, or waits while none is idle.
    pub connections_max: usize,
    /// Requests of one HTTP/2 connection in flight.
    pub connection_requests_max: u32,
    /// How long a request's line and headers may take to come, and the first ones on a
    /// connection. Then it is closed.
    pub head_time_max: Duration,
    /// How long a connection on which nothing is in flight stays open.
    pub idle_max: Duration,
    /// How long 16 KiB of a body, or its rest, may take to come; of NDJSON lines one byte of
    /// a line that has begun. Then it is given up with `body-timeout`.
    pub body_wait_max: Duration,
    /// How long the next line of NDJSON may take to begin.
    pub lines_wait_max: Duration,
    /// Bytes in memory of all bodies that are being read or executed, lines included; an
    /// eighth is for those of up to 64 KiB. More are refused as `overloaded`.
    pub bodies_bytes_max: usize,
    /// Bytes in memory of all answers with pages of events or documents, of which one
    /// connection may have an eighth. More wait for half of `request_time_max`, then they
    /// are refused as `overloaded`.
    pub answers_bytes_max: usize,
}

impl Options {
    /// The least that `bodies_bytes_max` may be, so that every body has room: while the
    /// largest is read it takes up to twice its length.
    pub fn bodies_bytes_least(&self) -> usize {
        let largest = self.body_bytes_max.max(self.module_bytes_max);
        largest.saturating_mul(4)
    }
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
            connections_max: 4_096,
            connection_requests_max: 100,
            head_time_max: Duration::from_secs(15),
            idle_max: Duration::from_secs(120),
            body_wait_max: Duration::from_secs(20),
            lines_wait_max: Duration::from_secs(600),
            bodies_bytes_max: 256 << 20,
            answers_bytes_max: 256 << 20,
        }
    }
}
