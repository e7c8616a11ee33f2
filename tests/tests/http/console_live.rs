//! The log that grows on its page, and the pictures of the overview.

use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, build, on_every_store};
use reqwest::Response;
use serde_json::json;

use crate::access::{admin, token};
use crate::connections::bounded;
use crate::console::{browser, page, session};
use crate::server::{Server, send};

on_every_store!(
    the_log_grows_on_its_page,
    one_reader_leaves_live_pages_to_others_and_all_have_a_limit,
    a_page_that_follows_the_log_ends_with_its_session,
    a_page_follows_the_log_for_longer_than_a_request_may_take,
);

/// An answer that is read as it comes.
struct Following {
    answer: Response,
    text: String,
}

impl Following {
    async fn begin(server: &Server, query: &str, cookie: &str) -> Self {
        let request = browser().get(format!("{}/console/log/live?{query}", server.url));
        let answer = request.header("Cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// Reads until the text is right. Returns false when the answer has ended before.
    async fn until(&mut self, is_right: impl Fn(&str) -> bool) -> bool {
        let reading = async {
            while !is_right(&self.text) {
                match self.answer.chunk().await {
                    Ok(Some(chunk)) => self.text += &String::from_utf8_lossy(&chunk),
                    _ => return false,
                }
            }
            true
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }
}

async fn append(server: &Server, stream: &str, count: usize) {
    let data = json!({"text": "<script>alert(1)</script>\n\nevent: over\u{202e}"});
    let events = (0..count).map(|_| build::event("<b>noted</b>", &data.to_string()));
    let append = build::append(events.collect());
    let stream = build::stream(stream);
    server.host.append(&stream, append).await.unwrap();
}

async fn the_log_grows_on_its_page(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    append(&server, "note-1", 1).await;
    let text = server.get("/console/log?category=memo").await.text;
    assert!(text.contains("data-live=\"/console/log/live?category=memo\""));
    let mut following = Following::begin(&server, "category=memo", "").await;
    append(&server, "note-2", 1).await;
    append(&server, "memo-1", 1).await;
    let rows = |text: &str| text.matches("event: row\n").count();
    assert!(
        following
            .until(|text| rows(text) == 1 && text.ends_with("\n\n"))
            .await
    );
    let text = &following.text;
    assert!(text.contains("memo-1") && !text.contains("note-"), "{text}");
    assert!(
        !text.contains("<script") && !text.contains("<b>noted"),
        "{text}"
    );
    assert!(!text.contains('\u{202e}'), "{text}");
    assert_eq!(text.matches("\nevent: over").count(), 0, "{text}");
    // More than a page shows in a second is counted.
    append(&server, "memo-2", 100).await;
    let omitted = |text: &str| -> usize {
        let parts = text.split("event: omitted\ndata: ").skip(1);
        let numbers = parts.filter_map(|part| part.split_once('\n'));
        numbers
            .map(|(number, _)| number.parse::<usize>().unwrap())
            .sum()
    };
    assert!(
        following
            .until(|text| rows(text) + omitted(text) == 101)
            .await
    );
    assert!(omitted(&following.text) > 0, "{}", following.text);

    // A reader has a limit, and a page that ends makes room.
    let mut others = Vec::new();
    for _ in 1..8 {
        others.push(Following::begin(&server, "", "").await);
    }
    let refused = server.get("/console/log/live").await;
    refused.problem(429, "rate-limited");
    drop(others);
    bounded(async {
        while status(&server, "").await != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let pictures = server.get("/console").await.text;
    assert!(pictures.contains("Commands per second"), "{pictures}");
    let wrong = server.get("/console/log/live?tag=plain").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
}

/// The status of one more page.
async fn status(server: &Server, cookie: &str) -> u16 {
    let request = browser().get(format!("{}/console/log/live", server.url));
    let request = request.header("Cookie", cookie);
    request.send().await.unwrap().status().as_u16()
}

async fn one_reader_leaves_live_pages_to_others_and_all_have_a_limit(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let root = admin(&server).await;
    let mut sessions = vec![session(&server, &root).await];
    for name in ["ann", "bob", "eve", "joe"] {
        let viewer = token(&server, name, Grant::of(Role::Viewer)).await;
        sessions.push(session(&server, &viewer).await);
    }
    let (last, full) = sessions.split_last().unwrap();
    let mut pages = Vec::new();
    for cookie in full {
        for _ in 0..8 {
            pages.push(Following::begin(&server, "", cookie).await);
        }
        assert_eq!(status(&server, cookie).await, 429);
    }
    assert_eq!(status(&server, last).await, 503);
    drop(pages);
    bounded(async {
        while status(&server, last).await != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn a_page_that_follows_the_log_ends_with_its_session(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let root = admin(&server).await;
    let cookie = session(&server, &root).await;
    let without = page(&server, "/console/log/live", "").await;
    assert_eq!(without.status, 401, "{}", without.text);
    let mut following = Following::begin(&server, "", &cookie).await;
    append(&server, "note-1", 1).await;
    assert!(following.until(|text| text.contains("event: row\n")).await);
    let leave = browser().post(format!("{}/console/sign-out", server.url));
    let leave = leave.header("Cookie", &cookie);
    let left = send(leave.header("Origin", &server.url)).await;
    assert_eq!(left.status, 303);
    assert!(following.until(|text| text.contains("event: over\n")).await);
    assert!(!following.until(|_| false).await);
    // Only a host that ends says that it does.
    assert!(!following.text.contains("shutting down"));

    // A token that is revoked ends it, too.
    let cookie = session(&server, &root).await;
    let mut following = Following::begin(&server, "", &cookie).await;
    server.host.tokens().revoke("root").await.unwrap();
    assert!(!following.until(|_| false).await);
    assert!(
        following.text.contains("event: over\n"),
        "{}",
        following.text
    );
}

async fn a_page_follows_the_log_for_longer_than_a_request_may_take(place: Place) {
    let options = Options {
        request_time_max: Duration::from_secs(2),
        ..Options::default()
    };
    let server = Server::start(place.host().await, options).await;
    let mut following = Following::begin(&server, "", "").await;
    // The page checks for new events once a second.
    for count in 1..=5 {
        append(&server, "note-1", 1).await;
        let has_all = |text: &str| text.matches("event: row\n").count() == count;
        assert!(following.until(has_all).await, "{}", following.text);
    }
}
