//! Measurements of the host, and how fast they rise.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The measurements that are compared.
#[derive(Clone, Copy)]
pub struct Counts {
    pub commands: f64,
    pub events: f64,
}

/// Earlier measurements, made when somebody viewed the page.
#[derive(Default)]
pub struct Rates(Mutex<VecDeque<(Instant, Counts)>>);

/// How far back a rate reaches.
const REACH: Duration = Duration::from_secs(60);
/// Shortest time between two measurements.
const PAUSE_MIN: Duration = Duration::from_secs(1);

impl Rates {
    /// Adds a measurement. Returns how much each has risen in a second, and over which time; none
    /// without an earlier one.
    pub fn add(&self, counts: Counts) -> Option<(Counts, Duration)> {
        let now = Instant::now();
        let mut earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while earlier
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > REACH)
        {
            earlier.pop_front();
        }
        let first = earlier.front().copied();
        let is_due = earlier
            .back()
            .is_none_or(|(at, _)| now.duration_since(*at) >= PAUSE_MIN);
        if is_due {
            earlier.push_back((now, counts));
        }
        let (at, before) = first?;
        let time = now.duration_since(at);
        let seconds = time.as_secs_f64();
        (time >= PAUSE_MIN).then(|| {
            let rate = |now: f64, before: f64| (now - before).max(0.0) / seconds;
            let rates = Counts {
                commands: rate(counts.commands, before.commands),
                events: rate(counts.events, before.events),
            };
            (rates, time)
        })
    }
}

/// One series of the measurements.
pub struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    pub value: f64,
}

/// The series in the text of `/metrics`.
pub fn series(text: &str) -> Vec<Series<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().ok()?;
            Some(Series {
                name,
                labels,
                value,
            })
        })
        .collect()
}

impl Series<'_> {
    /// Whether it has a name, and a label with a value. Values with quotation marks are not found.
    pub fn is(&self, name: &str, label: Option<(&str, &str)>) -> bool {
        self.name == name
            && label
                .is_none_or(|(label, value)| self.labels.contains(&format!("{label}=\"{value}\"")))
    }
}

/// The sum of the series of one name.
pub fn sum(all: &[Series<'_>], name: &str, label: Option<(&str, &str)>) -> f64 {
    let found = all.iter().filter(|it| it.is(name, label));
    found.map(|it| it.value).sum()
}

/// The greatest series of one name.
pub fn last(all: &[Series<'_>], name: &str) -> Option<f64> {
    let found = all.iter().filter(|it| it.is(name, None));
    found.map(|it| it.value).reduce(f64::max)
}

/// The first series of one name.
pub fn one(all: &[Series<'_>], name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    all.iter().find(|it| it.is(name, label)).map(|it| it.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_by_name_and_label() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nb 4.5\nc{} NaN\n";
        let all = series(text);
        assert_eq!(sum(&all, "a", None), 5.0);
        assert_eq!(one(&all, "a", Some(("x", "2"))), Some(3.0));
        assert_eq!(one(&all, "b", None), Some(4.5));
        assert_eq!(one(&all, "d", None), None);
    }

    #[test]
    fn a_rate_needs_two_measurements() {
        let rates = Rates::default();
        let counts = Counts {
            commands: 1.0,
            events: 2.0,
        };
        assert!(rates.add(counts).is_none());
        assert!(rates.add(counts).is_none());
    }
}
