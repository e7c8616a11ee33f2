//! A projection that fails does not affect anything else, whatever the kind of failure and its
//! lifecycle.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu::deploy::ProjectionChanges;
use quipu::engine::Error;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Options, State};
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use super::support::{
    NOTES, active, document, documents, note, now, quick, settings, try_note, until_state,
};

on_every_store!(
    an_inline_projection_that_keeps_failing_does_not_affect_others,
    a_failing_inline_projection_continues_immediately_when_it_is_detached,
    an_inline_fold_that_loops_fails_only_its_own_append,
    an_inline_document_that_gets_too_large_fails_only_its_own_append,
    two_other_projections_continue_after_every_failure_under_every_policy,
);

/// A host that gives inline folds more time, however busy the machine is.
async fn host(place: &Place) -> Host {
    let options = Options {
        inline_time: Duration::from_secs(2),
        failing_after: 3,
        ..quick()
    };
    place.builder().projections(options).build().await.unwrap()
}

/// `notes` by stream, and two other projections of the same events.
fn three(does: &str) -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"does": does}))
        .projection("healthy", 1, json!({"keys": "one", "does": "heal"}))
        .projection("inline", 1, json!({"keys": "one", "does": "heal"}))
}

/// Deploys them: `notes` and `inline` with these settings, the other asynchronously.
async fn deploy(host: &Host, probe: &Probe, lifecycle: Lifecycle, on_error: OnError) {
    let digest = host.upload(probe.component()).await.unwrap();
    let changes = BTreeMap::from([
        (NOTES.to_owned(), settings(lifecycle, on_error)),
        (
            "inline".to_owned(),
            settings(Lifecycle::Inline, OnError::Stop),
        ),
    ]);
    let digest = digest.module.digest();
    host.deploy(
        Deploy::new(digest)
            .preflight(Demand::Skip)
            .projections(ProjectionChanges {
                changes: changes.clone(),
                ..ProjectionChanges::default()
            }),
    )
    .await
    .unwrap();
}

fn bad(how: &str) -> Value {
    json!({"n": 1, "bad": {"apply": how}})
}

/// The result of an append that failed: the error's code, and whether the projection was called.
fn unprojected(failed: Result<quipu::model::Position, Error>) -> (&'static str, bool) {
    match failed {
        Err(Error::Unprojected(why)) => {
            assert_eq!(&*why.projection, NOTES, "{why:?}");
            let is_called = !why.is_failing;
            (Error::Unprojected(why).code(), is_called)
        }
        other => panic!("{other:?}"),
    }
}

/// The number of events in the only document of a projection.
async fn count(host: &Host, name: &str) -> u64 {
    let all = host.view(name, "all", now(host).await).await.unwrap();
    let document: Value = serde_json::from_str(&all.document).unwrap();
    document["count"].as_u64().unwrap()
}

async fn an_inline_projection_that_keeps_failing_does_not_affect_others(place: Place) {
    let host = host(&place).await;
    deploy(&host, &three(""), Lifecycle::Inline, OnError::Stop).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    for _ in 0..3 {
        let failed = try_note(&host, "note-1", &bad("trap")).await;
        assert_eq!(unprojected(failed), ("guest-fault", true));
    }
    let status = until_state(&host, State::Failing).await;
    assert!(status.trouble.unwrap().error.contains("trap"));
    // Its appends are refused without calling it, except for an occasional trial. Everything else
    // continues.
    let mut refused = 0;
    for n in 0..20 {
        let failed = unprojected(try_note(&host, "note-2", &bad("trap")).await);
        refused += usize::from(failed == ("projection-failing", false));
        note(&host, &format!("other-{n}"), &json!({"n": 1})).await;
    }
    assert!(refused >= 15, "{refused} of 20 were refused without a call");
    assert_eq!(count(&host, "inline").await, 1);
    // A new module fixes it, without waiting.
    let healed = three("heal").version("1.0.1");
    deploy(&host, &healed, Lifecycle::Inline, OnError::Stop).await;
    note(&host, "note-1", &bad("trap")).await;
    until_state(&host, State::Inline).await;
    assert_eq!(document(&host, "note-1").await["sum"], 2);
    for name in ["inline", "healthy"] {
        assert_eq!(count(&host, name).await, 2);
    }
    host.shutdown().await.unwrap();
}

