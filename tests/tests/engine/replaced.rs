//! A module that is not in use any more holds no memory, though nobody sends a command.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quipu::Host;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

on_every_store!(a_replaced_module_is_given_up_with_what_is_warm_in_it);

async fn note(host: &Host, number: usize) {
    let stream = build::stream(&format!("note-{number}"));
    let command = quipu::model::Command::new("note", json!([["noted", {}]]).to_string());
    host.execute(&stream, command.unwrap()).await.unwrap();
}

async fn a_replaced_module_is_given_up_with_what_is_warm_in_it(place: Place) {
    let host = place.host().await;
    let version = |number: usize| {
        let version = format!("1.0.{number}");
        let probe = probe("note").event("noted", 1).version(&version);
        probe.component()
    };
    let mut replaced: Vec<Weak<_>> = Vec::new();
    for number in 0..4 {
        let active = examples::deploy(&host, version(number)).await;
        for stream in 0..20 {
            note(&host, stream).await;
        }
        replaced.push(Arc::downgrade(&host.module(active).await.unwrap()));
    }
    let active = replaced.pop().unwrap();
    for _ in 0..1_000 {
        if replaced.iter().all(|module| module.strong_count() == 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let held: Vec<_> = replaced.iter().map(Weak::strong_count).collect();
    assert_eq!(held, [0, 0, 0], "who holds a replaced module");
    assert!(active.strong_count() > 0);
    note(&host, 1).await;
    host.shutdown().await.unwrap();
}
