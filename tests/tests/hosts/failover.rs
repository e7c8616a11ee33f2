//! The server fails and a standby takes its place, under load.

use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::seed;
use sqlx::Executor;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::outages::check_at;

/// An address that clients know, behind which another server can be put, as operators
/// move a name or a virtual address.
struct Address {
    url: String,
    target: watch::Sender<u16>,
}

impl Address {
    async fn of(server: &Server, schema: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = reqwest::Url::parse(&server.url(schema)).unwrap();
        let (target, known) = watch::channel(url.port().unwrap());
        let port = listener.local_addr().unwrap().port();
        url.set_port(Some(port)).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, known.clone()));
            }
        });
        let url = url.to_string();
        Self { url, target }
    }

    fn move_to(&self, server: &Server) {
        let url = reqwest::Url::parse(&server.url("any")).unwrap();
        self.target.send_replace(url.port().unwrap());
    }
}

/// Passes on what is said until the address is moved.
async fn pass_on(mut client: TcpStream, mut target: watch::Receiver<u16>) {
    let port = *target.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = target.changed() => {}
    }
}

/// Waits until a host has connected to a server.
async fn until_found(server: &Server) {
    const HOSTS: &str = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'quipu'";
    let mut connection = server.connect().await;
    while connection.fetch_optional(HOSTS).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_has_everything_acknowledged() {
    let rounds = if seed::is_long() { 5 } else { 1 };
    let first = Server::start();
    let address = Address::of(&first, &fresh_schema()).await;
    check_at(&address.url, async |load| {
        let mut serving = first;
        for _ in 0..rounds {
            let standby = serving.standby();
            // From now on a commit is acknowledged once the standby has it, too.
            for sql in [
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                "SELECT pg_reload_conf()",
            ] {
                serving.connect().await.execute(sql).await.unwrap();
            }
            load.answered_more(200).await;
            serving.stop_immediately();
            // Clients find a server that takes no writes yet.
            address.move_to(&standby);
            until_found(&standby).await;
            standby.promote().await;
            load.answered_more(200).await;
            serving = standby;
        }
    })
    .await;
}
