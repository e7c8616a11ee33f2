//! PostgreSQL is restarted, crashes, or drops its connections, under load.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use quipu::Host;
use quipu::engine::Executed;
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, build, examples, log, place};
use sqlx::Executor;
use tokio::sync::watch;

/// Codes of errors that a client may see, and after which it sends the same command. Hosts that
/// share a stream conflict when their answers take long.
const PASSING: [&str; 3] = ["store-unavailable", "overloaded", "conflict"];

const CLIENTS: usize = 16;
const ACCOUNTS: usize = 4;

/// Clients that deposit until they are stopped. Each command has an id of its own and is repeated
/// until it is answered.
pub struct Load {
    /// Client n sends its commands to host n modulo their number.
    pub hosts: Vec<Host>,
    /// The number of commands that each host has answered.
    answered: Vec<watch::Sender<u64>>,
    /// How often each host has answered with an error, by code.
    failed: Vec<Mutex<BTreeMap<&'static str, u64>>>,
    is_over: AtomicBool,
}

/// Ends the waiting for a client that failed.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_over.store(true, Ordering::SeqCst);
            self.0.answered.iter().for_each(|it| it.send_modify(|_| {}));
        }
    }
}

impl Load {
    async fn client(self: Arc<Self>, number: usize) -> HashMap<String, Executed> {
        let _ends = Ends(&self);
        let at = number % self.hosts.len();
        let mut answers = HashMap::new();
        // The clients of one account are at different hosts.
        let account = number / self.hosts.len() % ACCOUNTS;
        let account = build::stream(&format!("account-{account}"));
        for n in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let id = format!("{number}-{n}");
            let answer = loop {
                let deposit = build::command("deposit", r#"{"amount":1}"#);
                let deposit = deposit.with_id(&id).unwrap();
                match self.hosts[at].execute(&account, deposit).await {
                    Ok(answer) => break answer,
                    Err(error) => {
                        assert!(PASSING.contains(&error.code()), "{}: {error}", error.code());
                        let mut failed = self.failed[at].lock().unwrap();
                        *failed.entry(error.code()).or_default() += 1;
                    }
                }
            };
            self.answered[at].send_modify(|answered| *answered += 1);
            answers.insert(id, answer);
        }
        answers
    }

    /// Waits until no command is answered for a while.
    async fn is_blocked(&self) {
        let answered = || -> u64 { self.answered.iter().map(|it| *it.borrow()).sum() };
        for _ in 0..600 {
            let before = answered();
            tokio::time::sleep(Duration::from_millis(300)).await;
            if answered() == before {
                return;
            }
        }
        panic!("commands are answered although the server takes no writes");
    }

    /// Waits until each host has answered this number of further commands.
    pub async fn answered_more(&self, more: u64) {
        let from: Vec<u64> = self.answered.iter().map(|it| *it.borrow()).collect();
        for (host, from) in from.into_iter().enumerate() {
            let mut answered = self.answered[host].subscribe();
            let is_enough = |now: &u64| *now >= from + more || self.is_over.load(Ordering::SeqCst);
            let waited = tokio::time::timeout(PATIENCE, answered.wait_for(is_enough)).await;
            let now = waited.map(|now| *now.unwrap()).unwrap_or_else(|_| {
                let now = *self.answered[host].borrow() - from;
                let failed = self.failed[host].lock().unwrap();
                panic!(
                    "host {host} answered {now} instead of {more} commands in {PATIENCE:?}; \
                     errors since the beginning: {failed:?}"
                )
            });
            assert!(
                now >= from + more,
                "a client of host {host} failed, see above"
            );
        }
    }
}

/// Connects a host to the store at an address.
pub async fn host(url: &str) -> Host {
    let host = Host::builder().store(url).cache_dir(place::compiled());
    host.build().await.unwrap()
}

/// Runs clients of one host while its server is disturbed, and checks that no acknowledged deposit
/// is lost or duplicated.
async fn check(disturb: impl AsyncFn(&Server, &Load)) {
    let server = Server::start();
    let hosts = vec![host(&server.url(&fresh_schema())).await];
    check_at(hosts, async |load| disturb(&server, load).await).await;
}

/// The same for several hosts, which have one store.
pub async fn check_at(hosts: Vec<Host>, disturb: impl AsyncFnOnce(&Load)) {
    let first = hosts[0].clone();
    examples::deploy(&first, examples::account()).await;
    for n in 0..ACCOUNTS {
        let open = build::command("open", r#"{"owner":"ann"}"#);
        let account = build::stream(&format!("account-{n}"));
        first.execute(&account, open).await.unwrap();
    }
    let load = Arc::new(Load {
        answered: hosts.iter().map(|_| watch::Sender::new(0)).collect(),
        failed: hosts.iter().map(|_| Mutex::default()).collect(),
        is_over: AtomicBool::new(false),
        hosts,
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| tokio::spawn(Arc::clone(&load).client(n)))
        .collect();
    load.answered_more(100).await;
    disturb(&load).await;
    load.answered_more(100).await;
    load.is_over.store(true, Ordering::SeqCst);
    let finished = tokio::time::timeout(PATIENCE, join_all(clients)).await;
    let finished = finished.expect("each client receives the answer to its last command");
    let answers = finished.into_iter().flat_map(Result::unwrap).collect();
    check_log(&first, &answers).await;
    for host in &load.hosts {
        host.clone().shutdown().await.unwrap();
    }
}

/// Checks that the log contains each acknowledged deposit where its answer says, and each deposit
/// once.
async fn check_log(host: &Host, answers: &HashMap<String, Executed>) {
    let log = log::whole(host).await;
    log::check(&log);
    let recorded: HashMap<&str, _> = log
        .iter()
        .filter(|event| event.name.as_str() == "deposited")
        .map(|event| (event.commit.command_id.as_ref().unwrap().as_str(), event))
        .collect();
    assert_eq!(
        recorded.len(),
        log.len() - ACCOUNTS,
        "a deposit was doubled"
    );
    for (id, answer) in answers {
        let event = recorded.get(&**id);
        let event = event.unwrap_or_else(|| panic!("acknowledged deposit {id} is lost"));
        assert_eq!(
            (event.version, Some(event.position)),
            (answer.version, answer.position),
            "{id}"
        );
    }
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
