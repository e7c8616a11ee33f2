//! Semantics 8.6: the state of a stream in the past.

use std::sync::Arc;

use quipu::engine::At;
use quipu::model::{ManualClock, Timestamp, Version};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

use crate::support::{deploy, engine, note, seen_in, stored, thing};

on_every_store!(
    the_state_at_a_version_is_that_of_the_events_up_to_it,
    the_state_at_a_time_is_that_of_the_longest_prefix,
    a_version_that_the_stream_does_not_have_is_refused,
    a_module_that_does_not_decide_the_category_is_refused,
);

async fn the_state_at_a_version_is_that_of_the_events_up_to_it(place: Place) {
    let host = engine(&place, quipu::engine::Policy::Off)
        .build()
        .await
        .unwrap();
    let events = vec![stored("both", 1, "1"), stored("went", 1, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    deploy(
        &host,
        &probe("steps").step("thing", ("both", 1), &[("went", 1), ("went", 1)]),
    )
    .await;
    for number in 0..20 {
        host.execute(&thing(), note(&json!([["went", number]])))
            .await
            .unwrap();
        if number == 9 {
            host.snapshot(&thing()).await.unwrap();
        }
    }
    let whole = crate::support::seen(&host, &thing()).await;
    for version in 0..=22u64 {
        let view = host
            .state_at(&thing(), At::Version(Version(version)), None)
            .await
            .unwrap();
        assert_eq!(view.version, Version(version));
        // The first event has two parts, which are always applied together.
        let folded = if version == 0 {
            0
        } else {
            version as usize + 1
        };
        assert_eq!(seen_in(&view.state), whole[..folded], "{version}");
    }
}

async fn the_state_at_a_time_is_that_of_the_longest_prefix(place: Place) {
    let clock = Arc::new(ManualClock::default());
    let host = place.builder().clock(clock.clone()).build().await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    // The third event is recorded at the time of the second, because the clock ran backward.
    for (number, at) in [1_000, 2_000, 1_500, 3_000].into_iter().enumerate() {
        clock.set(Timestamp(at));
        host.execute(&thing(), note(&json!([["went", number]])))
            .await
            .unwrap();
    }
    for (time, version) in [
        (0, 0),
        (999, 0),
        (1_000, 1),
        (1_999, 1),
        (2_000, 3),
        (2_999, 3),
        (3_000, 4),
        (u64::MAX, 4),
    ] {
        let view = host
            .state_at(&thing(), At::Time(Timestamp(time)), None)
            .await
            .unwrap();
        assert_eq!(view.version, Version(version), "{time}");
        assert_eq!(seen_in(&view.state).len() as u64, version);
    }
}

async fn a_version_that_the_stream_does_not_have_is_refused(place: Place) {
    let host = place.host().await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    let at = |version| At::Version(Version(version));
    let error = host.state_at(&thing(), at(1), None).await.unwrap_err();
    assert_eq!(error.code(), "stream-not-found");
    host.execute(&thing(), note(&json!([["went", 1]])))
        .await
        .unwrap();
    assert_eq!(
        host.state_at(&thing(), at(1), None).await.unwrap().version,
        Version(1)
    );
    for version in [2, u64::MAX] {
        let error = host
            .state_at(&thing(), at(version), None)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "bad-request");
        assert!(error.to_string().contains("has version 1"), "{error}");
    }
}

async fn a_module_that_does_not_decide_the_category_is_refused(place: Place) {
    let host = place.host().await;
    deploy(&host, &probe("thing").event("went", 1)).await;
    host.execute(&thing(), note(&json!([["went", 1]])))
        .await
        .unwrap();
    let account = host
        .upload(examples::account())
        .await
        .unwrap()
        .module
        .digest();
    for digest in [account, quipu::model::Digest([7; 32])] {
        let error = host
            .state_at(&thing(), At::Now, Some(digest))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "module-not-found", "{error}");
    }
}
