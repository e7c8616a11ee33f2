//! Callers with client certificates.

use std::sync::Arc;

use quipu::Host;
use quipu_identity::Identities;
use quipu_server::tls::{Clients, Identity, Tls};
use quipu_server::{InForce, Options, Rules};
use quipu_tests::certificates::{Authority, Issued};
use quipu_tests::{Place, on_every_store};
use reqwest::Client;
use serde_json::Value;

use crate::access::EVENT;
use crate::connections::bounded;
use crate::server::Server;

on_every_store!(a_client_with_a_certificate_is_named_in_what_it_did);

const LISTED: &str = r#"
    [[certificate]]
    dns = "orders.internal"
    role = "client"
    categories = ["order"]

    [[certificate]]
    uri = "spiffe://prod/reporting"
    name = "reporting"
    role = "viewer"

    [[certificate]]
    common_name = "old one"
    role = "admin"
"#;

fn rules(text: &str) -> Arc<Rules> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identities.toml");
    std::fs::write(&path, text).unwrap();
    Arc::new(Rules::new(InForce {
        identities: Identities::load(&path).unwrap(),
        policy: None,
    }))
}

/// The certificate of a host, which trusts the clients of an authority.
fn identity(own: &Issued, trusted: &Authority, are_required: bool) -> Identity {
    let clients = Clients::from_pem(trusted.pem.as_bytes(), are_required).unwrap();
    let (certificate, key) = (own.certificate.as_bytes(), own.key.as_bytes());
    Identity::from_pem(certificate, key, Some(clients)).unwrap()
}

async fn server(authority: &Authority, are_required: bool) -> Server {
    let own = identity(&authority.issue(), authority, are_required);
    serving(Arc::new(Tls::new(own))).await
}

async fn serving(tls: Arc<Tls>) -> Server {
    serving_at(Place::memory().host().await, tls).await
}

async fn serving_at(host: Host, tls: Arc<Tls>) -> Server {
    let options = Options {
        tls: Some(tls),
        rules: rules(LISTED),
        ..Options::default()
    };
    Server::start(host, options).await
}

