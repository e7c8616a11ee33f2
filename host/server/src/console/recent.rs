//! What happened to the host in the last minutes: the rise of what it counts.
//!
//! Alerts judge the same by the rise of a counter within five minutes. A number since the start would
//! say for weeks that something needs attention.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use quipu::Host;
use quipu::meters::Outcome;
use quipu::runtime::FaultKind;

/// How far back the overview judges, in words and in time.
pub const REACH_WORDS: &str = "in the last 5 minutes";
const REACH: Duration = Duration::from_secs(5 * 60);
/// The time between two counts.
const EVERY: Duration = Duration::from_secs(10);

/// What a host has counted: since it was started, or in the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Active modules by digest, with their faults.
    pub faults: BTreeMap<String, Faults>,
    /// Commits that the store refused as a whole.
    pub commit_failures: u64,
    /// Commands that failed because of the store.
    pub failed: u64,
    /// Commands that were refused because the host had too much to do.
    pub overloaded: u64,
    /// Parts of the host by name, with their restarts.
    pub restarts: BTreeMap<String, u64>,
}

/// The faults of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The name of the module.
    pub name: String,
    /// How many there were.
    pub count: u64,
}

/// The counts of the last minutes, the oldest first.
pub struct Recent {
    host: Host,
    counts: Mutex<VecDeque<(Instant, Counts)>>,
}

impl Recent {
    /// Begins to count. It ends with the server, or when nobody has this any more.
    pub fn begin(host: Host, ending: CancellationToken) -> Arc<Self> {
        // Before the first count nothing had happened.
        let first = (Instant::now(), Counts::default());
        let recent = Arc::new(Self {
            host,
            counts: Mutex::new(VecDeque::from([first])),
        });
        // A router that is made outside of a runtime judges since its start.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(follow(Arc::downgrade(&recent), ending));
        }
        recent
    }

    /// What happened in the last minutes. Without faults and restarts, a module and a part are not in it.
    pub fn rise(&self) -> Counts {
        let now = Counts::take(&self.host);
        match self.lock().front() {
            Some((_, before)) => now.since(before),
            None => now.since(&Counts::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Counts)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(recent: Weak<Recent>, ending: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(recent) = recent.upgrade() else {
            return;
        };
        let counts = Counts::take(&recent.host);
        add(&mut recent.lock(), Instant::now(), counts);
    }
}

/// Adds a count. The first of those that are left is the newest one that is old enough, if there is
/// one.
fn add(all: &mut VecDeque<(Instant, Counts)>, now: Instant, counts: Counts) {
    all.push_back((now, counts));
    let is_old = |(at, _): &(Instant, Counts)| now.saturating_duration_since(*at) >= REACH;
    while all.get(1).is_some_and(is_old) {
        all.pop_front();
    }
}

impl Counts {
    fn take(host: &Host) -> Self {
        let mut counts = Self::default();
        let plan = host.plan();
        for module in plan.modules() {
            let kinds = FaultKind::ALL.into_iter();
            let count: u64 = kinds.map(|kind| module.usage().faults(kind)).sum();
            let name = module.manifest().name.as_str().to_owned();
            let faults = Faults { name, count };
            counts.faults.insert(module.digest().to_string(), faults);
        }
        let meters = host.meters();
        counts.commit_failures = meters.commit_failures.get();
        meters.commands.each(|_, outcomes| {
            counts.failed += outcomes[Outcome::Failed as usize].get();
            counts.overloaded += outcomes[Outcome::Overloaded as usize].get();
        });
        for part in host.supervisor().parts() {
            *counts.restarts.entry(part.name).or_default() += part.restarts;
        }
        counts
    }

    fn since(self, before: &Self) -> Self {
        let mut faults = self.faults;
        faults.retain(|digest, faults| {
            let earlier = before.faults.get(digest).map_or(0, |it| it.count);
            faults.count = faults.count.saturating_sub(earlier);
            faults.count > 0
        });
        let mut restarts = self.restarts;
        restarts.retain(|name, count| {
            let earlier = before.restarts.get(name).copied();
            *count = count.saturating_sub(earlier.unwrap_or_default());
            *count > 0
        });
        Self {
            faults,
            commit_failures: self.commit_failures.saturating_sub(before.commit_failures),
            failed: self.failed.saturating_sub(before.failed),
            overloaded: self.overloaded.saturating_sub(before.overloaded),
            restarts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        let faults = Faults {
            name: "account".to_owned(),
            count,
        };
        Counts {
            faults: BTreeMap::from([("d1".to_owned(), faults)]),
            commit_failures: count,
            failed: count,
            overloaded: count,
            restarts: BTreeMap::from([("committer".to_owned(), count)]),
        }
    }

    #[test]
    fn what_happened_is_over_after_five_minutes() {
        let start = Instant::now();
        let mut all = VecDeque::from([(start, Counts::default())]);
        // One of each happens in the first seconds, and nothing later.
        for second in (10..=310).step_by(10) {
            add(&mut all, start + Duration::from_secs(second), counts(1));
            let rise = counts(1).since(&all[0].1);
            let expected = match second {
                // The first count was before it happened.
                ..310 => counts(1).since(&Counts::default()),
                _ => Counts::default(),
            };
            assert_eq!(rise, expected, "after {second} s");
        }
        let rise = counts(3).since(&all[0].1);
        assert_eq!(rise.faults["d1"].count, 2);
        assert_eq!((rise.commit_failures, rise.restarts["committer"]), (2, 2));
    }

    #[test]
    fn counts_are_bounded() {
        let start = Instant::now();
        let mut all = VecDeque::from([(start, Counts::default())]);
        for number in 1..1_000 {
            add(&mut all, start + EVERY * number, counts(0));
            assert!(all.len() <= 32, "{}", all.len());
        }
    }

    #[test]
    fn a_module_that_became_active_is_judged_by_itself() {
        let mut now = counts(2);
        let faults = now.faults.remove("d1").unwrap();
        now.faults.insert("d2".to_owned(), faults);
        assert_eq!(now.since(&counts(9)).faults["d2"].count, 2);
    }
}
