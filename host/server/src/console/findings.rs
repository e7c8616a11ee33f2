//! What needs attention, ordered by how bad it is. The limits are those of the alerts in
//! `ops/prometheus`.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout;
use super::overview::seconds;
use super::recent::{Counts, REACH_WORDS};
use super::text::Untrusted;
use quipu::app::{Figures, SubscriptionLag};
use quipu::projection::Lag;
use quipu::store::Job;
use quipu_api::{BuildView, CheckView, ProjectionView, VerifiedView};

const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 24.0 * HOUR_S;
/// A projection with more seconds of lag needs attention.
const LAG_SECONDS_MAX: f64 = 30.0;
/// How long no host may fold a build: others take it over meanwhile.
const UNOWNED_SECONDS_MAX: f64 = 10.0;
/// The most positions between a named subscription and the end of the log.
const SUBSCRIPTION_LAG_MAX: u64 = 10_000;
/// How long an event may wait for a named subscription that nobody handles.
const UNHELD_SECONDS_MAX: f64 = 300.0;
/// A certificate that expires earlier needs attention.
const CERTIFICATE_SECONDS_MIN: f64 = 14.0 * DAY_S;
const BACKUP_SECONDS_MAX: f64 = 26.0 * HOUR_S;
const VERIFY_SECONDS_MAX: f64 = 8.0 * DAY_S;

/// How bad it is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// The host can't work, or what is stored is not what it should be.
    Broken,
    /// Callers are refused, or get an error.
    Refused,
    /// Something does not continue until somebody acts.
    Stopped,
    /// Something continues later, or without a part.
    Late,
    /// Somebody should do something soon, or know it.
    Soon,
}

/// Something that needs attention.
pub struct Finding {
    weight: Weight,
    pub text: Markup,
}

/// What is known of the host. What the reader may not read is empty.
pub struct Known<'a> {
    pub now: Timestamp,
    pub checks: &'a [CheckView],
    /// What happened in the last minutes.
    pub recent: &'a Counts,
    pub figures: Option<&'a Figures>,
    pub projections: &'a [ProjectionView],
    /// When the certificate expires, in seconds since 1970.
    pub certificate_expires_s: Option<f64>,
    /// The newest verification of this host, if it has a result.
    pub verified: Option<&'a VerifiedView>,
    /// When the first module became active.
    pub used_since: Option<Timestamp>,
}

