//! Reads measurements of this process from the operating system.

use std::time::Duration;

/// Processor time that this process has used, in user and kernel mode. Zero if the system does not
/// report it.
pub fn cpu() -> Duration {
    // Fields 14 and 15 of /proc/self/stat, in ticks of 10 ms. The name in field 2 may contain
    // spaces, so fields are counted from its closing parenthesis.
    let ticks = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| {
            let (_, fields) = stat.rsplit_once(") ")?;
            let mut fields = fields.split(' ').skip(11);
            let user: u64 = fields.next()?.parse().ok()?;
            let kernel: u64 = fields.next()?.parse().ok()?;
            Some(user + kernel)
        });
    Duration::from_millis(ticks.unwrap_or_default() * 10)
}

/// Memory of this process that is in RAM, in bytes.
pub fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS:").unwrap_or_default() * 1024
}

/// Bytes that this process has caused to be written to storage.
pub fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:").unwrap_or_default()
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
