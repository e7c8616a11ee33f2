//! The measurements as lines for people, and as JSON.

use std::collections::BTreeMap;

use console::{pad_str, truncate_str};
use serde::Serialize;

use super::sample::Between;
use crate::table::{grouped, printable};

/// Columns of a line.
const COLUMNS: usize = 80;
/// Projections that are shown; those with the largest lag first.
const PROJECTIONS_MAX: usize = 20;

/// What a host did between two samples.
#[derive(Debug, Serialize)]
pub struct Figures {
    version: String,
    plan: u64,
    /// Seconds between the samples.
    seconds: f64,
    /// Commands per second, by outcome.
    commands_per_second: BTreeMap<String, f64>,
    /// Time from a command to its answer.
    command_seconds: Quantiles,
    in_flight: u64,
    commits_per_second: f64,
    /// Items of a commit, on average.
    commit_items: Option<f64>,
    commit_seconds: Quantiles,
    events_per_second: f64,
    /// Faults of guests between the samples.
    faults: u64,
    /// Requests between the samples whose caller was not known, or may not send them.
    denied: u64,
    subscriptions: u64,
    /// The largest lag of a named subscription.
    subscription_lag_events: u64,
    log_head: Option<u64>,
    store_bytes: Option<u64>,
    projections: Vec<Projection>,
}

/// Half of the times, and 99 of 100, are below these; null when there were none.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Projection {
    name: String,
    state: String,
    lag_events: Option<u64>,
    lag_seconds: Option<f64>,
    parked: u64,
    is_failing: bool,
    /// Whether a host runs it.
    is_owned: Option<bool>,
}

impl Figures {
    pub fn of(between: &Between<'_>) -> Self {
        let new = between.new;
        let quantiles = |name: &str| Quantiles {
            p50: between.quantile(name, 0.5),
            p99: between.quantile(name, 0.99),
        };
        let denied = ["quipu_auth_failures_total", "quipu_denied_total"];
        Self {
            version: new.status.version.clone(),
            plan: new.status.plan,
            seconds: between.seconds(),
            commands_per_second: between.rates("quipu_commands_total", "outcome"),
            command_seconds: quantiles("quipu_command_duration_seconds"),
            in_flight: new.status.in_flight,
            commits_per_second: between.rate("quipu_commit_duration_seconds_count"),
            commit_items: between.average("quipu_commit_batch_items"),
            commit_seconds: quantiles("quipu_commit_duration_seconds"),
            events_per_second: between.rate("quipu_events_appended_total"),
            faults: whole(between.growth("quipu_guest_faults_total")),
            denied: denied.iter().map(|name| whole(between.growth(name))).sum(),
            subscriptions: new.status.subscriptions,
            subscription_lag_events: whole(new.max("quipu_subscription_lag_events")),
            log_head: new.value("quipu_log_position").map(whole),
            store_bytes: new.value("quipu_store_size_bytes").map(whole),
            projections: projections(between),
        }
    }

    /// Lines of at most 80 columns.
    pub fn lines(&self, place: &str) -> Vec<String> {
        let optional = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
        let mut lines = vec![
            format!("quipu {} at {}", printable(&self.version), printable(place)),
            format!(
                "plan {}   log head {}   store {}",
                self.plan,
                optional(self.log_head),
                self.store_bytes.map_or_else(|| "-".to_owned(), bytes),
            ),
            String::new(),
            format!(
                "commands {:>10}/s   p50 {:>8}   p99 {:>8}   in flight {}",
                rate(self.commands_per_second.values().sum()),
                time(self.command_seconds.p50),
                time(self.command_seconds.p99),
                grouped(self.in_flight),
            ),
        ];
        lines.extend(self.outcomes());
        lines.push(format!(
            "commits  {:>10}/s   p50 {:>8}   p99 {:>8}   items each {}",
            rate(self.commits_per_second),
            time(self.commit_seconds.p50),
            time(self.commit_seconds.p99),
            self.commit_items
                .map_or_else(|| "-".to_owned(), |items| format!("{items:.1}")),
        ));
        lines.push(format!("events   {:>10}/s", rate(self.events_per_second)));
        lines.push(format!(
            "faults {}   denied {}   subscriptions {}   their largest lag {}",
            grouped(self.faults),
            grouped(self.denied),
            grouped(self.subscriptions),
            grouped(self.subscription_lag_events),
        ));
        lines.extend(self.table());
        let cut = |line: String| truncate_str(&line, COLUMNS, "…").trim_end().to_owned();
        lines.into_iter().map(cut).collect()
    }

    /// The outcomes that occurred, as many as fit.
    fn outcomes(&self) -> Option<String> {
        let some = self
            .commands_per_second
            .iter()
            .filter(|(_, rate)| **rate > 0.0);
        let shown: Vec<String> = some
            .map(|(outcome, per_second)| format!("{} {}/s", printable(outcome), rate(*per_second)))
            .collect();
        (!shown.is_empty()).then(|| format!("  {}", shown.join("  ")))
    }

