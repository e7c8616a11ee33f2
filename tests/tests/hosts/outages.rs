//! PostgreSQL is restarted, crashes, or drops its connections, under load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use quipu::Host;
use quipu::engine::{Error, Executed};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{build, examples, log, place};
use sqlx::Executor;

/// Clients that deposit until they are stopped. Each command has an id of its own and is repeated
/// until it is answered.
struct Load {
    host: Host,
    is_over: AtomicBool,
    answered: AtomicU64,
}

impl Load {
    async fn client(self: Arc<Self>, number: usize) -> HashMap<String, Executed> {
        let mut answers = HashMap::new();
        let account = build::stream(&format!("account-{}", number % 4));
        for n in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let id = format!("{number}-{n}");
            let answer = loop {
                let deposit = build::command("deposit", r#"{"amount":1}"#);
                let deposit = deposit.with_id(&id).unwrap();
                match self.host.execute(&account, deposit).await {
                    Ok(answer) => break answer,
                    // Errors that a client may see, and retries.
                    Err(error @ (Error::Store(_) | Error::Overloaded)) => {
                        assert!(
                            ["store-unavailable", "overloaded"].contains(&error.code()),
                            "{error}"
                        );
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            self.answered.fetch_add(1, Ordering::SeqCst);
            answers.insert(id, answer);
        }
        answers
    }

    /// Waits until no command is answered for a while.
    async fn is_blocked(&self) {
        for _ in 0..600 {
            let before = self.answered.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            if self.answered.load(Ordering::SeqCst) == before {
                return;
            }
        }
        panic!("commands are answered although the server takes no writes");
    }

    /// Waits until this number of further commands were answered.
    async fn answered_more(&self, more: u64) {
        let from = self.answered.load(Ordering::SeqCst);
        while self.answered.load(Ordering::SeqCst) < from + more {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs clients while the server is disturbed, and checks that no acknowledged deposit is lost or
/// duplicated.
async fn check(disturb: impl AsyncFn(&Server, &Load)) {
    let server = Server::start();
    let host = Host::builder()
        .store(server.url(&fresh_schema()))
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    for n in 0..4 {
        let open = build::command("open", r#"{"owner":"ann"}"#);
        host.execute(&build::stream(&format!("account-{n}")), open)
            .await
            .unwrap();
    }
    let load = Arc::new(Load {
        host: host.clone(),
        is_over: AtomicBool::new(false),
        answered: AtomicU64::new(0),
    });
    let clients: Vec<_> = (0..16)
        .map(|n| tokio::spawn(Arc::clone(&load).client(n)))
        .collect();
    load.answered_more(200).await;
    disturb(&server, &load).await;
    load.answered_more(200).await;
    load.is_over.store(true, Ordering::SeqCst);
    let answers: HashMap<String, Executed> = join_all(clients)
        .await
        .into_iter()
        .flat_map(|it| it.unwrap())
        .collect();

    let log = log::whole(&host).await;
    log::check(&log);
    let recorded: HashMap<&str, _> = log
        .iter()
        .filter(|event| event.name.as_str() == "deposited")
        .map(|event| (event.commit.command_id.as_ref().unwrap().as_str(), event))
        .collect();
    assert_eq!(recorded.len(), log.len() - 4, "a deposit was doubled");
    for (id, answer) in &answers {
        let event = recorded[&**id];
        assert_eq!(
            (event.version, Some(event.position)),
            (answer.version, answer.position),
            "{id}"
        );
    }
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_acknowledged() {
    check(async |server, load| {
        for _ in 0..3 {
            server.restart();
            load.answered_more(100).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_acknowledged() {
    check(async |server, load| {
        for _ in 0..3 {
            server.stop_immediately();
            server.start_again();
            load.answered_more(100).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_connections_lose_nothing_acknowledged() {
    check(async |server, load| {
        for _ in 0..30 {
            server.kill_backends().await;
            load.answered_more(20).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes_for_a_while_loses_nothing_acknowledged() {
    check(async |server, load| {
        let mut connection = server.connect().await;
        for _ in 0..2 {
            for state in ["on", "off"] {
                for sql in [
                    format!("ALTER SYSTEM SET default_transaction_read_only = {state}"),
                    "SELECT pg_reload_conf()".to_owned(),
                ] {
                    let sql = sqlx::AssertSqlSafe(sql);
                    connection.execute(sql).await.unwrap();
                }
                if state == "on" {
                    load.is_blocked().await;
                }
            }
            load.answered_more(100).await;
        }
    })
    .await;
}
