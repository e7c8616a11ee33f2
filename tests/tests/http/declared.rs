//! Every route declares what it needs.

use std::collections::BTreeSet;

use quipu_server::{Console, ConsoleMode, Options};
use quipu_tests::Place;
use serde_json::{Value, json};

/// Routes that are open to everybody on purpose, and have no description. A page of the console finds
/// out itself who reads it.
const OPEN: &[&str] = &[
    "/",
    "/console",
    "/console/act",
    "/console/assets/{digest}/{name}",
    "/console/audit",
    "/console/deployments/{plan}",
    "/console/domain",
    "/console/events/{position}",
    "/console/log",
    "/console/log/live",
    "/console/modules",
    "/console/modules/{digest}",
    "/console/operations",
    "/console/preview",
    "/console/projections",
    "/console/projections/{name}",
    "/console/projections/{name}/documents",
    "/console/projections/{name}/steps",
    "/console/proposals",
    "/console/proposals/{number}",
    "/console/rejections",
    "/console/search",
    "/console/shadow",
    "/console/sign-in",
    "/console/sign-out",
    "/console/streams",
    "/console/streams/{stream}",
    "/console/streams/{stream}/diff",
    "/console/subscriptions",
    "/console/trace",
    "/openapi.json",
];
/// Operations that declare that they need nothing.
const OPEN_OPERATIONS: &[&str] = &["/healthz", "/readyz"];

/// The paths of a router as it shows itself, because it has no list of them.
fn routes(shown: &str) -> BTreeSet<String> {
    let (own, _) = shown.split_once("fallback_router:").unwrap();
    let quoted = own.split('"').filter(|it| it.starts_with('/'));
    quoted.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn every_route_declares_what_it_needs_or_is_open_on_purpose() {
    let options = Options {
        console: Console {
            mode: ConsoleMode::Full,
            ..Console::default()
        },
        ..Options::default()
    };
    let router = quipu_server::router(Place::memory().host().await, options);
    let routes = routes(&format!("{router:?}"));

    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap();
    let (mut declared, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in paths {
        for operation in item.as_object().unwrap().values() {
            let Some(security) = operation.get("security") else {
                continue;
            };
            declared.insert(path.clone());
            if *security == json!([{}]) {
                open.insert(path.as_str());
            }
        }
    }
    let undeclared: Vec<&str> = routes.difference(&declared).map(String::as_str).collect();
    assert_eq!(undeclared, OPEN);
    let without_route: Vec<_> = declared.difference(&routes).collect();
    assert!(without_route.is_empty(), "{without_route:?}");
    assert!(open.into_iter().eq(OPEN_OPERATIONS.iter().copied()));
}
