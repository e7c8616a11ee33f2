//! Semantics 8.4 and 8.5: contradictions are refused, and both sides are named.

use quipu::deploy::Error;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, note, seen, stored, thing};

on_every_store!(
    steps_that_contradict_each_other_are_refused,
    a_replaced_module_causes_no_contradiction,
    a_component_that_contradicts_itself_is_refused_at_upload,
    an_event_that_is_too_new_is_an_error_only_for_deciders_that_need_it,
    a_type_that_no_module_declares_fails_the_load_with_its_name,
    a_broken_upcaster_fails_only_readers_of_its_events,
);

async fn refused(host: &quipu::Host, probe: &Probe) -> String {
    let digest = host
        .upload(probe.component())
        .await
        .unwrap()
        .module
        .digest();
    let number = host.plan().number;
    let error = host.activate(digest, None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!(host.plan().number, number);
    error.to_string()
}

async fn steps_that_contradict_each_other_are_refused(place: Place) {
    let host = place.host().await;
    deploy(
        &host,
        &probe("thing").event_once_called("went", 3, &["was"]),
    )
    .await;
    deploy(
        &host,
        &probe("first").step("thing", ("went", 1), &[("went", 2)]),
    )
    .await;
    let same = probe("second").step("thing", ("went", 1), &[("went", 3)]);
    let text = refused(&host, &same).await;
    assert!(
        text.contains("first@") && text.contains("second@"),
        "{text}"
    );
    let alias = probe("second").step("thing", ("was", 1), &[("went", 3)]);
    let text = refused(&host, &alias).await;
    assert!(
        text.contains("first@") && text.contains("second@"),
        "{text}"
    );
    let current = probe("second").step("thing", ("went", 3), &[("went", 4)]);
    let text = refused(&host, &current).await;
    assert!(
        text.contains("second@") && text.contains("thing@"),
        "{text}"
    );
    assert!(text.contains("version 3"), "{text}");
    let circle =
        probe("second")
            .step("thing", ("a", 1), &[("b", 1)])
            .step("thing", ("b", 1), &[("a", 1)]);
    let text = refused(&host, &circle).await;
    assert!(text.contains("leads back to itself"), "{text}");
    let mut many = probe("second");
    for version in 1..=20 {
        let mut results = vec![("b", 1); 59];
        results.push(("a", version + 1));
        many = many.step("wide", ("a", version), &results);
    }
    let text = refused(&host, &many).await;
    assert!(text.contains("20 steps with 1200 results"), "{text}");
    // The same step in another category contradicts nothing.
    deploy(
        &host,
        &probe("second").step("other", ("went", 1), &[("went", 3)]),
    )
    .await;
    // A decider that goes back to a version that a step lifts.
    let text = refused(&host, &probe("thing").event("went", 1)).await;
    assert!(text.contains("first@") && text.contains("thing@"), "{text}");
    // A component without a decider does not replace one: see `take_over`.
    let files = host.plan();
    assert_eq!(files.number, 3);
}

async fn a_replaced_module_causes_no_contradiction(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1")];
    host.append(&thing(), build::append(events)).await.unwrap();
    deploy(&host, &probe("thing").event("went", 3)).await;
    deploy(
        &host,
        &probe("steps").step("thing", ("went", 1), &[("went", 2)]),
    )
    .await;
    let other = probe("steps").step("thing", ("went", 1), &[("went", 3)]);
    deploy(&host, &other).await;
    assert_eq!(seen(&host, &thing()).await, [r#"went@3 [1,"went@3"]"#]);
}

async fn a_component_that_contradicts_itself_is_refused_at_upload(place: Place) {
    let host = place.host().await;
    let step = |probe: Probe, from, to: &[(&str, u32)]| probe.step("thing", from, to);
    let wrong = [
        (step(probe("a"), ("went", 0), &[("went", 1)]), "begin at 1"),
        (
            step(probe("a"), ("went", 1), &[("went", 1)]),
            "later version",
        ),
        (
            step(probe("a"), ("went", 2), &[("went", 1)]),
            "later version",
        ),
        (
            step(probe("a"), ("went", 1), &[("gone", 0)]),
            "later version",
        ),
        (step(probe("a"), ("", 1), &[]), "empty"),
        (step(probe("a"), ("$own", 1), &[]), "belong to the host"),
        (
            step(probe("a").step("thing", ("went", 1), &[]), ("went", 1), &[]),
            "two steps",
        ),
        (probe("a").step("Thing", ("went", 1), &[]), "not a category"),
        (
            probe("thing")
                .event("went", 2)
                .step("thing", ("went", 2), &[("went", 3)]),
            "version 2",
        ),
        (
            probe("thing")
                .event_once_called("went", 2, &["was"])
                .step("thing", ("was", 1), &[])
                .step("thing", ("went", 1), &[]),
            "called went",
        ),
        (
            probe("a").event_once_called("b", 1, &["c"]).event("c", 1),
            "two events are called c",
        ),
        (probe("a").state(3, &[(1, 2)]), "goes on at 3"),
        (probe("a").state(3, &[(1, 2), (1, 3)]), "two migrations"),
        (probe("a").state(2, &[(2, 1)]), "later version"),
    ];
    for (probe, word) in wrong {
        let error = host.upload(probe.component()).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(host.modules().await.unwrap().is_empty());
}

async fn an_event_that_is_too_new_is_an_error_only_for_deciders_that_need_it(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 5, "1")];
    host.append(&thing(), build::append(events)).await.unwrap();
    let other = build::stream("thing-2");
    host.append(&other, build::append(vec![stored("went", 2, "2")]))
        .await
        .unwrap();
    deploy(&host, &probe("thing").event("went", 3)).await;
    for id in ["a", "b"] {
        let command = note(&json!([["went", 1]])).with_id(id).unwrap();
        let error = host.execute(&thing(), command).await.unwrap_err();
        assert_eq!(error.code(), "unreadable-event");
        let text = error.to_string();
        assert!(
            text.contains("thing-1") && text.contains("schema version 5"),
            "{text}"
        );
        assert!(text.contains('3'), "{text}");
    }
    assert_eq!(seen(&host, &other).await, ["went@3 2"]);
    // Plain reads always work: an event that is too new is returned as it is stored.
    let read = crate::support::read(&host, &thing()).await;
    assert_eq!(crate::support::texts(&read), ["went@5 1"]);
    // Activating a decider that reads the event fixes it.
    deploy(&host, &probe("thing").event("went", 5)).await;
    assert_eq!(seen(&host, &thing()).await, ["went@5 1"]);
}

async fn a_type_that_no_module_declares_fails_the_load_with_its_name(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1"), stored("strange", 1, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    let error = host.execute(&thing(), note(&json!([]))).await.unwrap_err();
    assert_eq!(error.code(), "unreadable-event");
    assert!(error.to_string().contains("strange"), "{error}");
    let read = crate::support::read(&host, &thing()).await;
    assert_eq!(crate::support::texts(&read), ["went@1 1", "strange@1 2"]);
    // Activating a step that drops the event fixes it.
    deploy(&host, &probe("steps").step("thing", ("strange", 1), &[])).await;
    assert_eq!(seen(&host, &thing()).await, ["went@1 1"]);
}

async fn a_broken_upcaster_fails_only_readers_of_its_events(place: Place) {
    let host = place.host().await;
    let broken = [
        ("trap", "guest-fault", "version 2 of stream thing-0"),
        ("bad-event", "unreadable-event", "version 2"),
        ("undeclared", "guest-fault", "something-else"),
        ("too-few", "guest-fault", "results"),
    ];
    let healthy = build::stream("thing-9");
    let append = async |stream: &_, events| host.append(stream, build::append(events)).await;
    append(&healthy, vec![stored("went", 2, "9")])
        .await
        .unwrap();
    for (n, (does, _, _)) in broken.iter().enumerate() {
        let stream = build::stream(&format!("thing-{n}"));
        let old = format!("old-{does}");
        let events = vec![stored("went", 2, "1"), stored(&old, 1, r#""bad""#)];
        append(&stream, events).await.unwrap();
    }
    deploy(&host, &probe("thing").event("went", 2)).await;
    let mut steps = probe("steps");
    for (does, _, _) in broken {
        let old = format!("old-{does}");
        steps = steps.step_that("thing", (&old, 1), &[("went", 2)], does);
    }
    deploy(&host, &steps).await;
    for (n, (_, code, word)) in broken.iter().enumerate() {
        let stream = build::stream(&format!("thing-{n}"));
        for _ in 0..2 {
            let error = host
                .execute(&stream, note(&json!([["went", 2]])))
                .await
                .unwrap_err();
            assert_eq!(error.code(), *code, "{error}");
            assert!(error.to_string().contains(word), "{word}: {error}");
            let read = host.read_stream(&stream, quipu::model::Version(1), Default::default(), 10);
            assert_eq!(read.await.unwrap_err().code(), *code);
            host.execute(&healthy, note(&json!([["went", 3]])))
                .await
                .unwrap();
        }
    }
    assert_eq!(seen(&host, &healthy).await.len(), 9);
    log_up_to_what_is_broken(&host).await;
    // The next deployment fixes it without changing an event.
    let mut mended = probe("steps").version("1.0.1");
    for (does, _, _) in broken {
        let old = format!("old-{does}");
        mended = mended.step("thing", (&old, 1), &[("went", 2)]);
    }
    deploy(&host, &mended).await;
    for n in 0..broken.len() {
        let stream = build::stream(&format!("thing-{n}"));
        host.execute(&stream, note(&json!([["went", 2]])))
            .await
            .unwrap();
        assert_eq!(seen(&host, &stream).await.len(), 3);
    }
}

/// A page of the log ends before an event that cannot be lifted; the next page reports why.
async fn log_up_to_what_is_broken(host: &quipu::Host) {
    use quipu::store::{Direction, Filter};
    use quipu::upcast::Form;

    let filter = Filter::default();
    let begin = quipu::model::Position(0);
    let page = host
        .read_log(begin, Direction::Forward, 100, &filter)
        .await
        .unwrap();
    assert_eq!(
        crate::support::texts(&page.events),
        ["went@2 9", "went@2 1"]
    );
    let next = page.next.unwrap();
    let error = host
        .read_log(next, Direction::Forward, 100, &filter)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "guest-fault");
    let stored = host
        .read_log(begin, Direction::Forward, 100, &filter)
        .form(Form::Stored);
    assert!(stored.await.unwrap().events.len() > 9);
}
