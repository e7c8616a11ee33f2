//! After a conflict, what is missing is loaded, and no more.

use quipu::Host;
use quipu_tests::{Place, build, examples, on_every_store};

on_every_store!(
    after_a_conflict_only_new_events_are_loaded,
    a_state_is_not_resumed_by_another_decider,
);

/// More events than a page has, so that they would be read in several.
const EVENTS: usize = 1_500;

/// Opens an account, and gives it a long history.
async fn long_account(host: &Host) {
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let deposits = || (0..EVENTS / 2).map(|_| build::event("deposited", r#"{"amount":1}"#));
    for _ in 0..2 {
        let events = deposits().collect();
        host.append(&account, build::foreign(events)).await.unwrap();
    }
}

/// Lets somebody else write to the account first, and returns how many events the host loads for
/// its next command.
async fn loaded_after_a_conflict(host: &Host) -> f64 {
    let account = build::stream("account-1");
    host.execute(&account, build::deposit(1)).await.unwrap();
    let other = vec![build::event("deposited", r#"{"amount":1}"#)];
    host.append(&account, build::foreign(other)).await.unwrap();
    let before = host.meters().load_events.read().sum;
    host.execute(&account, build::deposit(1)).await.unwrap();
    host.meters().load_events.read().sum - before
}

async fn balance(host: &Host) -> u64 {
    let account = build::stream("account-1");
    let state = host.state(&account).await.unwrap().state;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    state["balance"].as_u64().unwrap()
}

/// Semantics 5.2.
async fn after_a_conflict_only_new_events_are_loaded(place: Place) {
    let host = place.bank().await;
    long_account(&host).await;
    // The first conflict shows that others write to the stream, which is then read as a whole.
    loaded_after_a_conflict(&host).await;
    assert!(host.meters().load_events.read().sum >= 1_500.0);
    for round in 0..3 {
        let loaded = loaded_after_a_conflict(&host).await;
        assert!(loaded < 20.0, "round {round}: {loaded} events");
    }
    // Nothing was lost or folded twice: this much can be withdrawn, and no more.
    let whole = EVENTS as u64 + 4 * 3;
    assert_eq!(balance(&host).await, whole);
    let account = build::stream("account-1");
    let too_much = host.execute(&account, build::withdraw(whole + 1)).await;
    assert_eq!(too_much.unwrap_err().code(), "rejected");
    host.execute(&account, build::withdraw(whole))
        .await
        .unwrap();
}

async fn a_state_is_not_resumed_by_another_decider(place: Place) {
    let host = place.bank().await;
    long_account(&host).await;
    loaded_after_a_conflict(&host).await;
    assert!(loaded_after_a_conflict(&host).await < 20.0);
    // The same module, activated a second time, may be another decider to the host.
    examples::deploy(&host, examples::account()).await;
    let before = host.meters().load_events.read().sum;
    let account = build::stream("account-1");
    host.execute(&account, build::deposit(1)).await.unwrap();
    let loaded = host.meters().load_events.read().sum - before;
    assert!(loaded >= 1_500.0 || loaded == 0.0, "{loaded} events");
}
