//! Shadows: a module decides next to the active one. Live decisions are compared, and nothing of
//! the shadow is stored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu::Host;
use quipu::model::Digest;
use quipu::proof::{End, Error, Kind, Policy, Refusals, Shadow, Shadowing, Tally};
use quipu::store::RejectionFilter;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, examples, on_every_store};
use serde_json::json;
use tokio::task::JoinHandle;

on_every_store! {
    live_decisions_are_compared,
    rejections_are_compared_too,
    a_shadow_can_decide_a_share_of_the_streams,
    a_shadow_ends_after_its_time_and_only_one_runs_at_a_time,
    a_shadow_continues_under_another_plan,
    commands_are_skipped_if_the_shadow_lags,
    events_that_a_shadow_cannot_fold_are_reported,
}

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

async fn note(host: &Host, n: usize, word: &str) {
    let event = json!(["noted", {"n": n, "word": word}]);
    let events = json!([event, event]);
    let command = build::command("note", &events.to_string());
    let stream = build::stream(&format!("note-{}", n % 7));
    // A rejection is an answer, too.
    _ = host.execute(&stream, command).await;
}

async fn upload(host: &Host, candidate: &Probe) -> Digest {
    let uploaded = host.upload(candidate.component()).await.unwrap();
    uploaded.module.digest()
}

/// A running shadow, and its last report.
struct Running {
    module: Digest,
    host: Host,
    last_report: Arc<Mutex<Option<Shadow>>>,
    task: JoinHandle<Result<Shadow, Error>>,
}

const LONG: Shadowing = Shadowing {
    time: Duration::from_secs(120),
    share: 100,
    cpu: 100,
    lag_max: 10_000,
};

impl Running {
    async fn begin(host: &Host, candidate: &Probe, how: Shadowing) -> Self {
        let module = upload(host, candidate).await;
        let last_report: Arc<Mutex<Option<Shadow>>> = Arc::default();
        let (writer, runner) = (Arc::clone(&last_report), host.clone());
        let task = tokio::spawn(async move {
            let mut report = |shadow| *writer.lock().unwrap() = Some(shadow);
            let policy = Policy::default();
            runner.shadow(module, &policy, &how, &mut report).await
        });
        let running = Self {
            module,
            host: host.clone(),
            last_report,
            task,
        };
        running.until(|_| true).await;
        running
    }

    /// Waits until its last report satisfies this condition.
    async fn until(&self, is_so: impl Fn(&Tally) -> bool) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(shadow) = &*self.last_report.lock().unwrap()
                && is_so(&tally(shadow))
            {
                return;
            }
            assert!(!self.task.is_finished());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?}", self.last_report);
    }

    /// A value from its last report.
    fn last<T>(&self, what: impl Fn(&Shadow) -> T) -> T {
        what(self.last_report.lock().unwrap().as_ref().unwrap())
    }

    /// Waits until it has processed the end of the log.
    async fn caught_up(&self) {
        let head = self.host.log_head().await.unwrap();
        while self.last(|shadow| shadow.found.decided.until) < head {
            assert!(!self.task.is_finished());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the shadow by activating its module.
    async fn end(self) -> Shadow {
        self.host.activate(self.module, None).await.unwrap();
        let shadow = self.task.await.unwrap().unwrap();
        assert_eq!(shadow.end, Some(End::Active));
        shadow
    }
}

fn tally(shadow: &Shadow) -> Tally {
    let mut tallies = shadow.found.decided.commands.values();
    tallies.next().copied().unwrap_or_default()
}

async fn live_decisions_are_compared(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().component()).await;
    for n in 0..20 {
        note(&host, n, "odd").await;
    }
    let before = host.log_head().await.unwrap();
    let running = Running::begin(&host, &decider().decides("other"), LONG).await;
    for n in 0..30 {
        note(&host, n, if n % 3 == 0 { "odd" } else { "plain" }).await;
    }
    running
        .until(|tally| tally.same + tally.different == 30)
        .await;
    let shadow = running.end().await;
    assert_eq!((tally(&shadow).same, tally(&shadow).different), (20, 10));
    assert_eq!((shadow.after, shadow.skipped), (before, 0));
    let [objection] = &shadow.found.objections[..] else {
        panic!("{shadow:?}");
    };
    assert_eq!((objection.kind, objection.count), (Kind::Decision, 10));
    let example = &shadow.found.decided.findings[0];
    assert!(example.position > before, "{example:?}");
    assert!(
        example
            .text
            .contains("+ noted 1 {\"n\":0,\"word\":\"even\"}"),
        "{example:?}"
    );
    assert_eq!(host.log_head().await.unwrap().0, before.0 + 60);
    assert!(super::verified(&host).await.is_sound());
}

