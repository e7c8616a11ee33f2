use std::sync::Arc;
use std::time::Duration;

use quipu_server::Options;
use quipu_server::tls::{Identity, Tls};
use quipu_tests::certificates::{Authority, Issued};
use quipu_tests::{Place, build};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, crypto::ring,
};

use crate::connections::{SHORT, bounded, raw, rest};
use crate::server::Server;

pub fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes(), None).unwrap()
}

/// A host with a certificate of this authority, and what can replace it.
pub async fn server(authority: &Authority, options: Options) -> (Server, Arc<Tls>) {
    let tls = Arc::new(Tls::new(identity(&authority.issue())));
    let options = Options {
        tls: Some(Arc::clone(&tls)),
        ..options
    };
    let host = Place::memory().host().await;
    (Server::start(host, options).await, tls)
}

pub fn connector(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem.as_bytes());
    roots.add(certificate.unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(server: &Server, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let socket = raw(server, "").await;
    let name = "localhost".try_into().unwrap();
    bounded(connector.connect(name, socket)).await.unwrap()
}

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn clients_choose_among_tls_1_2_and_1_3_and_http_1_and_2() {
    let authority = Authority::new();
    let (server, _) = server(&authority, Options::default()).await;
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let all: [&[u8]; 2] = [b"h2", b"http/1.1"];
        for (offered, chosen) in [
            (&all[..], Some(all[0])),
            (&all[1..], Some(all[1])),
            (&[], None),
        ] {
            let connector = connector(&authority, &[version], offered);
            let mut stream = connect(&server, &connector).await;
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.protocol_version(), Some(number));
            assert_eq!(connection.alpn_protocol(), chosen);
            if chosen == Some(all[0]) {
                let (requests, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                let request = http::Request::get("https://localhost/healthz");
                let mut requests = requests.ready().await.unwrap();
                let request = request.body(()).unwrap();
                let (answer, _) = requests.send_request(request, true).unwrap();
                assert_eq!(bounded(answer).await.unwrap().status(), 200);
                continue;
            }
            stream.write_all(GET.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // The connection ends as TLS prescribes, not in the middle.
            bounded(stream.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
    let other = connector(&authority, &[&TLS13], &[b"smtp"]);
    let socket = raw(&server, "").await;
    let name = "localhost".try_into().unwrap();
    let refused = bounded(other.connect(name, socket)).await;
    assert!(refused.is_err(), "it chose another protocol");
}

/// The greeting of a client that knows no later version than TLS 1.1.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session; two suites; no compression; one extension: the algorithms of signatures.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x13, 1, 0]);
    hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut handshake = vec![1, 0, 0, hello.len() as u8];
    handshake.extend(hello);
    let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

#[tokio::test]
async fn a_client_with_tls_1_1_or_without_tls_is_refused() {
    let authority = Authority::new();
    let (server, _) = server(&authority, Options::default()).await;
    let mut socket = raw(&server, "").await;
    socket.write_all(&hello_of_tls_1_1()).await.unwrap();
    let mut alert = Vec::new();
    _ = bounded(socket.read_to_end(&mut alert)).await;
    // An alert, fatal: the version of the protocol.
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    assert_eq!(alert[5..], [2, 70], "{alert:?}");
    let answer = rest(&mut raw(&server, GET).await).await;
    assert!(!answer.contains("HTTP"), "{answer}");
    // It has not disturbed anybody.
    let mut stream = connect(&server, &connector(&authority, &[&TLS13], &[])).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_bounded_and_delays_nobody() {
    let authority = Authority::new();
    let options = Options {
        head_time_max: SHORT,
        ..Options::default()
    };
    let (server, _) = server(&authority, options).await;
    let half = &hello_of_tls_1_1()[..9];
    for said in [&b""[..], half] {
        let mut socket = raw(&server, "").await;
        socket.write_all(said).await.unwrap();
        assert_eq!(rest(&mut socket).await, "");
    }
    // After the handshake the same time applies to the first request.
    let connector = connector(&authority, &[&TLS13], &[]);
    let mut stream = connect(&server, &connector).await;
    let mut answer = Vec::new();
    _ = bounded(stream.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    // Handshakes count as connections, and make room for others.
    let options = Options {
        connections_max: 2,
        head_time_max: Duration::from_secs(600),
        ..Options::default()
    };
    let (server, _) = self::server(&authority, options).await;
    let mut silent = [raw(&server, "").await, raw(&server, "").await];
    for _ in 0..2 {
        let mut stream = connect(&server, &connector).await;
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = String::new();
        bounded(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let closed = futures::future::select_all(silent.iter_mut().map(|it| Box::pin(rest(it))));
    assert_eq!(closed.await.0, "");
}

/// What the client does not take waits in buffers of TLS, too.
#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let authority = Authority::new();
    let options = Options {
        slow_reader_max: SHORT,
        connections_max: 1,
        ..Options::default()
    };
    let (server, _) = server(&authority, options).await;
    let stream = build::stream("note-1");
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let total = 10 * long.len();
    for _ in 0..10 {
        let append = build::append(vec![build::event("noted", &long)]);
        server.host.append(&stream, append).await.unwrap();
    }
    let connector = connector(&authority, &[&TLS13], &[]);
    let socket = TcpSocket::new_v4().unwrap();
    // The host can send less before it has to wait.
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = server.url.trim_start_matches("http://").parse().unwrap();
    let socket = socket.connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut client = bounded(connector.connect(name, socket)).await.unwrap();
    let get = "GET /v1/export HTTP/1.1\r\nhost: h\r\n\r\n";
    client.write_all(get.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    bounded(client.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // It reads no more. There is room for another connection when the host has given it up.
    let mut other = connect(&server, &connector).await;
    other.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    bounded(other.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut rest = Vec::new();
    let ended = bounded(client.read_to_end(&mut rest)).await;
    assert!(ended.is_err() && rest.len() < total, "{}", rest.len());
}

#[tokio::test]
async fn a_host_without_settings_that_can_change_reloads_nothing() {
    let server = Server::empty().await;
    let answer = crate::server::send(server.request("POST", "/v1/reload")).await;
    let answer = answer.ok();
    assert_eq!(answer, serde_json::json!({ "changed": [], "restart": [] }));
    let wrong = server.request("POST", "/v1/reload?x=1");
    crate::server::send(wrong).await.problem(400, "bad-request");
    let get = server.get("/v1/reload").await;
    get.problem(405, "method-not-allowed");
}
