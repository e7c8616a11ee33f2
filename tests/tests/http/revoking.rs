//! What a token can do after it was revoked: nothing.

use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, on_every_store};

use crate::access::{EVENT, admin, append, get, server, token};
use crate::server::{Server, send};

on_every_store!(
    a_revoked_token_works_on_no_host,
    a_revoked_token_ends_what_it_follows,
    a_revoked_token_ends_what_it_sends,
);

async fn a_revoked_token_works_on_no_host(place: Place) {
    let one = server(&place).await;
    let admin = admin(&one).await;
    let reader = token(&one, "reader", Grant::of(Role::Viewer)).await;
    // SQLite has one host at a time: there the other host is the same one.
    let is_shared = place.url().starts_with("postgres:");
    let other = match is_shared {
        true => server(&place).await,
        false => Server::start(one.host.clone(), Options::default()).await,
    };
    get(&other, "/v1/events", &reader).await.ok();
    let revoking = one
        .request("DELETE", "/v1/tokens/reader")
        .bearer_auth(&admin);
    let revoked = send(revoking).await.ok();
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    get(&one, "/v1/events", &reader)
        .await
        .problem(401, "unauthorized");
    // How long it takes at most is held by the tests of `access/cached.rs` of the library.
    let refused = async { while get(&other, "/v1/events", &reader).await.status == 200 {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    get(&other, "/v1/events", &admin).await.ok();
    let again = one
        .request("DELETE", "/v1/tokens/reader")
        .bearer_auth(&admin);
    send(again).await.problem(404, "token-not-found");
}

async fn a_revoked_token_ends_what_it_follows(place: Place) {
    let server = server(&place).await;
    let admin = admin(&server).await;
    let reader = token(&server, "reader", Grant::of(Role::Viewer)).await;
    let follow = |token: &str| {
        let request = server.request("GET", "/v1/events/subscribe");
        request.bearer_auth(token).send()
    };
    let mut followed = follow(&reader).await.unwrap();
    let mut longer = follow(&admin).await.unwrap();
    assert_eq!(followed.status(), 200);
    send(
        server
            .request("DELETE", "/v1/tokens/reader")
            .bearer_auth(&admin),
    )
    .await
    .ok();
    let ended = async { while let Ok(Some(_)) = followed.chunk().await {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    // The other one goes on.
    send(append(&server, "sensor-1").bearer_auth(&admin))
        .await
        .ok();
    let received = async {
        let mut text = String::new();
        while !text.contains("measured") {
            let chunk = longer.chunk().await.unwrap().expect("it goes on");
            text += &String::from_utf8_lossy(&chunk);
        }
    };
    tokio::time::timeout(PATIENCE, received).await.unwrap();
}

async fn a_revoked_token_ends_what_it_sends(place: Place) {
    let server = server(&place).await;
    let root = admin(&server).await;
    // Each body is begun with a valid token and ended after it was revoked.
    for (path, media_type, body) in [
        ("/v1/streams/late-1/events", "application/json", EVENT),
        (
            "/v1/tokens",
            "application/json",
            r#"{"name":"evil","role":"admin"}"#,
        ),
        (
            "/v1/commands",
            "application/x-ndjson",
            "{\"stream\":\"late-1\",\"type\":\"a\"}\n",
        ),
        ("/v1/import", "application/x-ndjson", "{}\n"),
    ] {
        let late = token(&server, "late", Grant::of(Role::Admin)).await;
        let host = server.host.clone();
        let (first, rest) = body.split_at(1);
        let parts = futures::stream::unfold(0, move |step| {
            let host = host.clone();
            async move {
                match step {
                    0 => Some((Ok::<_, std::io::Error>(first), 1)),
                    1 => {
                        host.tokens().revoke("late").await.unwrap();
                        tokio::time::sleep(Duration::from_millis(1_200)).await;
                        Some((Ok(rest), 2))
                    }
                    _ => None,
                }
            }
        });
        let request = server.request("POST", path).bearer_auth(late);
        let request = request.header("content-type", media_type);
        let sent = request.body(reqwest::Body::wrap_stream(parts)).send().await;
        let answer = sent.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let is_refused = text.contains("revoked") && text.contains("\"code\":\"unauthorized\"");
        assert!(is_refused, "{path}: {status} {text}");
        // The answer to lines has begun.
        let is_of_lines = media_type == "application/x-ndjson";
        assert!(status == 401 || is_of_lines, "{path}: {status} {text}");
    }
    assert_eq!(server.host.log_head().await.unwrap().0, 0);
    let tokens = get(&server, "/v1/tokens", &root).await.text;
    assert!(!tokens.contains("evil"), "{tokens}");
}
