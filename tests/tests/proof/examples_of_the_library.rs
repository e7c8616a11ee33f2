//! The examples of the library's documentation do what it says.

use quipu::projection::{Freshness, WAIT_MAX};
use quipu::{Deploy, DeployError};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, log, on_every_store};
use serde_json::{Value, json};

use super::candidates::{active, filled, upload};

#[allow(dead_code)]
#[path = "../../../host/examples/embedded.rs"]
mod embedded;
#[path = "../../../host/examples/library/execute.rs"]
mod execute;
#[path = "../../../host/examples/library/project.rs"]
mod project;
#[path = "../../../host/examples/library/swap.rs"]
mod swap;

on_every_store! {
    an_account_is_opened_once,
    a_read_includes_the_events_of_an_execution,
    a_module_with_other_decisions_becomes_active_when_they_are_allowed,
}

async fn an_account_is_opened_once(place: Place) {
    let host = place.host().await;
    execute::open_account(&host, examples::account())
        .await
        .unwrap();
    let log = log::whole(&host).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].name.as_str(), "opened");
    host.shutdown().await.unwrap();
}

async fn a_read_includes_the_events_of_an_execution(place: Place) {
    let host = place.host().await;
    execute::open_account(&host, examples::account())
        .await
        .unwrap();
    let accounts = json!({"keys": "stream", "sources": [{"category": "account"}]});
    let balances = probe("balance").projection("balances", 1, accounts);
    examples::deploy(&host, balances.component()).await;
    let account = build::stream("account-1");
    let executed = host.execute(&account, build::deposit(5)).await.unwrap();
    // A busy machine may need more time than the example waits.
    let freshness = Freshness {
        after: executed.position.unwrap(),
        wait: WAIT_MAX,
    };
    host.view("balances", "account-1", freshness).await.unwrap();
    let document = project::read_balance(&host, &executed).await.unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["count"], 2);
    host.shutdown().await.unwrap();
}

async fn a_module_with_other_decisions_becomes_active_when_they_are_allowed(place: Place) {
    let host = filled(&place).await;
    let other = active().decides("other").component();
    let digest = upload(&host, other.clone()).await;
    let blocked = host.deploy(Deploy::new(digest)).await;
    assert!(
        matches!(blocked, Err(DeployError::Blocked(_))),
        "{blocked:?}"
    );
    swap::swap(&host, other).await.unwrap();
    assert_eq!(host.plan().active("note"), Some(digest));
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_host_rejects_an_overdraft() {
    let state = embedded::run(examples::account()).await.unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["balance"], 50);
}