impl Known<'_> {
    /// What needs attention, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |weight: Weight, text: Markup| found.push(Finding { weight, text });
        self.checks(&mut add);
        self.store(&mut add);
        self.callers(&mut add);
        for projection in self.projections {
            self.projection(projection, &mut add);
        }
        for subscription in self.figures.iter().flat_map(|it| &it.subscriptions) {
            of_subscription(subscription, &mut add);
        }
        self.jobs(&mut add);
        self.certificate(&mut add);
        found.sort_by_key(|it| it.weight);
        found
    }

    fn checks(&self, add: &mut impl FnMut(Weight, Markup)) {
        for check in self.checks {
            let name = html! { strong { (Untrusted(&check.name)) } };
            if let Some(fault) = &check.fault {
                let text = html! { (name) " does not work: " (Untrusted(fault)) };
                add(Weight::Broken, text);
            } else if let Some(restarts) = self.recent.restarts.get(&check.name) {
                let text = html! {
                    (name) " was restarted " (layout::count(*restarts, "time", "times")) " " (REACH_WORDS)
                    @if let Some(cause) = &check.cause { ": " (Untrusted(cause)) }
                };
                add(Weight::Soon, text);
            }
        }
    }

    /// What the store lost, refused, or has changed.
    fn store(&self, add: &mut impl FnMut(Weight, Markup)) {
        if let Some(lost) = self.figures.and_then(|figures| figures.lost) {
            let text = html! { "The store lost acknowledged events at " (lost.range()) };
            add(Weight::Broken, text);
        }
        if let Some(verified) = self.verified.filter(|it| !it.sound) {
            let open = verified.found.saturating_sub(verified.acknowledged);
            let text = html! { "The newest " (verification()) " has " (layout::count(open, "finding", "findings")) };
            add(Weight::Broken, text);
        }
        let (commits, commands) = (self.recent.commit_failures, self.recent.failed);
        if commits > 0 || commands > 0 {
            let text = html! {
                "The store failed " (layout::count(commits, "commit", "commits")) " and "
                (layout::count(commands, "command", "commands")) " " (REACH_WORDS)
            };
            add(Weight::Broken, text);
        }
    }

    fn callers(&self, add: &mut impl FnMut(Weight, Markup)) {
        let overloaded = self.recent.overloaded;
        if overloaded > 0 {
            let text = html! { "The host refused " (layout::count(overloaded, "command", "commands")) " as overloaded " (REACH_WORDS) };
            add(Weight::Refused, text);
        }
        for (digest, faults) in &self.recent.faults {
            let text = html! {
                "The guest " (Untrusted(&faults.name)) " (" (layout::module(digest)) ") had "
                (layout::count(faults.count, "fault", "faults")) " " (REACH_WORDS) "; the log of the host says where"
            };
            add(Weight::Refused, text);
        }
    }

    fn projection(&self, it: &ProjectionView, add: &mut impl FnMut(Weight, Markup)) {
        let name =
            html! { "Projection " (layout::link(&layout::projection_path(&it.name), &it.name)) };
        let mut lags = self.figures.iter().flat_map(|figures| &figures.projections);
        let lag = lags.find(|lag| *lag.name == *it.name);
        let mut is_unowned = false;
        for build in it.builds.iter().filter(|build| build.role != "previous") {
            of_build(build, &name, add);
            let is_idle = it.paused || build.state == "orphaned";
            if !is_idle && self.is_unowned(build, lag) {
                is_unowned = true;
                let text = html! { (name) (which(build)) " is folded by no host, and lags by " (layout::count(build.lag, "event", "events")) };
                add(Weight::Stopped, text);
            }
        }
        if it.paused {
            add(Weight::Soon, html! { (name) " is paused" });
        }
        let age = lag.and_then(|lag| lag.age).unwrap_or_default();
        let is_late = age.as_secs_f64() > LAG_SECONDS_MAX;
        if is_late && !it.paused && !is_unowned {
            let text = html! { (name) " lags by " (seconds(age.as_secs_f64())) };
            add(Weight::Late, text);
        }
    }

    /// Whether no host folds a build, and for longer than a host needs to take it over.
    fn is_unowned(&self, build: &BuildView, lag: Option<&Lag>) -> bool {
        if build.owned || build.lag == 0 {
            return false;
        }
        let of_active = lag.filter(|_| build.role == "active");
        let waits_s = match of_active.and_then(|lag| lag.age) {
            Some(age) => age.as_secs_f64(),
            // A first build and a rebuild have no lag in time.
            None => match build.started_at.parse::<Timestamp>() {
                Ok(started_at) => self.seconds_since(started_at),
                Err(_) => f64::INFINITY,
            },
        };
        waits_s > UNOWNED_SECONDS_MAX
    }

    /// Backups and verifications that are old or missing.
    fn jobs(&self, add: &mut impl FnMut(Weight, Markup)) {
        let Some(figures) = self.figures else { return };
        let last = |jobs: &[Job]| {
            let times = jobs.iter().filter_map(|job| figures.last_jobs.of(*job));
            let last = times.max_by_key(|at| at.0)?;
            let micros = i64::try_from(last.0).unwrap_or(i64::MAX);
            Timestamp::from_microsecond(micros).ok()
        };
        let used_s = self.used_since.map(|at| self.seconds_since(at));
        let backup = last(&[Job::Backup, Job::Ship]).map(|at| self.seconds_since(at));
        match (backup, used_s) {
            (Some(age), _) if age > BACKUP_SECONDS_MAX => {
                let text = html! { "The last " (operations("backup")) " of the store is " (seconds(age)) " old" };
                add(Weight::Soon, text);
            }
            (None, Some(used)) if used > BACKUP_SECONDS_MAX => {
                let text = html! { "No " (operations("backup")) " of the store was reported for " (seconds(used)) };
                add(Weight::Soon, text);
            }
            _ => {}
        }
        let verify = last(&[Job::Verify]).map(|at| self.seconds_since(at));
        match (verify, used_s) {
            (Some(age), _) if age > VERIFY_SECONDS_MAX => {
                let text = html! { "The last " (verification()) " without a finding is " (seconds(age)) " old" };
                add(Weight::Soon, text);
            }
            (None, Some(used)) if used > VERIFY_SECONDS_MAX => {
                let text = html! { "No " (verification()) " without a finding was made for " (seconds(used)) };
                add(Weight::Soon, text);
            }
            _ => {}
        }
    }

    fn certificate(&self, add: &mut impl FnMut(Weight, Markup)) {
        let Some(expires_s) = self.certificate_expires_s else {
            return;
        };
        let left_s = expires_s - self.now.as_second() as f64;
        if left_s <= 0.0 {
            add(Weight::Refused, html! { "The certificate has expired" });
        } else if left_s < CERTIFICATE_SECONDS_MIN {
            let days = (left_s / DAY_S) as u64;
            let text = html! { "The certificate expires in " (layout::count(days, "day", "days")) };
            add(Weight::Soon, text);
        }
    }

    fn seconds_since(&self, at: Timestamp) -> f64 {
        (self.now.as_second() - at.as_second()).max(0) as f64
    }
}

