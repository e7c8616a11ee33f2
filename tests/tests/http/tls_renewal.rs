use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu_server::Options;
use quipu_tests::PATIENCE;
use quipu_tests::certificates::Authority;

use crate::tls::{identity, server};

/// Renewals of the certificate.
const RENEWALS: usize = 100;

/// Clients with connections that stay open, and clients with a new one for every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_of_the_certificate_under_load_fail_no_request() {
    let authority = Authority::new();
    let (server, tls) = server(&authority, Options::default()).await;
    let url = server.url.replace("http:", "https:");
    let trusted = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for number in 0..6 {
        let idle_max = if number % 2 == 0 { 1 } else { 0 };
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(idle_max)
            .add_root_certificate(trusted.clone())
            .build()
            .unwrap();
        let append = format!("{url}/v1/streams/note-{number}/events");
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        clients.push(tokio::spawn(async move {
            let mut sent = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let body = "{\"events\":[{\"type\":\"n\",\"data\":1}]}";
                let request = client.post(&append).body(body);
                let request = request.header("content-type", "application/json");
                let answer = request.send().await.expect("a request was lost");
                assert_eq!(answer.status(), 200);
                answer.bytes().await.expect("an answer was lost");
                sent += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            sent
        }));
    }
    for renewal in 0..RENEWALS {
        assert!(tls.replace(identity(&authority.issue())));
        // Some requests are answered between two renewals.
        let before = answered.load(Ordering::Relaxed);
        let begun = Instant::now();
        while answered.load(Ordering::Relaxed) < before + 3 {
            let is_alive = clients.iter().all(|client| !client.is_finished());
            assert!(is_alive && begun.elapsed() < PATIENCE, "renewal {renewal}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert!(sent >= 3 * RENEWALS as u64, "{sent}");
    let stored = server.host.log_head().await.unwrap();
    assert_eq!(stored.0, sent, "every request was answered once");
}
