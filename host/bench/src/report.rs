use std::fmt;

use serde::Serialize;

use super::evolution::Evolution;
use super::guest::{Component, Cost};
use super::host::{Ids, Kind, Memory};
use super::http::Http;
use super::load::Measured;
use super::observed::Observed;
use super::overload::Overload;
use super::projections::Projections;
use super::reading::Reading;
use super::swaps::Swaps;
use super::tenants::Tenants;

/// All results.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// A warm command.
    pub guest: Cost,
    /// Memory with warm aggregates.
    pub memory: Memory,
    /// Reading, unless it was left out.
    pub reading: Option<Reading>,
    /// The cost of change, unless it was left out.
    pub evolution: Option<Evolution>,
    /// The results under load.
    pub rows: Vec<Row>,
    /// Commands while the decider is replaced, unless it was left out.
    pub swaps: Option<Swaps>,
    /// Commands over HTTP, unless they were left out.
    pub http: Option<Http>,
    /// Commands over HTTP with metrics and traces, unless that was left out.
    pub observed: Option<Observed>,
    /// Two tenants, unless they were left out.
    pub tenants: Option<Tenants>,
    /// More commands than the host executes, unless that was left out.
    pub overload: Option<Overload>,
    /// The cost of projections, unless it was left out.
    pub projections: Option<Projections>,
}

/// The results of one load, with bare appends for comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The streams.
    pub kind: Kind,
    /// The source of ids.
    pub ids: Ids,
    /// Commands in flight.
    pub in_flight: usize,
    /// Bare appends to many streams.
    pub bare: Measured,
    /// Commands.
    pub whole: Measured,
}

const MIB: f64 = (1 << 20) as f64;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost {
            guest_us,
            native_us,
            folded_per_second,
            components,
        } = &self.guest;
        writeln!(
            f,
            "warm command in the guest: {guest_us:.2} µs of CPU; the same code natively: \
             {native_us:.2} µs; x{:.1}",
            guest_us / native_us
        )?;
        writeln!(f, "folding in the guest: {folded_per_second:.0} events/s")?;
        if components.len() > 1 {
            write_components(f, components)?;
        }
        let Memory {
            aggregates,
            before_bytes,
            warm_bytes,
        } = self.memory;
        writeln!(
            f,
            "memory with {aggregates} warm applications: {:.0} MiB ({:.0} MiB before the host)",
            warm_bytes as f64 / MIB,
            before_bytes as f64 / MIB
        )?;
        if let Some(reading) = &self.reading {
            writeln!(
                f,
                "{} events: {:.0}/s appended in thousands, {:.0}/s read as log, {:.0}/s loaded by streams",
                reading.events,
                reading.appended_per_second,
                reading.log_per_second,
                reading.loaded_per_second
            )?;
        }
        if let Some(evolution) = &self.evolution {
            evolution.fmt(f)?;
        }
        let mut group = None;
        for row in &self.rows {
            if group != Some((row.kind, row.ids)) {
                group = Some((row.kind, row.ids));
                writeln!(f, "\n{}, {}", row.kind, row.ids)?;
                writeln!(
                    f,
                    "{:>9} {:>11} {:>11} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
                    "in flight",
                    "bare/s",
                    "commands/s",
                    "ratio",
                    "p50 ms",
                    "p99 ms",
                    "CPU µs",
                    "bare CPU",
                    "bytes",
                    "flushes",
                    "a flush"
                )?;
            }
            let (bare, whole) = (&row.bare, &row.whole);
            writeln!(
                f,
                "{:>9} {:>11.0} {:>11.0} {:>6.2} {:>8.2} {:>8.2} {:>8.1} {:>8.1} {:>8.0} {:>8} {:>8.1}",
                row.in_flight,
                bare.rate,
                whole.rate,
                whole.rate / bare.rate,
                whole.p50_ms,
                whole.p99_ms,
                whole.cpu_us,
                bare.cpu_us,
                whole.written_bytes,
                whole.batches,
                whole.requests as f64 / whole.batches.max(1) as f64
            )?;
        }
        if let Some(swaps) = &self.swaps {
            swaps.fmt(f)?;
        }
        if let Some(http) = &self.http {
            http.fmt(f)?;
        }
        if let Some(observed) = &self.observed {
            observed.fmt(f)?;
        }
        if let Some(tenants) = &self.tenants {
            tenants.fmt(f)?;
        }
        if let Some(overload) = &self.overload {
            overload.fmt(f)?;
        }
        if let Some(projections) = &self.projections {
            projections.fmt(f)?;
        }
        Ok(())
    }
}

/// A line for each component.
fn write_components(f: &mut fmt::Formatter<'_>, components: &[Component]) -> fmt::Result {
    writeln!(
        f,
        "\n{:<20} {:>8} {:>11} {:>13} {:>10} {:>12}",
        "component", "KiB", "compiled in", "instance KiB", "command", "folding"
    )?;
    for component in components {
        writeln!(
            f,
            "{:<20} {:>8} {:>8.0} ms {:>13} {:>7.1} µs {:>10.0}/s",
            component.name,
            component.bytes >> 10,
            component.compile_ms,
            component.instance_bytes >> 10,
            component.command_us,
            component.folded_per_second
        )?;
    }
    writeln!(f)
}