/// Errors of a build, and what it waits for.
fn of_build(build: &BuildView, name: &Markup, add: &mut impl FnMut(Weight, Markup)) {
    let which = which(build);
    let is_failing = build.state == "failing";
    if let Some(trouble) = &build.trouble {
        let weight = match (is_failing, trouble.stopped) {
            (true, _) => Weight::Refused,
            (false, true) => Weight::Stopped,
            (false, false) => Weight::Late,
        };
        let text = html! { (name) (which) " is " (Untrusted(&build.state)) ": " (Untrusted(&trouble.error)) };
        add(weight, text);
    } else if is_failing {
        let text = html! { (name) (which) " is failing: appends with events for it are rejected" };
        add(Weight::Refused, text);
    }
    if build.parked > 0 {
        let text = html! { (name) (which) " has " (layout::count(build.parked, "parked event", "parked events")) };
        add(Weight::Late, text);
    }
    if let Some(waits) = &build.waits {
        let text = html! { (name) (which) " waits: " (Untrusted(waits)) };
        add(Weight::Soon, text);
    }
}

fn which(build: &BuildView) -> &'static str {
    match &*build.role {
        "next" => " (rebuild)",
        _ => "",
    }
}

fn of_subscription(it: &SubscriptionLag, add: &mut impl FnMut(Weight, Markup)) {
    let name = html! { "Subscription " (layout::link(super::subscriptions::PATH, &it.name)) };
    let age_s = it.age.unwrap_or_default().as_secs_f64();
    if !it.is_held && age_s > UNHELD_SECONDS_MAX {
        let text =
            html! { (name) " has no handler: its oldest event has waited for " (seconds(age_s)) };
        add(Weight::Stopped, text);
    } else if it.events > SUBSCRIPTION_LAG_MAX {
        let text = html! { (name) " lags by " (it.events) " positions" };
        add(Weight::Late, text);
    }
}

fn operations(what: &str) -> Markup {
    html! { a href="/console/operations" { (what) } }
}