fn client(authority: &Authority, shown: Option<&Issued>) -> Client {
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let mut builder = Client::builder()
        .add_root_certificate(root)
        .use_rustls_tls();
    if let Some(shown) = shown {
        let pem = format!("{}{}", shown.certificate, shown.key);
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

async fn whoami(server: &Server, client: &Client) -> (u16, Value) {
    let port = server.url.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/v1/whoami");
    let answered = client.get(url).send().await.unwrap();
    (answered.status().as_u16(), answered.json().await.unwrap())
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let authority = Authority::new();
    let server = server(&authority, false).await;
    for (names, common, expected) in [
        (
            vec!["dns:orders.internal"],
            "x",
            Some(("certificate:orders.internal", "client")),
        ),
        (
            vec!["dns:other", "uri:spiffe://prod/reporting"],
            "x",
            Some(("reporting", "viewer")),
        ),
        (
            vec!["dns:other"],
            "old one",
            Some(("certificate:old one", "admin")),
        ),
        (vec!["dns:orders.internal.evil"], "orders.internal", None),
        (vec!["uri:spiffe://prod/reporting/2"], "reporting", None),
    ] {
        let shown = authority.issue_client(&names, common);
        let (status, who) = whoami(&server, &client(&authority, Some(&shown))).await;
        match expected {
            Some((name, role)) => {
                assert_eq!(
                    (status, &who["name"]),
                    (200, &Value::from(name)),
                    "{names:?}: {who}"
                );
                assert_eq!(who["grant"]["role"], role);
                assert!(who["expires_at"].is_string(), "{who}");
            }
            None => assert_eq!(status, 401, "{names:?}: {who}"),
        }
    }
    let (status, _) = whoami(&server, &client(&authority, None)).await;
    assert_eq!(status, 401);
}

async fn a_client_with_a_certificate_is_named_in_what_it_did(place: Place) {
    let authority = Authority::new();
    let own = identity(&authority.issue(), &authority, false);
    let server = serving_at(place.bank().await, Arc::new(Tls::new(own))).await;
    let port = server.url.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/v1");
    let of = |names: &[&str], common: &str| {
        client(&authority, Some(&authority.issue_client(names, common)))
    };
    let (orders, old) = (
        of(&["dns:orders.internal"], "x"),
        of(&["dns:other"], "old one"),
    );
    let post = async |client: &Client, path: &str, body: &'static str| {
        let request = client.post(format!("{url}{path}")).body(body);
        let request = request.header("content-type", "application/json");
        // Nobody can name somebody else.
        let request = request.header("quipu-principal", "reporting");
        request.send().await.unwrap().status().as_u16()
    };
    let get = async |path: &str| -> Value {
        let answered = old.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answered.status().as_u16(), 200, "{path}");
        answered.json().await.unwrap()
    };
    let open = r#"{"type":"open","data":{"owner":"ann"}}"#;
    let withdraw = r#"{"type":"withdraw","data":{"amount":7}}"#;
    for (client, path, body, status) in [
        (&orders, "/streams/order-1/events", EVENT, 200),
        (&old, "/streams/account-1/commands", open, 200),
        (&old, "/streams/account-1/commands", withdraw, 422),
        (&orders, "/streams/account-1/commands", open, 403),
    ] {
        assert_eq!(post(client, path, body).await, status, "{path} {body}");
    }
    let principals = |listed: &Value, at: &str| -> Vec<Value> {
        let listed = listed.as_array().unwrap().iter();
        listed.map(|it| it.pointer(at).unwrap().clone()).collect()
    };
    let events = get("/events").await;
    let archive = old.post(format!("{url}/streams/order-1/archive")).send();
    assert_eq!(archive.await.unwrap().status().as_u16(), 200);
    let (orders, old) = ("certificate:orders.internal", "certificate:old one");
    let appended_by = principals(&events["events"], "/commit/principal");
    assert_eq!(appended_by, [orders, old], "{events}");
    let rejections = get("/rejections").await;
    let rejected_by = principals(&rejections["rejections"], "/principal");
    assert_eq!(rejected_by, [old], "{rejections}");
    let audit = get("/audit").await;
    let mut found = principals(&audit["records"], "/principal");
    found.retain(Value::is_string);
    assert_eq!(found, [orders, old], "{audit}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_connection() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server(&authority, true).await;
    let port = server.url.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/v1/whoami");
    let foreign = other.issue_client(&["dns:orders.internal"], "x");
    for shown in [None, Some(&foreign)] {
        let failed = client(&authority, shown).get(&url).send().await;
        assert!(failed.is_err(), "{failed:?}");
    }
    let shown = authority.issue_client(&["dns:orders.internal"], "x");
    let (status, _) = whoami(&server, &client(&authority, Some(&shown))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn connections_end_when_other_authorities_are_trusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let own = authority.issue();
    let tls = Arc::new(Tls::new(identity(&own, &authority, true)));
    let server = serving(Arc::clone(&tls)).await;
    let shown = authority.issue_client(&["uri:spiffe://prod/reporting"], "x");
    let client = client(&authority, Some(&shown));
    assert_eq!(whoami(&server, &client).await.0, 200);
    let port = server.url.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}");
    let following = client.get(format!("{url}/v1/events/subscribe")).send();
    let mut following = following.await.unwrap();
    assert_eq!(following.status(), 200);

    // The same authorities with another certificate end nothing.
    assert!(tls.replace(identity(&authority.issue(), &authority, true)));
    assert_eq!(whoami(&server, &client).await.0, 200);
    assert!(tls.replace(identity(&own, &other, true)));
    let ended = async { while following.chunk().await.is_ok_and(|part| part.is_some()) {} };
    bounded(ended).await;
    let refused = client.get(format!("{url}/v1/whoami")).send().await;
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let why = Clients::from_pem(pem.as_bytes(), true)
            .err()
            .unwrap()
            .to_string();
        assert!(why.contains("authorities of client certificates"), "{why}");
    }
}
