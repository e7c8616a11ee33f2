//! Semantics 8.1, 8.2 and 8.3: how stored events are lifted for their readers.

use quipu::model::{Name, Position, Version};
use quipu::store::{Direction, Filter};
use quipu::upcast::Form;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use crate::support::{deploy, log, note, read, seen, stored, texts, thing};

on_every_store!(
    a_chain_can_span_several_components_and_a_missing_step,
    a_split_is_lifted_further_part_by_part,
    an_event_can_be_dropped_in_the_middle_of_a_chain,
    an_aliased_event_is_read_under_its_canonical_name,
    a_filter_by_type_includes_events_stored_under_older_names,
    each_reader_gets_the_version_that_it_declares,
    events_without_a_step_are_not_changed,
    without_a_decider_readers_get_the_newest_version,
    stored_events_never_change,
    a_step_lifts_events_that_are_committed_while_it_is_deployed,
);

/// From version 1 to 5 through three components; version 3 has no step.
async fn a_chain_can_span_several_components_and_a_missing_step(place: Place) {
    let host = place.host().await;
    let events = (1..=5).map(|version| stored("went", version, &version.to_string()));
    host.append(&thing(), build::append(events.collect()))
        .await
        .unwrap();
    let first = probe("first").step("thing", ("went", 1), &[("went", 2)]);
    let second = probe("second").step("thing", ("went", 2), &[("went", 3)]);
    let third = probe("third").step("thing", ("went", 4), &[("went", 5)]);
    deploy(&host, &probe("thing").event("went", 5)).await;
    for module in [&third, &first, &second] {
        deploy(&host, module).await;
    }
    let expected = [
        r#"went@5 [[[1,"went@2"],"went@3"],"went@5"]"#,
        r#"went@5 [[2,"went@3"],"went@5"]"#,
        r#"went@5 [3,"went@5"]"#,
        r#"went@5 [4,"went@5"]"#,
        "went@5 5",
    ];
    assert_eq!(seen(&host, &thing()).await, expected);
    assert_eq!(texts(&read(&host, &thing()).await), expected);
    // Decisions use the same state.
    let answer = host.execute(&thing(), note(&json!([["went", 6]]))).await;
    assert_eq!(answer.unwrap().version, Version(6));
    assert_eq!(seen(&host, &thing()).await[5], "went@5 6");
}

