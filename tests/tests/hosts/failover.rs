//! The server fails and a standby takes its place, under load.

use quipu::Host;
use quipu::model::Position;
use quipu::store::{Direction, Filter};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, log, seed};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::address::Address;
use super::outages::{check_at, host};

/// Reads the log while it grows, and repeats reads that fail, until it has reached an end that is
/// given later.
async fn follow(host: Host, end: watch::Receiver<Option<Position>>) -> Vec<Position> {
    let (mut seen, mut after) = (Vec::new(), Position(0));
    let everything = Filter::default();
    while end.borrow().is_none_or(|end| after < end) {
        let page = host.read_log(after, Direction::Forward, 1_000, &everything);
        if let Ok(page) = page.await {
            seen.extend(page.events.iter().map(|event| event.position));
            after = seen.last().copied().unwrap_or(after);
        }
        tokio::task::yield_now().await;
    }
    seen
}

/// Checks that readers of the log saw each event once while the servers changed.
async fn check_readers(host: &Host, readers: Vec<JoinHandle<Vec<Position>>>, last: &Last) {
    let log = log::whole(host).await;
    let log: Vec<Position> = log.iter().map(|event| event.position).collect();
    last.send_replace(log.last().copied());
    for reader in readers {
        let seen = tokio::time::timeout(PATIENCE, reader).await;
        let seen = seen.expect("each reader reaches the end of the log");
        let seen = seen.unwrap();
        assert_eq!(
            seen[..log.len()],
            log,
            "a reader at the time saw another log"
        );
    }
}

type Last = watch::Sender<Option<Position>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_has_everything_acknowledged() {
    let rounds = if seed::is_long() { 5 } else { 1 };
    let mut serving = Server::start();
    let address = Address::of(&serving, &fresh_schema()).await;
    let hosts = vec![host(&address.url).await, host(&address.url).await];
    check_at(hosts, async |load| {
        let (last, end) = watch::channel(None);
        let follow = |host: &Host| tokio::spawn(follow(host.clone(), end.clone()));
        let readers = load.hosts.iter().map(follow).collect();
        for _ in 0..rounds {
            let standby = serving.standby();
            serving.wait_for_standby().await;
            load.answered_more(100).await;
            serving.stop_immediately();
            address.close_and_move_to(&standby);
            // Until it is promoted, the hosts find a server that takes no writes.
            address.is_found(4).await;
            standby.promote().await;
            load.answered_more(100).await;
            serving = standby;
        }
        check_readers(&load.hosts[0], readers, &last).await;
    })
    .await;
}
