//! The last minutes of a host as small pictures, drawn by the host.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use maud::{Markup, html};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::overview::seconds;
use super::visitor::Shared;
use crate::App;
use quipu::meters::Outcome;

/// The time that a picture shows.
const REACH: Duration = Duration::from_secs(15 * 60);
/// The time between two samples.
const EVERY: Duration = Duration::from_secs(5);
/// A longer pause is a gap: what was before it is not compared with what comes.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// Samples that are stored.
const SAMPLES_MAX: usize = 180;
/// The size of a picture, in its own units.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// The samples of the last minutes. They are taken from the first view on, until nobody has viewed
/// the page for as long as a picture reaches.
#[derive(Default)]
pub struct History(Mutex<Samples>);

#[derive(Default)]
struct Samples {
    samples: VecDeque<(Instant, Sample)>,
    viewed_at: Option<Instant>,
    is_taking: bool,
}

/// What the host has counted, and how it is, at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    commands: u64,
    /// Commands that failed because of a guest, the store or the load.
    failed: u64,
    events: u64,
    commits: u64,
    commit_seconds: f64,
    /// The largest lag of a projection.
    lag_seconds: f64,
}

/// A line of a picture: ages in seconds, and values.
type Line = Vec<(f64, f64)>;

impl History {
    fn samples(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that somebody views the page. Returns whether samples must be taken from now on.
    fn view(&self, now: Instant) -> bool {
        let mut samples = self.samples();
        samples.viewed_at = Some(now);
        !std::mem::replace(&mut samples.is_taking, true)
    }

    /// Adds a sample. Returns false, and takes no further ones, when nobody views the page any more.
    fn add(&self, now: Instant, sample: Sample) -> bool {
        let mut samples = self.samples();
        let is_viewed = samples
            .viewed_at
            .is_some_and(|at| now.saturating_duration_since(at) < REACH);
        if !is_viewed {
            *samples = Samples::default();
            return false;
        }
        let is_gap = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) > PAUSE_MAX;
        if samples.samples.back().is_some_and(is_gap) {
            samples.samples.clear();
        }
        samples.samples.push_back((now, sample));
        while samples.samples.len() > SAMPLES_MAX {
            samples.samples.pop_front();
        }
        true
    }

    /// Forgets all samples. The next view starts to take them.
    fn end(&self) {
        *self.samples() = Samples::default();
    }

    /// The value of each pair of samples that follow each other.
    fn line(&self, now: Instant, value: impl Fn(&Sample, &Sample, f64) -> f64) -> Line {
        let samples = self.samples();
        let pairs = samples.samples.iter().zip(samples.samples.iter().skip(1));
        let points = pairs.map(|((before_at, before), (at, sample))| {
            let time = at.saturating_duration_since(*before_at).as_secs_f64();
            let age = now.saturating_duration_since(*at).as_secs_f64();
            (age, value(before, sample, time.max(0.001)))
        });
        let reach = REACH.as_secs_f64();
        points.filter(|(age, _)| *age <= reach).collect()
    }
}

impl Sample {
    async fn take(app: &App) -> Self {
        let mut sample = Self::default();
        let meters = app.host.meters();
        meters.commands.each(|_, counts| {
            for outcome in Outcome::ALL {
                let count = counts[*outcome as usize].get();
                sample.commands += count;
                if matches!(
                    outcome,
                    Outcome::Fault | Outcome::Overloaded | Outcome::Failed
                ) {
                    sample.failed += count;
                }
            }
        });
        meters.events.each(|_, count| sample.events += count.get());
        let commits = meters.commit_times.read();
        (sample.commits, sample.commit_seconds) = (commits.count, commits.sum);
        let figures = app.sampler.sample(&app.host).await.figures;
        let lags = figures.iter().flat_map(|figures| &figures.projections);
        // A first build has none.
        let largest = lags.filter_map(|lag| lag.age).max();
        sample.lag_seconds = largest.unwrap_or_default().as_secs_f64();
        sample
    }
}

