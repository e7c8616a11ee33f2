//! Who may deploy which module.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_policy::Policy;
use quipu_server::{InForce, Options, Rules};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{admin, get, token};
use crate::server::{Answered, Server, send};

on_every_store!(
    who_deploys_one_module_deploys_no_other,
    a_rollback_needs_the_right_on_each_module_that_it_changes,
    who_takes_over_a_projection_needs_the_right_on_its_owner,
);

const OF_ANN: &str = r#"
@id("account of ann")
permit (principal, action == Action::"deploy", resource == Module::"account")
when { principal.name == "ann" };
"#;

async fn with_policy(place: &Place, policy: &str) -> Server {
    let (policy, _) = Policy::parse(policy)
        .map_err(|it| format!("{it:?}"))
        .unwrap();
    let rules = InForce {
        policy: Some(policy),
        ..InForce::default()
    };
    let options = Options {
        rules: Arc::new(Rules::new(rules)),
        ..Options::default()
    };
    Server::start(place.host().await, options).await
}

fn module(name: &str, version: &str) -> Probe {
    probe(name).event("noted", 1).version(version)
}

async fn upload(server: &Server, who: &str, component: Vec<u8>) -> Answered {
    let request = server.request("POST", "/v1/modules");
    let request = request.header("Content-Type", "application/wasm");
    send(request.body(component).bearer_auth(who)).await
}

/// Uploads it without asking who may.
async fn stored(server: &Server, module: &Probe) -> String {
    let uploaded = server.host.upload(module.component()).await.unwrap();
    uploaded.module.digest().to_string()
}

async fn post(server: &Server, who: &str, path: &str, body: &Value) -> Answered {
    let request = server.post(path, &body.to_string());
    send(request.header("Quipu-Reason", "a test").bearer_auth(who)).await
}

/// Checks that it is refused because of a module.
fn check_refused(answered: &Answered, module: &str) {
    let problem = answered.problem(403, "forbidden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with(&format!("module {module}: ")),
        "{detail}"
    );
}

async fn who_deploys_one_module_deploys_no_other(place: Place) {
    let server = with_policy(&place, OF_ANN).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let bob = token(&server, "bob", Grant::of(Role::Viewer)).await;

    let uploaded = upload(&server, &ann, module("account", "1.0.0").component()).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text);
    let account = uploaded.json()["digest"].as_str().unwrap().to_owned();
    let ledger = module("ledger", "1.0.0");
    check_refused(&upload(&server, &ann, ledger.component()).await, "ledger");
    assert_eq!(server.host.modules().await.unwrap().len(), 1);
    // Only who may deploy something lets the host read a component.
    let junk = b"junk".to_vec();
    let refused = upload(&server, &ann, junk.clone()).await;
    refused.problem(422, "module-refused");
    upload(&server, &bob, junk).await.problem(403, "forbidden");

    let ledger = stored(&server, &ledger).await;
    for (path, body) in [
        ("/v1/preflights", json!({"digest": ledger})),
        ("/v1/preflights", json!({"digests": [account, ledger]})),
        ("/v1/shadows", json!({"digest": ledger})),
        ("/v1/deployments", json!({"digest": ledger})),
        ("/v1/deployments", json!({"digests": [account, ledger]})),
    ] {
        check_refused(&post(&server, &ann, path, &body).await, "ledger");
        let denied = post(&server, &bob, path, &body).await;
        denied.problem(403, "forbidden");
    }
    assert_eq!(server.host.plan().number, 0);

    let body = json!({"digest": account});
    let checked = post(&server, &ann, "/v1/preflights", &body).await;
    assert_eq!(checked.status, 200, "{}", checked.text);
    let deployed = post(&server, &ann, "/v1/deployments", &body).await;
    assert_eq!(deployed.status, 201, "{}", deployed.text);
    assert_eq!(deployed.json()["activated_by"], "ann");
    let next = stored(&server, &module("account", "1.0.1")).await;
    let body = json!({"digest": next, "seconds": 1});
    let shadow = post(&server, &ann, "/v1/shadows", &body).await;
    assert_eq!(shadow.status, 200, "{}", shadow.text);
}

