//! An address that leads to another server later, as operators move a name or a virtual address.

use std::future::pending;

use quipu_tests::PATIENCE;
use quipu_tests::postgres::Server;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy to one server at a time.
pub struct Address {
    /// The address of the store.
    pub url: String,
    target: watch::Sender<Target>,
    /// Connections since the last move.
    connections: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
struct Target {
    /// None: no server.
    port: Option<u16>,
    /// The connections to the server before are open, and nothing passes through them.
    was_lost: bool,
}

impl Address {
    /// An address of a store of this server.
    pub async fn of(server: &Server, schema: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = reqwest::Url::parse(&server.url(schema)).unwrap();
        let (target, known) = watch::channel(Target {
            port: url.port(),
            was_lost: false,
        });
        let own = listener.local_addr().unwrap().port();
        url.set_port(Some(own)).unwrap();
        let address = Self {
            url: url.to_string(),
            target,
            connections: watch::Sender::new(0),
        };
        let connections = address.connections.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, known.clone(), connections.clone()));
            }
        });
        address
    }

    /// Ends every connection, and leads new ones to a server.
    pub fn close_and_move_to(&self, server: &Server) {
        self.go_to(server, false);
    }

    /// Leads new connections to a server. Nothing passes through the others any more, and nobody
    /// is notified, as if a machine had lost its power.
    pub fn lose_and_move_to(&self, server: &Server) {
        self.go_to(server, true);
    }

    /// The same with no other server: new connections are accepted, and nothing passes through
    /// them.
    pub fn lose(&self) {
        self.go_to_port(None, true);
    }

    fn go_to(&self, server: &Server, was_lost: bool) {
        let url = reqwest::Url::parse(&server.url("any")).unwrap();
        self.go_to_port(url.port(), was_lost);
    }

    fn go_to_port(&self, port: Option<u16>, was_lost: bool) {
        self.target.send_replace(Target { port, was_lost });
        self.connections.send_replace(0);
    }

    /// Waits until the server has got this number of connections since the last move.
    pub async fn is_found(&self, number: usize) {
        let mut connections = self.connections.subscribe();
        let found = connections.wait_for(|now| *now >= number);
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.expect("hosts connect to the next server").unwrap();
    }
}

/// Copies bytes in both directions until the address is moved.
async fn pass_on(
    mut client: TcpStream,
    mut target: watch::Receiver<Target>,
    connections: watch::Sender<usize>,
) {
    let port = target.borrow_and_update().port;
    let Some(port) = port else {
        return pending().await;
    };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    connections.send_modify(|number| *number += 1);
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = target.changed() => {
            if target.borrow().was_lost {
                pending::<()>().await;
            }
        }
    }
}
