//! One rule decides whether a preflight comes before an activation.

use quipu::model::{Command, StreamId};
use quipu::proof::{Kind, Policy};
use quipu::{Demand, Deploy, DeployError, Host};
use quipu_tests::probe::probe;
use quipu_tests::{Place, on_every_store};
use serde::{Deserialize, Serialize};

use super::candidates::{active, filled, upload};

on_every_store! {
    other_decisions_stop_a_deployment_unless_they_are_allowed,
    the_first_module_of_a_name_needs_no_preflight,
    a_checked_release_is_deployed_without_a_second_preflight,
    values_of_the_program_are_sent_and_read,
}

async fn other_decisions_stop_a_deployment_unless_they_are_allowed(place: Place) {
    let host = filled(&place).await;
    let candidate = upload(&host, active().decides("other").component()).await;
    let deploy = Deploy::new(candidate).by("ann");
    for demand in [Demand::Usual, Demand::Require] {
        let blocked = host.deploy(deploy.clone().preflight(demand)).await;
        let blocked = blocked.unwrap_err();
        assert_eq!(blocked.code(), "preflight-failed");
        assert!(
            blocked.to_string().contains("nothing was activated"),
            "{blocked}"
        );
        let DeployError::Blocked(found) = &blocked else {
            panic!("{blocked:?}");
        };
        assert_eq!(found.objections[0].kind, Kind::Decision);
        assert_eq!(host.plan().number, 1);
        assert_eq!(quipu::Error::from(blocked).code(), "preflight-failed");
    }
    // What its preflight found is stored with it in each case but the last.
    let allowed = Policy::allowing(&["decision".to_owned()]).unwrap();
    let deployment = host.deploy(deploy.clone().allowing(allowed)).await.unwrap();
    assert_eq!((deployment.plan, deployment.digest), (2, candidate));
    assert!(deployment.preflight.unwrap().passes);
    assert_eq!(deployment.activated_by.as_deref(), Some("ann"));
    let other = upload(&host, active().decides("odd").component()).await;
    let reported = Deploy::new(other).preflight(Demand::Report);
    let deployment = host.deploy(reported).await.unwrap();
    assert_eq!(deployment.plan, 3);
    assert!(deployment.preflight.is_some());
    let skipped = Deploy::new(candidate).preflight(Demand::Skip);
    let deployment = host.deploy(skipped).await.unwrap();
    assert_eq!((deployment.plan, deployment.preflight), (4, None));
}

async fn the_first_module_of_a_name_needs_no_preflight(place: Place) {
    let host = filled(&place).await;
    let other = probe("other").event("noted", 1).component();
    let digest = upload(&host, other).await;
    let prepared = host
        .prepare(Deploy::new(digest), &mut |_| {})
        .await
        .unwrap();
    assert!(prepared.preflight().is_none());
    let deployment = prepared.activate().await.unwrap();
    assert_eq!((deployment.plan, deployment.preflight), (2, None));
    // In its place, a preflight comes first.
    let newer = probe("other")
        .event("noted", 1)
        .version("1.0.1")
        .component();
    let digest = upload(&host, newer).await;
    let deployment = host.deploy(Deploy::new(digest)).await.unwrap();
    assert!(deployment.preflight.unwrap().passes);
}

async fn a_checked_release_is_deployed_without_a_second_preflight(place: Place) {
    let host = filled(&place).await;
    let candidate = upload(&host, active().decides("other").component()).await;
    let found = preflight(&host, candidate).await;
    let mut steps = 0;
    let deploy = Deploy::checked(found.clone());
    let prepared = host.prepare(deploy, &mut |_| steps += 1).await.unwrap();
    assert_eq!(prepared.preflight().unwrap().summary(), found.summary());
    let deployment = prepared.activate().await.unwrap();
    assert_eq!(deployment.preflight, Some(found.summary()));
    assert_eq!(steps, 0);
}

async fn preflight(host: &Host, candidate: quipu::model::Digest) -> quipu::proof::Preflight {
    let (policy, scope) = (Policy::default(), quipu::proof::Scope::default());
    let found = host
        .preflight(candidate, &policy, &scope, &mut |_| {})
        .await;
    found.unwrap()
}

#[derive(Debug, PartialEq, Serialize)]
struct Open {
    owner: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Account {
    owner: String,
}

async fn values_of_the_program_are_sent_and_read(place: Place) {
    let host = place.host().await;
    let digest = upload(&host, quipu_tests::examples::account()).await;
    host.deploy(Deploy::new(digest)).await.unwrap();
    let stream: StreamId = "account-1".parse().unwrap();
    let owner = "ann".to_owned();
    let open = Command::from_value("open", &Open { owner }).unwrap();
    host.execute(&stream, open).await.unwrap();
    let state = host.state(&stream).await.unwrap();
    let account: Account = state.parse().unwrap();
    assert_eq!(account.owner, "ann");
    let wrong = state.parse::<Vec<u8>>().unwrap_err();
    assert!(wrong.0.contains("account-1"), "{}", wrong.0);
}