fn verification() -> Markup {
    operations("verification")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::recent::Faults;
    use super::*;
    use quipu::model::Position;
    use quipu::store::{LastJobs, Loss};

    const NOW: &str = "2026-01-31T12:00:00Z";

    fn texts(known: &Known<'_>) -> Vec<String> {
        let found = known.findings().into_iter();
        found.map(|it| it.text.into_string()).collect()
    }

    fn nothing<'a>(recent: &'a Counts, figures: Option<&'a Figures>) -> Known<'a> {
        Known {
            now: NOW.parse().unwrap(),
            checks: &[],
            recent,
            figures,
            projections: &[],
            certificate_expires_s: None,
            verified: None,
            used_since: None,
        }
    }

    fn figures() -> Figures {
        Figures {
            log_head: Position(20_000),
            store_bytes: None,
            lost: None,
            projections: Vec::new(),
            subscriptions: Vec::new(),
            last_jobs: LastJobs::default(),
        }
    }

    fn lag(age_s: Option<u64>) -> Lag {
        Lag {
            name: "books".into(),
            events: 7,
            age: age_s.map(Duration::from_secs),
            parked: 0,
            is_owned: true,
            is_paused: false,
            is_failing: false,
            rebuilt: None,
        }
    }

    fn build(role: &str, other: &Value) -> Value {
        let mut build = json!({
            "role": role, "version": 1, "module": "d1", "state": "catching-up", "position": 3,
            "lag": 7, "documents": 1, "parked": 0, "skipped": 0, "started_at": "2026-01-31T11:00:00Z",
            "owned": true,
        });
        let members = build.as_object_mut().unwrap();
        members.extend(other.as_object().unwrap().clone());
        build
    }

    fn projection(is_paused: bool, builds: &[Value]) -> ProjectionView {
        let view = json!({
            "name": "books", "deployed": null, "lifecycle": "async", "on_error": "stop",
            "state": "catching-up", "paused": is_paused, "held": false, "log_head": 10,
            "builds": builds,
        });
        serde_json::from_value(view).unwrap()
    }

    fn subscription(name: &str, events: u64, age_s: u64, is_held: bool) -> SubscriptionLag {
        SubscriptionLag {
            name: name.to_owned(),
            events,
            age: Some(Duration::from_secs(age_s)),
            is_held,
        }
    }

    /// Each text has its part, in this order.
    fn check(found: &[String], expected: &[&str]) {
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }

    #[test]
    fn the_worst_is_first() {
        let faults = Faults {
            name: "account".to_owned(),
            count: 2,
        };
        let recent = Counts {
            faults: BTreeMap::from([("d1".to_owned(), faults)]),
            commit_failures: 1,
            failed: 4,
            overloaded: 5,
            restarts: BTreeMap::from([("listener".to_owned(), 1)]),
        };
        let mut figures = figures();
        figures.lost = Some(Loss {
            from: 5,
            to: 6,
            is_accepted: false,
        });
        figures.projections = vec![lag(Some(31))];
        figures.subscriptions = vec![
            subscription("late", 10_001, 10, true),
            subscription("idle", 2, 301, false),
        ];
        let view = |name: &str, fault: Option<&str>| -> CheckView {
            let view = json!({"name": name, "is_ready": fault.is_none(), "fault": fault});
            serde_json::from_value(view).unwrap()
        };
        let checks = [view("listener", None), view("writer", Some("it is full"))];
        let parked = json!({"parked": 3, "waits": "for somebody"});
        let projections = [projection(false, &[build("active", &parked)])];
        let known = Known {
            checks: &checks,
            projections: &projections,
            certificate_expires_s: Some(1_770_000_000.0),
            used_since: Some("2026-01-01T12:00:00Z".parse().unwrap()),
            ..nothing(&recent, Some(&figures))
        };
        let expected = [
            "writer</strong> does not work: it is full",
            "The store lost acknowledged events at positions 5 to 6",
            "The store failed 1 commit and 4 commands in the last 5 minutes",
            "refused 5 commands as overloaded",
            "had 2 faults in the last 5 minutes",
            "has no handler: its oldest event has waited for 5 min",
            "has 3 parked events",
            "lags by 31 s",
            "lags by 10001 positions",
            "listener</strong> was restarted 1 time in the last 5 minutes",
            "waits: for somebody",
            "No <a href=\"/console/operations\">backup</a> of the store was reported for 30 days",
            "without a finding was made for 30 days",
            "The certificate expires in 1 day",
        ];
        check(&texts(&known), &expected);
    }

    #[test]
    fn what_is_within_its_limits_needs_no_attention() {
        let recent = Counts::default();
        let mut figures = figures();
        figures.projections = vec![lag(Some(30))];
        figures.subscriptions = vec![
            subscription("late", 10_000, 10_000, true),
            subscription("idle", 2, 300, false),
        ];
        let now: Timestamp = NOW.parse().unwrap();
        let micros = |ago_s: i64| {
            let at = (now.as_second() - ago_s) * 1_000_000;
            Some(quipu::model::Timestamp(at.unsigned_abs()))
        };
        figures.last_jobs = LastJobs {
            backup: micros(400 * 3_600),
            ship: micros(26 * 3_600),
            verify: micros(8 * 24 * 3_600),
        };
        let projections = [projection(false, &[build("active", &json!({}))])];
        let known = Known {
            projections: &projections,
            used_since: Some("2020-01-01T00:00:00Z".parse().unwrap()),
            ..nothing(&recent, Some(&figures))
        };
        check(&texts(&known), &[]);
        figures.last_jobs = LastJobs {
            backup: None,
            ship: micros(26 * 3_600 + 1),
            verify: micros(8 * 24 * 3_600 + 1),
        };
        let known = Known {
            projections: &[],
            ..nothing(&recent, Some(&figures))
        };
        let expected = [
            "of the store is 26 h old",
            "without a finding is 8 days old",
        ];
        check(&texts(&known), &expected);
    }

    #[test]
    fn a_build_without_a_host_needs_attention_when_nobody_takes_it_over() {
        let recent = Counts::default();
        let found = |age_s, is_paused, builds: &[Value]| {
            let mut figures = figures();
            figures.projections = vec![lag(age_s)];
            let projections = [projection(is_paused, builds)];
            texts(&Known {
                projections: &projections,
                ..nothing(&recent, Some(&figures))
            })
        };
        let unowned = |role, other: Value| {
            let mut build = build(role, &other);
            build["owned"] = false.into();
            build
        };
        let active = || unowned("active", json!({}));
        check(&found(Some(10), false, &[active()]), &[]);
        let nobody = "folded by no host, and lags by 7 events";
        check(&found(Some(11), false, &[active()]), &[nobody]);
        // It is said one time.
        check(&found(Some(60), false, &[active()]), &[nobody]);
        check(&found(Some(60), true, &[active()]), &["is paused"]);
        // A first build and a rebuild are judged by their own age.
        let begun = unowned("next", json!({"started_at": "2026-01-31T11:59:55Z"}));
        let idle = unowned("next", json!({"started_at": "2026-01-31T11:59:45Z"}));
        let owned = build("active", &json!({"lag": 0}));
        check(&found(Some(0), false, &[owned.clone(), begun]), &[]);
        check(
            &found(Some(0), false, &[owned, idle]),
            &["(rebuild) is folded"],
        );
        check(&found(None, false, &[active()]), &[nobody]);
    }

    #[test]
    fn a_verification_with_findings_and_a_certificate_that_expired_need_attention() {
        let view = json!({
            "sound": false, "until": 9, "head": 9, "events": 9, "raw": 0, "commands": [],
            "snapshots": {"agree": 0, "differ": 0, "unusable": 0}, "findings": [],
            "found": 3, "acknowledged": 1,
        });
        let verified: VerifiedView = serde_json::from_value(view).unwrap();
        let recent = Counts::default();
        let known = Known {
            verified: Some(&verified),
            certificate_expires_s: Some(0.0),
            ..nothing(&recent, None)
        };
        let expected = ["has 2 findings", "The certificate has expired"];
        check(&texts(&known), &expected);
    }
}
