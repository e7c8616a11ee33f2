//! Semantics 5.1: a guest whose decisions depend on other data in its instance.

use quipu::engine::{Error, Options};
use quipu::model::{Command, StreamId};
use quipu::runtime::FaultKind;
use quipu_tests::{Place, examples, guest, on_every_store};

on_every_store! {
    a_decision_that_a_second_instance_does_not_repeat_is_a_fault,
    a_pure_guest_passes_the_check,
    a_guest_that_depends_on_the_address_of_its_state_is_found,
    a_guest_that_depends_on_the_batches_of_events_is_found,
}

async fn decide(place: &Place, guest: &str) -> Vec<Result<u64, Error>> {
    let engine = Options {
        workers: 1,
        check_purity: true,
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, guest::component(guest)).await;
    let mut answers = Vec::new();
    for stream in ["probe-1", "probe-2"] {
        let stream = StreamId::new(stream).unwrap();
        let command = Command::new("go", "{}").unwrap();
        let executed = host.execute(&stream, command).await;
        answers.push(executed.map(|executed| executed.version.0));
    }
    host.shutdown().await.unwrap();
    answers
}

async fn a_decision_that_a_second_instance_does_not_repeat_is_a_fault(place: Place) {
    let answers = decide(&place, "leaky").await;
    assert!(matches!(answers[0], Ok(1)), "{:?}", answers[0]);
    assert_impure(&answers[1]);
}

async fn a_pure_guest_passes_the_check(place: Place) {
    let answers = decide(&place, "count").await;
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(1))),
        "{answers:?}"
    );
}

fn assert_impure(answer: &Result<u64, Error>) {
    match answer {
        Err(Error::Fault(fault)) => {
            assert_eq!(fault.kind, FaultKind::Contract);
            assert!(fault.text.contains("not pure"), "{}", fault.text);
        }
        other => panic!("{other:?}"),
    }
}

async fn a_guest_that_depends_on_the_address_of_its_state_is_found(place: Place) {
    assert_impure(&decide(&place, "places").await[0]);
}

async fn a_guest_that_depends_on_the_batches_of_events_is_found(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, guest::component("batches")).await;
    let stream = StreamId::new("probe-1").unwrap();
    for _ in 0..3 {
        let command = Command::new("go", "{}").unwrap();
        host.execute(&stream, command).await.unwrap();
    }
    host.shutdown().await.unwrap();
    // After a restart, the three events are passed in one call.
    assert_impure(&decide(&place, "batches").await[0]);
}
