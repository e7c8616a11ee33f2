//! The lag of a projection: what grows after its owner died, and what does not during a build.

use std::time::{Duration, Instant};

use quipu::Host;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Lag, Options, State};
use quipu::store::Role;
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::json;

use super::child::{Projector, written};
use super::parking::{broken, healed};
use super::support::{
    NOTES, build_of, builder, deploy, host, note, quick, settings, until, until_state,
};

on_every_store!(
    a_first_build_has_no_lag_in_seconds,
    a_rebuild_is_not_a_lag,
    a_paused_projection_lags_and_says_that_it_is_paused,
);

mod postgres_hosts {
    use quipu_tests::{Place, rule};

    rule!(
        a_projection_whose_owner_was_killed_lags_and_has_no_owner_after_its_lease,
        Place::postgres()
    );
}

const LEASE: Duration = Duration::from_secs(1);

async fn lag(host: &Host) -> Lag {
    let figures = host.figures().await.unwrap();
    let mut lags = figures.projections.into_iter();
    lags.find(|lag| &*lag.name == NOTES).unwrap()
}

async fn until_lag(host: &Host, what: &str, is_so: impl Fn(&Lag) -> bool) -> Lag {
    let begun = Instant::now();
    loop {
        let lag = lag(host).await;
        if is_so(&lag) {
            return lag;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}: {lag:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn has_caught_up(lag: &Lag) -> bool {
    (lag.events, lag.age) == (0, Some(Duration::ZERO))
}

/// A host that claims no build which another host owned when it started.
async fn onlooker(place: &Place) -> Host {
    let options = Options {
        lease: Duration::from_hours(1),
        poll: Duration::from_hours(1),
        ..quick()
    };
    builder(place).projections(options).build().await.unwrap()
}

async fn a_projection_whose_owner_was_killed_lags_and_has_no_owner_after_its_lease(place: Place) {
    let path = written(&place, &healed());
    let actions = [format!("async={}", path.display()), "owned".to_owned()];
    let mut owner = Projector::start(&place, LEASE, &actions);
    owner.until("owned");
    let other = onlooker(&place).await;
    note(&other, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    let lag = until_lag(&other, "caught up", |lag| {
        has_caught_up(lag) && lag.is_owned
    });
    assert!(!lag.await.is_paused);
    owner.kill();
    let killed_at = Instant::now();
    note(&other, "note-1", &json!({"n": 2, "keys": ["a"]})).await;
    let lag = until_lag(&other, "without an owner", |lag| !lag.is_owned);
    let lag = lag.await;
    let took = killed_at.elapsed();
    assert!(took < LEASE * 5, "the lease ended after {took:?}");
    assert_eq!((lag.is_paused, lag.is_failing), (false, false));
    assert!(
        lag.events > 0 && lag.age > Some(Duration::ZERO),
        "within the lease: {lag:?}"
    );
    let grows = until_lag(&other, "growing", |now| now.age > lag.age).await;
    assert!(!grows.is_owned, "{grows:?}");
    // As soon as a host runs it, the lag ends.
    let next = host(&place).await;
    until_lag(&other, "caught up", has_caught_up).await;
    next.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

async fn a_first_build_has_no_lag_in_seconds(place: Place) {
    let host = host(&place).await;
    let bad = json!({"apply": "trap", "key": "a"});
    let first = json!({"n": 1, "keys": ["a"], "bad": bad});
    note(&host, "note-1", &first).await;
    let stop = settings(Lifecycle::Async, OnError::Stop);
    deploy(&host, &broken(), stop).await;
    until_state(&host, State::Stopped).await;
    let begun = lag(&host).await;
    assert_eq!((begun.age, begun.is_failing), (None, true), "{begun:?}");
    assert!(begun.events > 0 && begun.rebuilt.is_some_and(|ratio| ratio < 1.0));
    deploy(&host, &healed(), stop).await;
    let done = until_lag(&host, "caught up", has_caught_up).await;
    assert_eq!(done.rebuilt, None);
    host.shutdown().await.unwrap();
}

async fn a_rebuild_is_not_a_lag(place: Place) {
    let host = host(&place).await;
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 0..50 {
        note(&host, "note-1", &json!({"n": n, "keys": ["a"]})).await;
    }
    until_lag(&host, "caught up", has_caught_up).await;
    let rebuild = Action::Rebuild { hold: true };
    host.control_projection(NOTES, rebuild).await.unwrap();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "never rebuilt");
        let during = lag(&host).await;
        assert!(has_caught_up(&during), "{during:?}");
        let part = during.rebuilt.unwrap();
        if part >= 1.0 {
            break;
        }
    }
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until(&host, "switched", |status| {
        build_of(status, Role::Next).is_none()
    })
    .await;
    let after = lag(&host).await;
    assert!(has_caught_up(&after), "{after:?}");
    host.shutdown().await.unwrap();
}

async fn a_paused_projection_lags_and_says_that_it_is_paused(place: Place) {
    let host = host(&place).await;
    let stop = settings(Lifecycle::Async, OnError::Stop);
    deploy(&host, &healed(), stop).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    until_lag(&host, "caught up", has_caught_up).await;
    host.control_projection(NOTES, Action::Pause).await.unwrap();
    until_lag(&host, "given back", |lag| !lag.is_owned).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    let paused = until_lag(&host, "lagging", |lag| lag.age > Some(Duration::ZERO)).await;
    assert!(paused.is_paused && !paused.is_failing, "{paused:?}");
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    let resumed = until_lag(&host, "caught up", has_caught_up).await;
    assert!(!resumed.is_paused, "{resumed:?}");
    host.shutdown().await.unwrap();
}