async fn a_rollback_needs_the_right_on_each_module_that_it_changes(place: Place) {
    let server = with_policy(&place, OF_ANN).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let root = admin(&server).await;
    let first = stored(&server, &module("account", "1.0.0")).await;
    let second = stored(&server, &module("account", "1.0.1")).await;
    let third = stored(&server, &module("account", "1.0.2")).await;
    let ledger = stored(&server, &module("ledger", "1.0.0")).await;
    let deploy = async |body: Value| {
        let deployed = post(&server, &root, "/v1/deployments", &body).await;
        assert_eq!(deployed.status, 201, "{}", deployed.text);
    };
    let roll_back = async |name: &str| {
        let path = format!("/v1/deployments/{name}/rollback");
        post(&server, &ann, &path, &json!({})).await
    };
    deploy(json!({"digest": first})).await;
    deploy(json!({"digests": [second, ledger]})).await;
    // The ledger would become inactive.
    for name in ["account", "ledger"] {
        check_refused(&roll_back(name).await, "ledger");
    }
    assert_eq!(server.host.plan().number, 2);

    deploy(json!({"digest": third})).await;
    // Whoever may not deploy a module does not learn whether there is one.
    check_refused(&roll_back("nowhere").await, "nowhere");
    let back = roll_back("account").await;
    assert_eq!(back.status, 201, "{}", back.text);
    let active = server.host.plan().active("account").unwrap();
    assert_eq!(active.to_string(), second);
}

async fn who_takes_over_a_projection_needs_the_right_on_its_owner(place: Place) {
    let server = with_policy(&place, OF_ANN).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let root = admin(&server).await;
    let with_sums = |name: &str| module(name, "1.0.0").projection("sums", 1, json!({}));
    let ledger = stored(&server, &with_sums("ledger")).await;
    let body = json!({"digest": ledger});
    let deployed = post(&server, &root, "/v1/deployments", &body).await;
    assert_eq!(deployed.status, 201, "{}", deployed.text);

    let account = stored(&server, &with_sums("account")).await;
    let body = json!({"digest": account, "take_over": ["sums"]});
    let refused = post(&server, &ann, "/v1/deployments", &body).await;
    check_refused(&refused, "ledger");
    assert_eq!(server.host.plan().number, 1);
}

#[tokio::test]
async fn a_role_covers_all_modules_that_no_rule_forbids() {
    let forbid = "@id(\"ledger\") forbid (principal, action, resource == Module::\"ledger\");";
    let server = with_policy(&Place::memory(), forbid).await;
    let author = token(&server, "author", Grant::of(Role::Author)).await;
    let component = |name| module(name, "1.0.0").component();
    let uploaded = upload(&server, &author, component("account")).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text);
    let refused = upload(&server, &author, component("ledger")).await;
    check_refused(&refused, "ledger");
    let can = get(&server, "/v1/can?action=deploy", &author).await.ok();
    let why = can["why"].as_str().unwrap();
    assert!(why.contains("some modules (ledger)"), "{why}");
}

/// Asks whether a caller may do something.
async fn can(server: &Server, who: &str, action: &str, on: &str) -> Value {
    let path = format!("/v1/can?action={action}&on={on}");
    get(server, &path, who).await.ok()
}

#[tokio::test]
async fn nobody_is_promised_what_a_request_is_refused() {
    let server = Server::start(Place::memory().host().await, Options::default()).await;
    let limited = Grant {
        categories: vec!["account".to_owned()],
        projections: vec!["sums".to_owned()],
        ..Grant::of(Role::Author)
    };
    let limited = token(&server, "limited", limited).await;
    let author = token(&server, "author", Grant::of(Role::Author)).await;
    for (action, on, is_allowed) in [
        ("deploy", "store", false),
        ("deploy", "category/account", false),
        ("deploy", "stream/account-1", false),
        ("deploy", "projection/sums", false),
        ("deploy", "module/account", false),
        ("observe", "category/account", false),
        ("project", "category/account", false),
        ("project", "projection/sums", true),
        ("command", "stream/account-1", true),
        ("command", "category/account", true),
        ("append", "category/account", true),
        ("read", "category/account", true),
        ("read", "module/account", false),
        ("subscribe", "stream/account-1", true),
        ("subscribe", "stream/loan-1", false),
        ("command", "projection/sums", false),
    ] {
        let answer = can(&server, &limited, action, on).await;
        assert_eq!(answer["allowed"], is_allowed, "{action} {on}: {answer}");
        let answer = can(&server, &author, action, on).await;
        assert_eq!(answer["rules"], json!(["role author"]), "{action} {on}");
    }
    let uploaded = upload(&server, &limited, module("account", "1.0.0").component()).await;
    uploaded.problem(403, "forbidden");

    let server = with_policy(&Place::memory(), OF_ANN).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let own = can(&server, &ann, "deploy", "module/account").await;
    assert_eq!(own["rules"], json!(["account of ann"]), "{own}");
    for on in ["module/ledger", "category/account", "store"] {
        let other = can(&server, &ann, "deploy", on).await;
        assert_eq!(other["allowed"], false, "{on}: {other}");
    }
}