async fn rejections_are_compared_too(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().decides("reject").component()).await;
    note(&host, 0, "odd").await;
    host.rejections(RejectionFilter::All, None, 1)
        .await
        .unwrap();
    let running = Running::begin(&host, &decider(), LONG).await;
    for n in 0..12 {
        note(&host, n, if n < 8 { "odd" } else { "plain" }).await;
    }
    running
        .until(|tally| (tally.same, tally.refusals.accepted) == (4, 8))
        .await;
    let shadow = running.end().await;
    let expected = Refusals {
        accepted: 8,
        ..Refusals::default()
    };
    assert_eq!(tally(&shadow).refusals, expected);
    assert_eq!(shadow.found.objections[0].kind, Kind::Accepted);
}

async fn a_shadow_can_decide_a_share_of_the_streams(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().component()).await;
    let how = Shadowing { share: 50, ..LONG };
    let running = Running::begin(&host, &decider().version("2.0.0"), how).await;
    for n in 0..70 {
        note(&host, n, "plain").await;
    }
    running.until(|tally| tally.same > 0).await;
    running.caught_up().await;
    let shadow = running.end().await;
    let same = tally(&shadow).same;
    // Whole streams, with ten commands each.
    assert!(
        (10..70).contains(&same) && same.is_multiple_of(10),
        "{same}"
    );
    assert!(shadow.found.objections.is_empty(), "{shadow:?}");
}

async fn a_shadow_ends_after_its_time_and_only_one_runs_at_a_time(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().component()).await;
    let how = Shadowing {
        time: Duration::from_secs(2),
        ..LONG
    };
    let running = Running::begin(&host, &decider().version("2.0.0"), how).await;
    let policy = Policy::default();
    let second = host
        .shadow(running.module, &policy, &how, &mut |_| {})
        .await;
    assert!(matches!(second, Err(Error::Shadowing)), "{second:?}");
    // A preflight can run at the same time.
    super::verified(&host).await;
    let shadow = running.task.await.unwrap().unwrap();
    assert_eq!(shadow.end, Some(End::Time));
    let short = Shadowing {
        time: Duration::from_millis(1),
        ..LONG
    };
    let again = host
        .shadow(running.module, &policy, &short, &mut |_| {})
        .await;
    assert_eq!(again.unwrap().end, Some(End::Time));
    let active = host.plan().active("note").unwrap();
    let again = host.shadow(active, &policy, &short, &mut |_| {}).await;
    assert!(matches!(again, Err(Error::Active(_))), "{again:?}");
    let unknown = host
        .shadow(Digest([1; 32]), &policy, &short, &mut |_| {})
        .await;
    assert!(matches!(unknown, Err(Error::Modules(_))), "{unknown:?}");
}

async fn a_shadow_continues_under_another_plan(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().component()).await;
    let running = Running::begin(&host, &decider().decides("other"), LONG).await;
    note(&host, 1, "odd").await;
    running.until(|tally| tally.different == 1).await;
    examples::deploy(&host, examples::account()).await;
    examples::deploy(&host, decider().version("3.0.0").component()).await;
    note(&host, 1, "odd").await;
    note(&host, 1, "plain").await;
    running
        .until(|tally| (tally.different, tally.same) == (2, 1))
        .await;
    let shadow = running.end().await;
    assert_eq!(shadow.found.plan, 3);
}

async fn commands_are_skipped_if_the_shadow_lags(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().component()).await;
    let how = Shadowing {
        lag_max: 8,
        cpu: 10,
        ..LONG
    };
    let running = Running::begin(&host, &decider().decides("slow"), how).await;
    let mut n = 0;
    // Sends commands until the shadow lags too far and skips some.
    while running.last(|shadow| shadow.skipped) == 0 {
        note(&host, n, "plain").await;
        n += 1;
        assert!(n < 100_000);
    }
    running.caught_up().await;
    let same = running.last(|shadow| tally(shadow).same);
    note(&host, 1, "plain").await;
    running.until(|tally| tally.same > same).await;
    let shadow = running.end().await;
    assert!(shadow.skipped > 8);
    let found = &shadow.found.decided.found;
    assert!(found.is_empty(), "{found:?}");
}

async fn events_that_a_shadow_cannot_fold_are_reported(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, decider().event("rare", 1).component()).await;
    let running = Running::begin(&host, &decider().event("rare", 1).traps_on_rare(), LONG).await;
    let events = json!([["rare", {"word": "rare"}]]);
    for id in ["note-1", "note-2"] {
        let command = build::command("note", &events.to_string());
        host.execute(&build::stream(id), command).await.unwrap();
    }
    note(&host, 1, "plain").await;
    running
        .until(|tally| tally.same + tally.undecided >= 3)
        .await;
    let shadow = running.end().await;
    let kinds: Vec<(Kind, u64)> = shadow
        .found
        .objections
        .iter()
        .map(|it| (it.kind, it.count))
        .collect();
    assert_eq!(kinds, [(Kind::Fold, 2)]);
}
