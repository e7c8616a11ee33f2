//! A module that is no longer in use holds no memory, even if nobody sends commands.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quipu::Host;
use quipu_tests::{PATIENCE, Place, build, examples, guest, on_every_store};

on_every_store!(a_replaced_module_is_dropped_with_its_warm_states);

/// The maximum number of modules that a host keeps: the latest plans and the modules compiled last.
const KNOWN: usize = 16 + 8;
const REPLACED: usize = 10;

async fn go(host: &Host, number: usize) {
    let stream = build::stream(&format!("probe-{number}"));
    host.execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
}

async fn a_replaced_module_is_dropped_with_its_warm_states(place: Place) {
    let host = place.host().await;
    let mut modules: Vec<Weak<_>> = Vec::new();
    for number in 0..REPLACED + KNOWN {
        let mut component = guest::component("skeleton");
        // A custom section makes it a different module.
        component.extend([0, 3, 1, b'x', u8::try_from(number).unwrap()]);
        let digest = examples::deploy(&host, component).await;
        modules.push(Arc::downgrade(&host.module(digest).await.unwrap()));
        for stream in 0..10 {
            // Some streams are not used a second time.
            go(&host, stream + number).await;
        }
    }
    let replaced = &modules[..REPLACED];
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if replaced.iter().all(|module| module.strong_count() == 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let held: Vec<_> = replaced.iter().map(Weak::strong_count).collect();
    assert_eq!(held, [0; REPLACED], "references to replaced modules");
    assert!(modules[REPLACED + KNOWN - 1].strong_count() > 0);
    go(&host, 0).await;
    host.shutdown().await.unwrap();
}
