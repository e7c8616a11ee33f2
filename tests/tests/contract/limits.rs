//! Semantics 2.6: the limits of an append, each obeyed and exceeded.

use quipu::engine::{Error, Options};
use quipu::model::{AppendLimits, NewEvent};
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    the_number_of_events_per_append_is_bounded,
    the_size_of_an_event_is_bounded,
    the_size_of_an_append_is_bounded,
    the_size_of_metadata_is_bounded,
    the_length_of_a_type_is_bounded,
    the_number_and_length_of_tags_are_bounded,
    a_command_has_the_same_limits_as_an_event,
}

/// A host with small limits accepts the first append and refuses the second, because of this limit.
async fn check(place: Place, obeys: Vec<NewEvent>, violates: Vec<NewEvent>, what: &str) {
    let limits = AppendLimits {
        events_max: 5,
        event_bytes_max: 100,
        append_bytes_max: 300,
        metadata_bytes_max: 50,
        type_bytes_max: 20,
        tags_max: 3,
        tag_bytes_max: 10,
    };
    let engine = Options {
        limits,
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    let stream = build::stream("note-1");
    let count = obeys.len();
    host.append(&stream, build::append(obeys)).await.unwrap();
    match host.append(&stream, build::append(violates)).await {
        Err(Error::TooLarge(error)) => assert_eq!(error.what, what, "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(log::of(&host, &stream).await.len(), count);
}

/// An event with a body of this number of bytes.
fn of_bytes(bytes: usize) -> NewEvent {
    build::event("noted", &format!("\"{}\"", "x".repeat(bytes - 2)))
}

async fn the_number_of_events_per_append_is_bounded(place: Place) {
    check(
        place,
        build::events(5),
        build::events(6),
        "events per append",
    )
    .await;
}

async fn the_size_of_an_event_is_bounded(place: Place) {
    check(
        place,
        vec![of_bytes(100)],
        vec![of_bytes(101)],
        "bytes per event",
    )
    .await;
}

async fn the_size_of_an_append_is_bounded(place: Place) {
    let obeys = vec![of_bytes(100), of_bytes(100), of_bytes(100)];
    let violates = vec![of_bytes(100), of_bytes(100), of_bytes(99), of_bytes(2)];
    check(place, obeys, violates, "bytes per append").await;
}

async fn the_size_of_metadata_is_bounded(place: Place) {
    let with = |bytes: usize| {
        let mut event = build::event("noted", "{}");
        event.metadata = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into());
        vec![event]
    };
    check(place, with(50), with(51), "bytes of metadata").await;
}

async fn the_length_of_a_type_is_bounded(place: Place) {
    let with = |bytes| vec![build::event(&"x".repeat(bytes), "{}")];
    check(place, with(20), with(21), "bytes of an event's type").await;
}

async fn the_number_and_length_of_tags_are_bounded(place: Place) {
    let with = |tags: usize, bytes: usize| {
        let mut event = build::event("noted", "{}");
        event.tags = (0..tags)
            .map(|n| format!("t:{n:0>width$}", width = bytes - 2).into())
            .collect();
        vec![event]
    };
    check(place.another(), with(3, 10), with(4, 10), "tags per event").await;
    check(place, with(3, 10), with(3, 11), "bytes of a tag").await;
}

async fn a_command_has_the_same_limits_as_an_event(place: Place) {
    let engine = Options {
        limits: AppendLimits {
            event_bytes_max: 20,
            metadata_bytes_max: 10,
            type_bytes_max: 8,
            ..AppendLimits::default()
        },
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    let stream = build::stream("account-1");
    let body = |bytes: usize| build::command("open", &format!("\"{}\"", "x".repeat(bytes - 2)));
    let mut metadata = body(20);
    metadata.metadata = Some("{\"a\":\"123\"}".into());
    for (command, code) in [
        (body(20), "unknown-category"),
        (body(21), "too-large"),
        (build::command("12345678", "{}"), "unknown-category"),
        (build::command("123456789", "{}"), "too-large"),
        (metadata, "too-large"),
    ] {
        let answer = host.execute(&stream, command.clone()).await;
        assert_eq!(answer.unwrap_err().code(), code, "{command:?}");
    }
}
