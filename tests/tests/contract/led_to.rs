//! The cause of an event: the command that a module decided, as it was accepted.

use quipu::model::{Context, Position};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store! {
    every_event_of_a_commit_has_its_command,
    an_event_that_no_module_decided_has_no_command,
    a_command_is_found_by_another_host,
}

/// Two events from each command, alternating with events of other streams.
/// Semantics 3.1.
async fn every_event_of_a_commit_has_its_command(place: Place) {
    let host = place.host().await;
    let note = probe("note").event("noted", 1);
    examples::deploy(&host, note.component()).await;
    let body = |id: &str| format!(r#"[["noted", "{id}"], ["noted", 9], ["noted", 7.0]]"#);
    for (id, stream) in [("c1", "note-1"), ("c2", "note-2"), ("c3", "note-1")] {
        let command = build::command_as(id, "note", &body(id));
        host.execute(&build::stream(stream), command).await.unwrap();
    }
    let events = log::whole(&host).await;
    let ids = ["c1", "c1", "c1", "c2", "c2", "c2", "c3", "c3", "c3"];
    assert_eq!(events.len(), ids.len());
    for (event, id) in events.iter().zip(ids) {
        let command = host.command_of(event).await.unwrap().unwrap();
        assert_eq!(command.id.as_str(), id);
        assert_eq!(command.name.as_str(), "note");
        assert_eq!(command.body.as_json(), Some(body(id).as_str()));
        assert_ne!(command.seed, [0; 4]);
        assert!(command.accepted_at <= event.recorded_at);
    }
}

async fn an_event_that_no_module_decided_has_no_command(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, build::append_as("k1", build::events(2)))
        .await
        .unwrap();
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    host.archive(&stream, Context::default()).await.unwrap();
    let events = log::whole(&host).await;
    assert_eq!(events.len(), 4);
    for event in events {
        assert_eq!(host.command_of(&event).await.unwrap(), None);
    }
}

async fn a_command_is_found_by_another_host(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let open = build::command_as("o1", "open", r#"{"owner": "ann"}"#);
    host.execute(&account, open).await.unwrap();
    let event = host.event(Position(1)).await.unwrap().unwrap();
    let command = host.command_of(&event).await.unwrap().unwrap();
    host.shutdown().await.unwrap();
    let host = place.host().await;
    let again = host.command_of(&event).await.unwrap().unwrap();
    assert_eq!(again, command);
    assert_eq!(again.body.as_json(), Some(r#"{"owner": "ann"}"#));
}
