//! What the operating system says of the process.

use std::fs;

/// Ticks of a second in files of `/proc`, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Measurements of the process; none where the system does not have them.
#[derive(Debug, Default)]
pub struct Process {
    /// Memory that is in RAM.
    pub resident_bytes: Option<u64>,
    /// Open files and connections.
    pub open_fds: Option<usize>,
    /// How many may be open.
    pub max_fds: Option<f64>,
    /// Time of all threads on processors.
    pub cpu_seconds: Option<f64>,
    /// When the process was started.
    pub started_s: Option<f64>,
}

impl Process {
    /// Reads the files of the process in `/proc`. Systems other than Linux do not have them.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let of_system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok();
        let since_boot = ticks(&stat, 22);
        let booted_s = field(&of_system, "btime").and_then(|it| it.parse::<f64>().ok());
        Self {
            resident_bytes: field(&status, "VmRSS:")
                .and_then(|kib| kib.parse().ok())
                .map(|kib: u64| kib << 10),
            // The folder itself is open, too.
            open_fds: open.map(|open| open.count().saturating_sub(1)),
            max_fds: field(&limits, "Max open files").and_then(limit),
            cpu_seconds: ticks(&stat, 14)
                .zip(ticks(&stat, 15))
                .map(|(user, system)| user + system),
            started_s: booted_s
                .zip(since_boot)
                .map(|(booted, since)| booted + since),
        }
    }
}

/// The seconds in a field of `/proc/self/stat`, which are counted from 1. The name in field 2 may
/// contain anything, also `)`.
fn ticks(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: f64 = rest.split_whitespace().nth(number - 3)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The first word after a name at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()
}

fn limit(text: &str) -> Option<f64> {
    match text {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 150 13 14 15 16 17 18 4200 20";
        assert_eq!(ticks(stat, 14), Some(2.5));
        assert_eq!(ticks(stat, 15), Some(1.5));
        assert_eq!(ticks(stat, 22), Some(42.0));
        assert_eq!(ticks(stat, 90), None);
        assert_eq!(ticks("", 14), None);
        let status = "Name:\tVmRSS: 5\nVmRSS:\t    1024 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some("1024"));
        assert_eq!(field(status, "btime"), None);
        assert_eq!(limit("unlimited"), Some(f64::INFINITY));
        assert_eq!(limit("1024"), Some(1024.0));
    }
}
