//! Split events over HTTP: a lost connection neither loses a part nor duplicates an event.

use quipu_tests::examples;
use serde_json::Value;

use crate::lifted::{READ, STEPS, STORED, record};
use crate::sse::{Client, Frame, Server};
use crate::upcaster::{Step, upcaster};

/// The state of a client.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: String,
    version: u64,
    name: String,
}

fn seen(frame: &Frame) -> Seen {
    let event: Value = serde_json::from_str(&frame.data).unwrap();
    Seen {
        id: frame.id.clone(),
        version: event["version"].as_u64().unwrap(),
        name: event["type"].as_str().unwrap().to_owned(),
    }
}

async fn events(client: &mut Client) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let frame = client.frame().await;
        match frame.name.as_str() {
            "event" => all.push(seen(&frame)),
            "caught-up" => return all,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reconnects_continues_after_its_last_complete_event() {
    let server = Server::usual().await;
    examples::deploy(&server.host, upcaster("orders", STEPS)).await;
    for _ in 0..2 {
        record(&server.host, "order-1", &STORED).await;
    }
    for path in [
        "/v1/events/subscribe",
        "/v1/events/subscribe?form=lifted",
        "/v1/events/subscribe?type=paid&type=noted",
        "/v1/events/subscribe?type=paid",
        "/v1/events/subscribe?type=booked",
        "/v1/streams/order-1/subscribe",
    ] {
        let all = events(&mut server.get(path, None).await).await;
        assert!(!all.is_empty(), "{path}");
        for cut in 0..=all.len() {
            // Only complete events count: the last id, and the events before it.
            let last = all[..cut].iter().rposition(|it| !it.id.is_empty());
            let complete = last.map_or(0, |last| last + 1);
            let id = last.map(|last| all[last].id.as_str());
            let rest = events(&mut server.get(path, id).await).await;
            assert_eq!(rest, all[complete..], "{path} cut after {cut}");
            assert!(
                complete == 0
                    || complete == all.len()
                    || all[complete].version != all[complete - 1].version
            );
        }
    }
}

/// Semantics 4.6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_can_choose_the_stored_or_the_lifted_form() {
    let server = Server::usual().await;
    examples::deploy(&server.host, upcaster("orders", STEPS)).await;
    record(&server.host, "order-1", &STORED).await;
    for path in ["/v1/events/subscribe", "/v1/streams/order-1/subscribe"] {
        for (form, expected) in [
            ("", &READ[..]),
            ("?form=lifted", &READ),
            ("?form=stored", &STORED),
        ] {
            let mut client = server.get(&format!("{path}{form}"), None).await;
            let delivery = events(&mut client).await;
            let names: Vec<_> = delivery.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(names, expected, "{path}{form}");
            let ids = delivery.iter().filter(|it| !it.id.is_empty()).count();
            // `paid` has three parts; `pinged` is dropped, and has none.
            assert_eq!(ids, if form == "?form=stored" { 5 } else { 4 });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_lifted_is_a_problem_and_can_be_skipped() {
    const BROKEN: &[Step] = &[Step("order", ("paid", 1), &[("paid", 2)])];
    let server = Server::usual().await;
    examples::deploy(&server.host, upcaster("orders", BROKEN)).await;
    record(&server.host, "order-1", &["noted", "paid"]).await;
    crate::broken::record_unreadable(&server.host, "order-1", "paid").await;
    record(&server.host, "order-1", &["noted"]).await;
    for path in ["/v1/events/subscribe", "/v1/streams/order-1/subscribe"] {
        let mut client = server.get(path, None).await;
        for name in ["noted", "paid"] {
            assert_eq!(seen(&client.frame().await).name, name);
        }
        let last = client.frame().await;
        assert_eq!((last.name.as_str(), last.id.as_str()), ("error", ""));
        let problem: Value = serde_json::from_str(&last.data).unwrap();
        assert_eq!(problem["code"], "guest-fault");
        assert_eq!(problem["component"], "orders");
        assert_eq!(problem["stream"], "order-1");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("order-1: version 3"), "{detail}");
        assert!(detail.contains("as they are stored"), "{detail}");
        assert_eq!(client.block().await, None);
        let mut rest = server.get(&format!("{path}?form=stored"), Some("2")).await;
        let names: Vec<_> = events(&mut rest)
            .await
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["paid", "noted"]);
    }
}