async fn a_split_is_lifted_further_part_by_part(place: Place) {
    let host = place.host().await;
    let events = vec![stored("both", 1, "1"), stored("left", 2, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    let steps = probe("steps")
        .step(
            "thing",
            ("both", 1),
            &[("left", 1), ("right", 1), ("left", 2)],
        )
        .step("thing", ("left", 1), &[("left", 2)])
        .step("thing", ("right", 1), &[("east", 1), ("east", 1)]);
    deploy(&host, &probe("thing").event("left", 2).event("east", 3)).await;
    deploy(&host, &steps).await;
    let expected = [
        r#"left@2 [[1,"left@1"],"left@2"]"#,
        r#"east@3 [[1,"right@1"],"east@1"]"#,
        r#"east@3 [[1,"right@1"],"east@1"]"#,
        r#"left@2 [1,"left@2"]"#,
        "left@2 2",
    ];
    assert_eq!(seen(&host, &thing()).await, expected);
    let events = read(&host, &thing()).await;
    assert_eq!(texts(&events), expected);
    let parts = events.iter().map(|event| {
        let part = event
            .stored_as
            .as_ref()
            .map(|stored| (stored.part, stored.parts));
        (event.version.0, part, event.is_last_part())
    });
    let expected = [
        (1, Some((0, 4)), false),
        (1, Some((1, 4)), false),
        (1, Some((2, 4)), false),
        (1, Some((3, 4)), true),
        (2, None, true),
    ];
    assert_eq!(parts.collect::<Vec<_>>(), expected);
    assert!(events[..4].iter().all(|part| part.id == events[0].id));
}

async fn an_event_can_be_dropped_in_the_middle_of_a_chain(place: Place) {
    let host = place.host().await;
    let events = vec![
        stored("a", 1, "1"),
        stored("b", 1, "2"),
        stored("c", 1, "3"),
    ];
    host.append(&thing(), build::append(events)).await.unwrap();
    let other = build::stream("thing-2");
    let events = vec![stored("c", 1, "1"), stored("b", 1, "2")];
    host.append(&other, build::append(events)).await.unwrap();
    let steps = probe("steps")
        .step("thing", ("a", 1), &[("b", 1), ("c", 1)])
        .step("thing", ("b", 1), &[]);
    deploy(&host, &probe("thing").event("c", 1)).await;
    deploy(&host, &steps).await;
    let expected = [r#"c@1 [1,"c@1"]"#, "c@1 3"];
    assert_eq!(seen(&host, &thing()).await, expected);
    let page = host
        .read_stream(&thing(), Version(1), Direction::Forward, 2)
        .await
        .unwrap();
    assert_eq!(
        (texts(&page.events), page.next),
        (vec![expected[0].to_owned()], Some(Version(3)))
    );
    // The version counts stored events, so that the next command gets the right version.
    let answer = host
        .execute(&thing(), note(&json!([["c", 4]])))
        .await
        .unwrap();
    assert_eq!(answer.version, Version(4));
    // A stream that ends with dropped events still has the version of its last event.
    let view = host.state(&other).await.unwrap();
    assert_eq!(view.version, Version(2));
    let command = note(&json!([["c", 3]])).expecting(build::exact(2));
    assert_eq!(
        host.execute(&other, command).await.unwrap().version,
        Version(3)
    );
}

async fn an_aliased_event_is_read_under_its_canonical_name(place: Place) {
    let host = place.host().await;
    let events = vec![
        stored("was", 1, "1"),
        stored("is", 1, "2"),
        stored("other", 1, "3"),
    ];
    host.append(&thing(), build::append(events)).await.unwrap();
    let decider = probe("thing")
        .event_once_called("is", 2, &["was"])
        .event("other", 1);
    deploy(&host, &decider).await;
    assert_eq!(
        seen(&host, &thing()).await,
        ["is@2 1", "is@2 2", "other@1 3"]
    );
    for name in ["is", "was"] {
        let filter = Filter {
            types: Some(vec![Name::new(name).unwrap()]),
            ..Filter::default()
        };
        let found = log(&host, &filter).await;
        assert_eq!(texts(&found), ["is@2 1", "is@2 2"], "{name}");
        let found = host
            .read_log(Position(0), Direction::Forward, 10, &filter)
            .form(Form::Stored)
            .await
            .unwrap();
        assert_eq!(texts(&found.events), ["was@1 1", "is@1 2"], "{name}");
        let rest = Filter {
            not_types: filter.types,
            ..Filter::default()
        };
        let found = log(&host, &rest).await;
        assert_eq!(texts(&found), ["other@1 3"], "{name}");
        let found = host
            .read_log(Position(0), Direction::Forward, 10, &rest)
            .form(Form::Stored)
            .await
            .unwrap();
        assert_eq!(texts(&found.events), ["other@1 3"], "{name}");
    }
}

async fn a_filter_by_type_includes_events_stored_under_older_names(place: Place) {
    let host = place.host().await;
    let events = vec![
        stored("both", 1, "1"),
        stored("b", 1, "2"),
        stored("c", 1, "3"),
    ];
    host.append(&thing(), build::append(events)).await.unwrap();
    // In another category the name means a different type.
    let other = build::stream("other-1");
    host.append(&other, build::append(vec![stored("both", 1, "4")]))
        .await
        .unwrap();
    let steps = probe("steps")
        .step("thing", ("both", 1), &[("a", 1), ("b", 1)])
        .step("thing", ("a", 1), &[("new", 1)]);
    deploy(
        &host,
        &probe("thing").event("new", 1).event("b", 1).event("c", 1),
    )
    .await;
    deploy(&host, &steps).await;
    let found = async |name: &str| {
        let filter = Filter {
            types: Some(vec![Name::new(name).unwrap()]),
            ..Filter::default()
        };
        texts(&log(&host, &filter).await)
    };
    let new = r#"new@1 [[1,"a@1"],"new@1"]"#;
    assert_eq!(found("new").await, [new]);
    assert_eq!(found("b").await, [r#"b@1 [1,"b@1"]"#, "b@1 2"]);
    assert_eq!(found("both").await, [new, r#"b@1 [1,"b@1"]"#, "both@1 4"]);
    assert_eq!(found("c").await, ["c@1 3"]);
    assert!(found("a").await.is_empty());
    let without = async |name: &str| {
        let filter = Filter {
            not_types: Some(vec![Name::new(name).unwrap()]),
            ..Filter::default()
        };
        texts(&log(&host, &filter).await)
    };
    // Parts of another type of a split event are read, too.
    assert_eq!(
        without("new").await,
        [r#"b@1 [1,"b@1"]"#, "b@1 2", "c@1 3", "both@1 4"]
    );
    assert_eq!(without("b").await, [new, "c@1 3", "both@1 4"]);
    // A filter that excludes a name excludes the events stored under it, in each category.
    assert_eq!(without("both").await, ["b@1 2", "c@1 3"]);
    assert_eq!(without("a").await.len(), 5);
}

/// A decider of version 2 can read the same events while version 3 is active, and the other way
/// round.
async fn each_reader_gets_the_version_that_it_declares(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1"), stored("went", 2, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    let second = probe("thing")
        .event("went", 2)
        .step("thing", ("went", 1), &[("went", 2)]);
    let third = probe("thing")
        .version("2.0.0")
        .event("gone", 1)
        .step("thing", ("went", 1), &[("went", 2)])
        .step("thing", ("went", 2), &[("gone", 1)]);
    let old = deploy(&host, &second).await;
    let new = deploy(&host, &third).await;
    let at = quipu::engine::At::Now;
    let by = async |digest| {
        let view = host.state_at(&thing(), at, Some(digest)).await;
        crate::support::seen_in(&view.unwrap().state)
    };
    let expected = [
        r#"gone@1 [[1,"went@2"],"gone@1"]"#,
        r#"gone@1 [2,"gone@1"]"#,
    ];
    assert_eq!(by(new).await, expected);
    assert_eq!(by(old).await, [r#"went@2 [1,"went@2"]"#, "went@2 2"]);
    // An event that only the new decider declares is an error for the old one, which reports it.
    host.execute(&thing(), note(&json!([["gone", 3]])))
        .await
        .unwrap();
    let error = host.state_at(&thing(), at, Some(old)).await.unwrap_err();
    assert_eq!(error.code(), "unreadable-event");
    assert!(error.to_string().contains("gone"), "{error}");
}

async fn events_without_a_step_are_not_changed(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, r#"{"b":1, "a":  2.50}"#)];
    host.append(&thing(), build::append(events)).await.unwrap();
    deploy(&host, &probe("thing").event("went", 1)).await;
    deploy(
        &host,
        &probe("steps").step("thing", ("other", 1), &[("went", 1)]),
    )
    .await;
    let events = read(&host, &thing()).await;
    assert_eq!(texts(&events), [r#"went@1 {"b":1, "a":  2.50}"#]);
    assert!(events[0].stored_as.is_none());
}

async fn without_a_decider_readers_get_the_newest_version(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1"), stored("free", 7, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    let steps = probe("steps")
        .step("thing", ("went", 1), &[("went", 2)])
        .step("thing", ("went", 2), &[("gone", 9)]);
    deploy(&host, &steps).await;
    let expected = [r#"gone@9 [[1,"went@2"],"gone@9"]"#, "free@7 2"];
    assert_eq!(texts(&read(&host, &thing()).await), expected);
}

async fn stored_events_never_change(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1"), stored("both", 1, "2")];
    host.append(&thing(), build::append(events)).await.unwrap();
    let all = Filter::default();
    let stored_log = || {
        host.read_log(Position(0), Direction::Forward, 10, &all)
            .form(Form::Stored)
    };
    let before = stored_log().await.unwrap().events;
    deploy(&host, &probe("thing").event("gone", 1)).await;
    let steps = probe("steps")
        .step("thing", ("went", 1), &[("gone", 1)])
        .step("thing", ("both", 1), &[("gone", 1), ("gone", 1)]);
    deploy(&host, &steps).await;
    assert_eq!(read(&host, &thing()).await.len(), 3);
    let mut after = stored_log().await.unwrap().events;
    assert_eq!(after, before);
    let stream = thing();
    let page = host
        .read_stream(&stream, Version(1), Direction::Forward, 10)
        .form(Form::Stored);
    after = page.await.unwrap().events;
    assert_eq!(after, before);
}

/// A warm state is refolded when a new component lifts its events.
async fn a_step_lifts_events_that_are_committed_while_it_is_deployed(place: Place) {
    let host = place.host().await;
    let events = vec![stored("went", 1, "1")];
    host.append(&thing(), build::append(events)).await.unwrap();
    deploy(&host, &probe("thing").event("went", 2)).await;
    host.execute(&thing(), note(&json!([["went", 2]])))
        .await
        .unwrap();
    assert_eq!(seen(&host, &thing()).await, ["went@2 1", "went@2 2"]);
    deploy(
        &host,
        &probe("steps").step("thing", ("went", 1), &[("went", 2)]),
    )
    .await;
    host.execute(&thing(), note(&json!([["went", 3]])))
        .await
        .unwrap();
    let expected = [r#"went@2 [1,"went@2"]"#, "went@2 2", "went@2 3"];
    assert_eq!(seen(&host, &thing()).await, expected);
}
