//! Semantics 6: faults of a guest, as a caller sees them.

use quipu::engine::Error;
use quipu::runtime::{FaultKind, Limits};
use quipu_tests::{Place, build, examples, guest, log, on_every_store};

on_every_store! {
    a_fault_reports_its_kind_and_its_module,
    a_guest_that_cannot_fold_an_event_fails_the_load,
    a_fault_while_folding_the_new_events_stores_nothing,
}

async fn a_fault_reports_its_kind_and_its_module(place: Place) {
    let limits = Limits {
        fuel_per_call: 5_000_000,
        memory_bytes_max: 2 << 20,
        output_bytes_max: 20_000,
        ..Limits::default()
    };
    let host = place.builder().limits(limits).build().await.unwrap();
    let stream = build::stream("probe-1");
    for (name, kind) in [
        ("trap", FaultKind::Trap),
        ("divide", FaultKind::Trap),
        ("loop", FaultKind::OutOfFuel),
        ("recursion", FaultKind::Trap),
        ("bad-json", FaultKind::Contract),
        ("unknown-type", FaultKind::Contract),
        ("internal", FaultKind::Internal),
        ("large-output", FaultKind::OutputTooLarge),
    ] {
        let digest = examples::deploy(&host, guest::component(name)).await;
        for _ in 0..2 {
            match host.execute(&stream, build::command("go", "{}")).await {
                Err(Error::Fault(fault)) => {
                    assert_eq!(
                        (fault.kind, fault.digest),
                        (kind, digest),
                        "{name}: {fault}"
                    );
                    assert_eq!(fault.component, "probe");
                    assert!((1..5_000).contains(&fault.text.len()), "{fault}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(log::whole(&host).await.is_empty(), "{name}");
    }
    examples::deploy(&host, guest::component("skeleton")).await;
    host.execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
}

async fn a_guest_that_cannot_fold_an_event_fails_the_load(place: Place) {
    let host = place.host().await;
    let stream = build::stream("probe-1");
    examples::deploy(&host, guest::component("skeleton")).await;
    let go = |id: &str| build::command_as(id, "go", "{}");
    host.execute(&stream, go("a")).await.unwrap();
    examples::deploy(&host, guest::component("picky")).await;
    let answer = host.execute(&stream, go("b")).await;
    assert_eq!(answer.unwrap_err().code(), "unreadable-event");
    assert!(host.execute(&stream, go("a")).await.unwrap().replayed);
    let answer = host.execute(&build::stream("probe-2"), go("b")).await;
    assert_eq!(answer.unwrap_err().code(), "invalid-command");
    examples::deploy(&host, guest::component("skeleton")).await;
    assert_eq!(host.execute(&stream, go("b")).await.unwrap().version.0, 2);
}

async fn a_fault_while_folding_the_new_events_stores_nothing(place: Place) {
    let host = place.host().await;
    let faulty = guest::decider_with("(func $apply (type $apply) unreachable)");
    examples::deploy(&host, faulty).await;
    let stream = build::stream("probe-1");
    for _ in 0..3 {
        let answer = host.execute(&stream, build::command("go", "{}")).await;
        assert_eq!(answer.unwrap_err().code(), "guest-fault");
    }
    assert!(log::whole(&host).await.is_empty());
}
