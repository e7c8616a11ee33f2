//! Series of the whole process: what the system says of it, and all of its requests.

use super::page::Kind::{Counter, Gauge, Histogram};
use super::page::Page;
use super::process::Process;
use crate::meters::RequestMeters;

/// Series of the process. Those that the system does not have are left out.
pub fn process(page: &mut Page, process: &Process) {
    for (kind, name, help, value) in [
        (
            Gauge,
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            process.resident_bytes.map(|bytes| bytes as f64),
        ),
        (
            Gauge,
            "process_open_fds",
            "Open files and connections of the process.",
            process.open_fds.map(|open| open as f64),
        ),
        (
            Gauge,
            "process_max_fds",
            "How many files and connections the process may have open.",
            process.max_fds,
        ),
        (
            Counter,
            "process_cpu_seconds_total",
            "Time of the process on processors.",
            process.cpu_seconds,
        ),
        (
            Gauge,
            "process_start_time_seconds",
            "When the process was started.",
            process.started_s,
        ),
    ] {
        if let Some(value) = value {
            page.family(kind, name, help).series(&[], value);
        }
    }
}

/// Series of requests to all listeners.
pub fn requests(page: &mut Page, requests: &RequestMeters) {
    let mut family = page.family(
        Histogram,
        "http_server_request_duration_seconds",
        "Time from a request to the head of its answer.",
    );
    requests.each(|[method, route, status], times| {
        let labels = [("method", method), ("route", route), ("status", status)];
        family.histogram(&labels, times);
    });
    page.family(
        Gauge,
        "http_server_active_requests",
        "Requests that are not completely answered.",
    )
    .series(&[], requests.active() as f64);
}