/// Semantics 9.9.
async fn a_failing_inline_projection_continues_immediately_when_it_is_detached(place: Place) {
    let host = host(&place).await;
    deploy(&host, &three(""), Lifecycle::Inline, OnError::Skip).await;
    for _ in 0..3 {
        unprojected(try_note(&host, "note-1", &bad("internal")).await);
    }
    until_state(&host, State::Failing).await;
    host.control_projection(NOTES, Action::Detach)
        .await
        .unwrap();
    note(&host, "note-1", &bad("internal")).await;
    note(&host, "note-1", &json!({"n": 5})).await;
    assert_eq!(document(&host, "note-1").await["sum"], 5);
    assert_eq!(count(&host, "inline").await, 2);
    host.shutdown().await.unwrap();
}

/// Ten appends at the same time, one of which fails.
async fn one_of_ten(host: &Host, body: &Value) {
    let appending = (0..10).map(|n| async move {
        let good = json!({"n": 1});
        let body = if n == 4 { body } else { &good };
        try_note(host, &format!("note-{n}"), body).await
    });
    let answers = futures::future::join_all(appending).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match n {
            4 => assert_eq!(unprojected(answer), ("guest-fault", true)),
            _ => _ = answer.unwrap(),
        }
    }
}

async fn only_its_own_append(place: &Place, body: &Value) {
    let host = host(place).await;
    deploy(&host, &three(""), Lifecycle::Inline, OnError::Stop).await;
    for _ in 0..2 {
        one_of_ten(&host, body).await;
    }
    assert_eq!(documents(&host, NOTES).await.len(), 9);
    for name in ["inline", "healthy"] {
        assert_eq!(count(&host, name).await, 18);
    }
    let status = host.projection(NOTES).await.unwrap();
    assert_eq!(status.builds[0].state, State::Inline);
    host.shutdown().await.unwrap();
}

async fn an_inline_fold_that_loops_fails_only_its_own_append(place: Place) {
    only_its_own_append(&place, &bad("loop")).await;
}

async fn an_inline_document_that_gets_too_large_fails_only_its_own_append(place: Place) {
    only_its_own_append(&place, &json!({"large": 2_000_000})).await;
}

/// Semantics 9.5.
async fn two_other_projections_continue_after_every_failure_under_every_policy(place: Place) {
    let failures = [
        bad("trap"),
        bad("loop"),
        bad("not-json"),
        json!({"large": 2_000_000}),
        json!({"n": 1, "bad": {"keys": "trap"}}),
        json!({"n": 1, "bad": {"keys": "loop"}}),
    ];
    for policy in [OnError::Stop, OnError::Skip, OnError::Park] {
        let place = place.another();
        let host = host(&place).await;
        deploy(&host, &three(""), Lifecycle::Async, policy).await;
        for (n, body) in failures.iter().enumerate() {
            let stream = format!("note-{n}");
            note(&host, &stream, &json!({"n": 1})).await;
            note(&host, &stream, body).await;
            note(&host, &stream, &json!({"n": 1})).await;
        }
        let events = 3 * failures.len() as u64;
        for name in ["inline", "healthy"] {
            assert_eq!(count(&host, name).await, events, "{policy:?} {name}");
        }
        check_policy(&host, policy, failures.len()).await;
        host.shutdown().await.unwrap();
    }
}

/// The resulting state of `notes`.
async fn check_policy(host: &Host, policy: OnError, streams: usize) {
    if policy == OnError::Stop {
        let build = until_state(host, State::Stopped).await;
        assert_eq!(build.trouble.unwrap().stream.as_deref(), Some("note-0"));
        return;
    }
    let counts = documents(host, NOTES).await.into_values().map(|document| {
        let document: Value = serde_json::from_str(&document).unwrap();
        document["count"].as_u64().unwrap()
    });
    let tally = active(host).await.counts;
    let (each, parked, skipped) = match policy {
        OnError::Park => (1, 2 * streams as u64, 0),
        _ => (2, 0, streams as u64),
    };
    assert_eq!(counts.collect::<Vec<_>>(), vec![each; streams]);
    assert_eq!(
        (tally.parked, tally.skipped),
        (parked, skipped),
        "{tally:?}"
    );
}