    fn table(&self) -> Vec<String> {
        if self.projections.is_empty() {
            return Vec::new();
        }
        let row = |cells: [&str; 5]| {
            let name = pad_str(cells[0], 28, console::Alignment::Left, Some("…"));
            let state = pad_str(cells[1], 14, console::Alignment::Left, Some("…"));
            format!(
                "{name} {state} {:>12} {:>12} {:>8}",
                cells[2], cells[3], cells[4]
            )
        };
        let heading = ["projection", "state", "lag events", "lag", "parked"];
        let mut lines = vec![String::new(), row(heading)];
        for one in self.projections.iter().take(PROJECTIONS_MAX) {
            let state = match (one.is_failing, one.is_owned) {
                // It does not retry, and has no owner: the same word as in `quipu projections`.
                _ if one.state == "stopped" => "stopped",
                (true, _) => "failing",
                (false, Some(false)) if !matches!(&*one.state, "inline" | "paused") => "no owner",
                _ => &one.state,
            };
            let lag = one.lag_events.map_or_else(|| "-".to_owned(), grouped);
            let name = printable(&one.name);
            let seconds = time(one.lag_seconds);
            let parked = grouped(one.parked);
            lines.push(row([&name, &printable(state), &lag, &seconds, &parked]));
        }
        if self.projections.len() > PROJECTIONS_MAX {
            let more = self.projections.len() - PROJECTIONS_MAX;
            lines.push(format!("and {more} more; `quipu projections` shows all"));
        }
        lines
    }
}

fn projections(between: &Between<'_>) -> Vec<Projection> {
    let new = between.new;
    let by = |name: &str| new.by(name, "projection");
    let (events, seconds) = (
        by("quipu_projection_lag_events"),
        by("quipu_projection_lag_seconds"),
    );
    let (parked, failing, owned) = (
        by("quipu_projection_parked_events"),
        by("quipu_projection_failing"),
        by("quipu_projection_owned"),
    );
    let states = new.status.projections.iter();
    let mut all: Vec<Projection> = states
        .map(|status| {
            let name = &status.name;
            Projection {
                name: name.clone(),
                state: status.state.clone(),
                lag_events: status.lag.or(events.get(name).copied().map(whole)),
                lag_seconds: seconds.get(name).copied(),
                parked: whole(parked.get(name).copied().unwrap_or_default()),
                is_failing: failing.get(name).is_some_and(|value| *value > 0.0),
                is_owned: owned.get(name).map(|value| *value > 0.0),
            }
        })
        .collect();
    all.sort_by(|one, other| {
        let lag = |it: &Projection| it.lag_seconds.unwrap_or_default();
        let by_lag = lag(other).total_cmp(&lag(one));
        by_lag.then_with(|| one.name.cmp(&other.name))
    });
    all
}

/// A count, which the page has as a decimal.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    // Not a number and negative numbers become 0.
    value as u64
}

/// `1,234` or `0.5`.
fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    grouped(whole(per_second.round()))
}

/// `1.5 ms` or `2.0 s`.
fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(0.0) => "0 s".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} us", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds < 1_000.0 => format!("{seconds:.1} s"),
        Some(seconds) => format!("{} s", grouped(whole(seconds))),
    }
}

/// `1.5 MiB`.
fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    while size >= 1_024.0 && unit + 1 < units.len() {
        size /= 1_024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{size:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::sample;
    use super::*;

    fn figures(page: &str) -> Figures {
        let (old, new) = (sample("", 0), sample(page, 10));
        Figures::of(&Between {
            old: &old,
            new: &new,
        })
    }

    #[test]
    fn an_idle_host_shows_no_latency() {
        let figures = figures("");
        let lines = figures.lines("http://127.0.0.1:7878");
        assert_eq!(lines[0], "quipu 0.1.0 at http://127.0.0.1:7878");
        assert_eq!(lines[1], "plan 2   log head -   store -");
        assert!(lines[3].contains("p50        -"), "{}", lines[3]);
        let json = serde_json::to_value(&figures).unwrap();
        assert!(json["command_seconds"]["p50"].is_null());
        assert_eq!(json["projections"][0]["lag_events"], 4);
    }

    #[test]
    fn a_stopped_projection_is_stopped_and_not_failing() {
        let mut figures = figures("");
        let projection = &mut figures.projections[0];
        "stopped".clone_into(&mut projection.state);
        projection.is_failing = true;
        projection.is_owned = Some(false);
        let text = figures.lines("http://127.0.0.1:7878").join("\n");
        assert!(text.contains("stopped"), "{text}");
        assert!(!text.contains("failing"), "{text}");
    }

    #[test]
    fn no_line_is_longer_than_a_terminal() {
        let name = "a-projection-with-a-name-that-is-much-too-long-for-a-column";
        let large = "123456789012";
        let mut page = String::new();
        for outcome in [
            "accepted",
            "rejected",
            "replayed",
            "conflict",
            "overloaded",
            "fault",
        ] {
            page += &format!("quipu_commands_total{{outcome=\"{outcome}\"}} {large}\n");
        }
        page += &format!("quipu_projection_lag_seconds{{projection=\"{name}\"}} {large}\n");
        page += &format!("quipu_store_size_bytes {large}\nquipu_log_position {large}\n");
        for line in figures(&page).lines(&"x".repeat(200)) {
            assert!(console::measure_text_width(&line) <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn a_projection_without_an_owner_says_so() {
        let page = "quipu_projection_owned{projection=\"accounts\"} 0\n";
        let lines = figures(page).lines("here");
        assert!(
            lines.iter().any(|line| line.contains("no owner")),
            "{lines:?}"
        );
    }
}