/// The pictures. Samples are taken from now on, if they are not yet.
pub fn show(app: &App, shared: &Arc<Shared>) -> Markup {
    let now = Instant::now();
    let history = &shared.history;
    if history.view(now) {
        tokio::spawn(take_samples(app.clone(), Arc::clone(shared)));
    }
    let rate = |of: fn(&Sample) -> u64| {
        history.line(now, move |before, sample, time| {
            of(sample).saturating_sub(of(before)) as f64 / time
        })
    };
    let commit_ms = history.line(now, |before, sample, _| {
        let commits = sample.commits.saturating_sub(before.commits);
        let seconds = (sample.commit_seconds - before.commit_seconds).max(0.0);
        match commits {
            0 => 0.0,
            commits => seconds * 1_000.0 / commits as f64,
        }
    });
    let lag = history.line(now, |_, sample, _| sample.lag_seconds);
    let per_second = |value: f64| format!("{value:.1}");
    html! {
        h2 { "The last 15 minutes" }
        div.charts {
            (chart("Commands per second", &rate(|it| it.commands), per_second))
            (chart("Failed commands per second", &rate(|it| it.failed), per_second))
            (chart("Events per second", &rate(|it| it.events), per_second))
            (chart("Time of a commit", &commit_ms, |value| format!("{value:.1} ms")))
            (chart("Largest lag of a projection", &lag, seconds))
        }
        p.note { "Measured by this host while somebody looks at this page, and for 15 minutes after that. " code { "/metrics" } " has everything for Prometheus." }
    }
}

async fn take_samples(app: App, shared: Arc<Shared>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.ending.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // Pictures are not worth a host that is not ready, so this is not one of its parts.
        let sample = AssertUnwindSafe(Sample::take(&app)).catch_unwind().await;
        let Ok(sample) = sample else {
            tracing::error!("a sample for the console panicked");
            return shared.history.end();
        };
        if !shared.history.add(Instant::now(), sample) {
            return;
        }
    }
}

/// A line with its last and its greatest value in words.
fn chart(name: &str, line: &[(f64, f64)], words: impl Fn(f64) -> String) -> Markup {
    let Some((_, last)) = line.last() else {
        return html! { figure.chart { figcaption { (name) ": measured from now on" } } };
    };
    let greatest = line.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let range = format!("{} now, {} at most", words(*last), words(greatest));
    html! {
        figure.chart {
            figcaption { (name) ": " strong { (range) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ (name) ", 15 minutes: " (range) } {
                polyline points=(points(line, greatest)) {}
            }
        }
    }
}

fn points(line: &[(f64, f64)], greatest: f64) -> String {
    let mut points = String::new();
    for (age, value) in line {
        let x = WIDTH * (1.0 - age / REACH.as_secs_f64()).clamp(0.0, 1.0);
        let part = if greatest > 0.0 {
            (value / greatest).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let y = HEIGHT - 1.0 - part * (HEIGHT - 2.0);
        // Writing to a text does not fail.
        _ = write!(points, "{x:.1},{y:.1} ");
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(commands: u64) -> Sample {
        Sample {
            commands,
            ..Sample::default()
        }
    }

    fn rates(history: &History, now: Instant) -> Vec<f64> {
        let line = history.line(now, |before, sample, time| {
            sample.commands.saturating_sub(before.commands) as f64 / time
        });
        line.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn rates_are_those_between_samples() {
        let (history, start) = (History::default(), Instant::now());
        assert!(history.view(start));
        assert!(!history.view(start));
        for (after, commands) in [(0, 0), (5, 50), (10, 50), (15, 40)] {
            assert!(history.add(start + Duration::from_secs(after), sample(commands)));
        }
        let now = start + Duration::from_secs(15);
        // A counter that fell belongs to another host.
        assert_eq!(rates(&history, now), [10.0, 0.0, 0.0]);
        // What is before a gap is not compared.
        let later = start + Duration::from_secs(60);
        assert!(history.add(later, sample(1_000)));
        assert!(rates(&history, later).is_empty());
    }

    #[test]
    fn samples_are_bounded_and_end_when_nobody_looks() {
        let (history, start) = (History::default(), Instant::now());
        history.view(start);
        for number in 0..1_000 {
            let at = start + EVERY * number;
            history.view(at);
            assert!(history.add(at, sample(0)));
        }
        assert_eq!(history.samples().samples.len(), SAMPLES_MAX);
        let later = start + EVERY * 1_000 + REACH;
        assert!(!history.add(later, sample(0)));
        assert!(history.samples().samples.is_empty());
        // The next view begins from scratch.
        assert!(history.view(later));
    }

    #[test]
    fn a_line_stays_within_its_picture() {
        let line = [(900.0, 0.0), (450.0, 5.0), (0.0, 10.0)];
        assert_eq!(points(&line, 10.0), "0.0,59.0 150.0,30.0 300.0,1.0 ");
        assert_eq!(points(&[(0.0, 0.0)], 0.0), "300.0,59.0 ");
        let words = |value: f64| format!("{value}");
        let shown = chart("A", &line, words).into_string();
        assert!(shown.contains("10 now, 10 at most"), "{shown}");
        assert!(!shown.contains("style="), "{shown}");
    }
}
