//! Which operation which caller may use.

use std::sync::Arc;
use std::time::Duration;

use quipu::access::{Action, Grant, NewToken, Role};
use quipu::model::{Clock, SystemClock, Timestamp};
use quipu_server::{Limiter, Limits, LogRing, Options};
use quipu_tests::{PATIENCE, Place, golden};
use serde_json::Value;

use crate::access::{get, token};
use crate::server::Server;
use crate::tenants::Tenanted;

/// Who asks in the table of answers.
struct Who<'a> {
    name: &'a str,
    token: Option<String>,
    server: &'a Server,
    tenant: Option<&'a str>,
}

impl<'a> Who<'a> {
    fn new(server: &'a Server, name: &'a str, token: Option<String>) -> Self {
        Self {
            name,
            token,
            server,
            tenant: None,
        }
    }
}

/// The answers to every operation of the interface, for every kind of caller: what passes to the
/// handler is `yes`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_asks_who_calls() {
    // Refused credentials are counted, and this test sends many.
    let options = Options {
        limits: Arc::new(Limiter::new(Limits {
            failed_logins_per_minute: 0,
            ..Limits::default()
        })),
        logs: Some(LogRing::default()),
        ..Options::default()
    };
    let server = Server::start(Place::memory().bank().await, options).await;
    let who = |name, token| Who::new(&server, name, token);
    let mut callers = vec![
        who("nobody", None),
        who("garbage", Some("qp_garbage".to_owned())),
    ];
    let revoked = token(&server, "revoked", Grant::of(Role::Admin)).await;
    server.host.tokens().revoke("revoked").await.unwrap();
    callers.push(who("revoked", Some(revoked)));
    let expired = expired(&server).await;
    callers.push(who("expired", Some(expired)));
    for role in Role::ALL {
        let text = token(&server, role.as_str(), Grant::of(*role)).await;
        callers.push(who(role.as_str(), Some(text)));
    }
    let other = Grant {
        categories: vec!["elsewhere".to_owned()],
        ..Grant::of(Role::Admin)
    };
    let other = token(&server, "elsewhere", other).await;
    callers.push(who("elsewhere", Some(other)));
    // An admin of one tenant asks another one.
    let place = Place::sqlite();
    let tenants = Tenanted::start(&place, 2).await;
    tenants.create("acme").await;
    let beta = tenants.create("beta").await;
    callers.push(Who {
        tenant: Some("acme"),
        ..Who::new(&tenants.server, "tenant", Some(beta))
    });

    let described: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let mut table = String::new();
    let names: Vec<_> = callers.iter().map(|who| who.name).collect();
    table += &format!("{:<58}{}\n", "", names.join(" "));
    let mut actions = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in ["get", "head", "post", "put", "delete"] {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let security = &operation["security"];
            actions.extend(security[0]["token"][0].as_str().map(ToOwned::to_owned));
            let mut row = format!("{:<58}", format!("{method} {path}"));
            for who in &callers {
                let answer = verdict(who, method, path).await;
                row += &format!("{answer:<width$} ", width = who.name.len());
            }
            table += row.trim_end();
            table += "\n";
        }
    }
    for action in Action::ALL {
        let is_used = actions.iter().any(|used| used == action.as_str());
        assert!(is_used, "no operation needs {action}");
    }
    golden::check("access.txt", &table);
}

/// A token that was valid once.
async fn expired(server: &Server) -> String {
    let now = SystemClock.now().0;
    let new = NewToken {
        name: "expired".to_owned(),
        grant: Grant::of(Role::Admin),
        expires_at: Some(Timestamp(now + 1_000_000)),
        by: None,
    };
    let (_, secret) = server.host.tokens().create(new).await.unwrap();
    let token = secret.reveal().to_owned();
    let over = async { while get(server, "/v1/whoami", &token).await.status == 200 {} };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    token
}

/// Whether a request passes to its handler.
async fn verdict(who: &Who<'_>, method: &str, path: &str) -> &'static str {
    let path = path
        .replace("{stream}", "account-1")
        .replace("{category}", "account")
        .replace("{position}", "1")
        .replace("{digest}", "0000");
    let path: String = path
        .split('/')
        .map(|segment| match segment.strip_prefix('{') {
            Some(name) => format!("/no-{}", name.trim_end_matches('}')),
            None => format!("/{segment}"),
        })
        .collect::<String>()
        .replacen("//", "/", 1);
    let mut request = who.server.request(&method.to_uppercase(), &path);
    // A body that no handler takes.
    if method == "post" {
        request = request.header("content-type", "text/plain").body("x");
    }
    if let Some(token) = &who.token {
        request = request.bearer_auth(token);
    }
    if let Some(tenant) = who.tenant {
        request = request.header("Quipu-Tenant", tenant);
    }
    // Subscriptions have no end.
    let answering = request.timeout(Duration::from_secs(60)).send();
    let status = answering.await.unwrap().status().as_u16();
    match status {
        401 | 403 => match status {
            401 => "401",
            _ => "403",
        },
        _ => "yes",
    }
}
