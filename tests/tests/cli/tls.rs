use std::path::Path;

use quipu_tests::certificates::{Authority, Issued};
use serde_json::Value;

use crate::program::{Served, quipu, run, said, text};

/// A host with a certificate of this authority.
fn start(authority: &Authority, config: &str) -> Served {
    start_with(authority, &authority.issue(), config)
}

/// A host with this certificate, and the file of an authority.
fn start_with(authority: &Authority, issued: &Issued, config: &str) -> Served {
    let dir = tempfile::tempdir().unwrap();
    issued.write(dir.path());
    std::fs::write(dir.path().join("ca.crt"), &authority.pem).unwrap();
    let file = dir.path().join("quipu.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = quipu(&["serve", "--store", "memory:", "--listen", "127.0.0.1:0"]);
    command.args(["--config", &text(&file)]);
    command.args(["--tls-certificate", &text(&dir.path().join("tls.crt"))]);
    command.args(["--tls-key", &text(&dir.path().join("tls.key"))]);
    Served::ready(dir, command)
}

/// Asks the host to reload: the status of the answer, and its body.
fn reload(host: &Served) -> (u16, Value) {
    let authority = std::fs::read(host.path("ca.crt")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.add_root_certificate(authority).build().unwrap();
        let answer = client.post(format!("{}/v1/reload", host.url)).send().await;
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    })
}

fn list(answer: &Value, member: &str) -> Vec<String> {
    serde_json::from_value(answer[member].clone()).unwrap()
}

#[test]
fn a_host_with_a_certificate_serves_clients_that_trust_its_authority() {
    let authority = Authority::new();
    let host = start(&authority, "");
    assert!(host.url.starts_with("https://127.0.0.1:"), "{}", host.url);
    let ca = text(&host.path("ca.crt"));
    host.run(&["append", "note-1", "noted", "1", "--ca", &ca])
        .ok();
    let mut command = quipu(&["events", "--json", "--url", &host.url]);
    command.env("QUIPU_CA", &ca);
    let events = said(&command.output().unwrap()).ok();
    assert!(events.contains("note-1"), "{events}");
    host.run(&["status"])
        .fails(1, "name the certificate of its authority with --ca");
    let other = host.path("other.crt");
    std::fs::write(&other, Authority::new().pem).unwrap();
    host.run(&["status", "--ca", &text(&other)])
        .fails(1, "certificate");
    let plain = host.url.replace("https:", "http:");
    run(&["status", "--url", &plain]).fails(1, "write https:// in the address");
    for (path, why) in [
        (
            text(&host.path("tls.key")),
            "there is no certificate in PEM",
        ),
        (text(&host.path("none")), "can't be read"),
    ] {
        host.run(&["status", "--ca", &path]).fails(2, why);
    }
    run(&["status", "--url", "ftp://x"]).fails(2, "not an address of a host");
}

#[test]
fn a_client_says_that_the_certificate_of_an_authority_is_not_that_of_a_host() {
    let authority = Authority::new();
    let host = start_with(&authority, &authority.own(), "");
    let ca = text(&host.path("ca.crt"));
    host.run(&["status", "--ca", &ca]).fails(
        1,
        "give the host a certificate that the authority has issued",
    );
}

#[test]
fn a_client_says_that_a_host_does_not_serve_https() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let url = host.url.replace("http:", "https:");
    run(&["status", "--url", &url]).fails(1, "write http:// in the address");
}

#[test]
fn wrong_files_of_a_certificate_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue().write(dir.path());
    let path = |name: &str| text(&dir.path().join(name));
    std::fs::write(path("other.key"), authority.issue().key).unwrap();
    std::fs::write(
        path("broken"),
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(path("nonsense"), nonsense).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("large"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    for (certificate, key, said) in [
        ("missing", "tls.key", "tls.certificate: "),
        ("missing", "tls.key", "missing: the file can't be read"),
        ("tls.crt", "missing", "tls.key: "),
        (
            "tls.key",
            "tls.key",
            "tls.key: there is no certificate in PEM",
        ),
        (
            "tls.crt",
            "tls.crt",
            "tls.crt: there is no private key in PEM",
        ),
        ("empty", "tls.key", "there is no certificate"),
        ("broken", "tls.key", "the certificate is not PEM"),
        ("nonsense", "tls.key", "can't be used"),
        ("large", "tls.key", "the file has more than 1048576 bytes"),
        (
            "tls.crt",
            "other.key",
            "other.key: the private key does not belong to the certificate",
        ),
    ] {
        let args = ["serve", "--store", "memory:", "--listen", "127.0.0.1:0"];
        let mut command = quipu(&args);
        command.args([
            "--tls-certificate",
            &path(certificate),
            "--tls-key",
            &path(key),
        ]);
        self::said(&command.output().unwrap()).fails(2, said);
    }
    for (flag, said) in [
        ("--tls-certificate", "--tls-certificate: tls.key is missing"),
        ("--tls-key", "--tls-key: tls.certificate is missing"),
    ] {
        run(&["serve", "--store", "memory:", flag, &path("tls.crt")]).fails(2, said);
    }
}

/// The certificate that the host presents, in DER.
fn presented(host: &Served) -> Vec<u8> {
    use std::sync::Arc;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

    let pem = std::fs::read(host.path("ca.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = host.url.trim_start_matches("https://").to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        let stream = connector.connect(name, socket).await.unwrap();
        let (_, connection) = stream.get_ref();
        connection.peer_certificates().unwrap()[0].to_vec()
    })
}

fn write(host: &Served, config: &str) {
    std::fs::write(host.path("quipu.toml"), config).unwrap();
}

#[test]
fn a_reload_takes_a_new_certificate_and_the_log_level() {
    let authority = Authority::new();
    let host = start(&authority, "log = \"info\"\n");
    let first = presented(&host);
    let (status, answer) = reload(&host);
    assert_eq!(
        (status, list(&answer, "changed").len()),
        (200, 0),
        "{answer}"
    );
    authority.issue().write(host.dir.path());
    write(&host, "log = \"quipu=debug\"\n[http]\nidle_max_ms = 7\n");
    let (status, answer) = reload(&host);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(list(&answer, "changed"), ["tls.certificate", "log"]);
    assert_eq!(list(&answer, "restart"), ["http.idle_max_ms"]);
    let second = presented(&host);
    assert_ne!(second, first);
    // A signal does the same.
    authority.issue().write(host.dir.path());
    host.signal("HUP");
    let begun = std::time::Instant::now();
    while presented(&host) == second {
        assert!(
            begun.elapsed() < quipu_tests::PATIENCE,
            "nothing was reloaded"
        );
    }
    host.signal("TERM");
    let (ended, _dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let reloads = ended.err.matches("the configuration was reloaded").count();
    assert_eq!(reloads, 3, "{}", ended.err);
}

#[test]
fn a_reload_with_a_mistake_changes_nothing() {
    let authority = Authority::new();
    let host = start(&authority, "log = \"info\"\n");
    let first = presented(&host);
    let broken = |host: &Path, name: &str| std::fs::write(host.join(name), "broken").unwrap();
    let refused = |said: &str| {
        let (status, problem) = reload(&host);
        assert_eq!((status, &problem["code"]), (409, &"reload-refused".into()));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{detail}");
        assert_eq!(presented(&host), first);
    };
    // Of a pair that is being written, one file can be the new one.
    let other = authority.issue();
    std::fs::write(host.path("tls.crt"), &other.certificate).unwrap();
    refused("the private key does not belong to the certificate");
    broken(host.dir.path(), "tls.crt");
    refused("there is no certificate in PEM");
    std::fs::remove_file(host.path("tls.crt")).unwrap();
    refused("can't be read");
    other.write(host.dir.path());
    write(&host, "log = \"quipu=x=y\"\n[engine]\nworker = 1\n");
    refused("quipu.toml:3: there is no key engine.worker");
    write(&host, "log = \"info\"\n");
    let (status, _) = reload(&host);
    assert_eq!(status, 200);
    assert_ne!(presented(&host), first);
    host.signal("TERM");
    let (ended, _dir) = host.ended();
    let refusals = ended
        .err
        .matches("the configuration was not reloaded")
        .count();
    assert_eq!(refusals, 4, "{}", ended.err);
}

#[test]
fn a_host_without_a_certificate_reloads_too() {
    let dir = tempfile::tempdir().unwrap();
    let host = Served::start_in(dir, &[]);
    host.signal("HUP");
    host.run(&["append", "note-1", "noted", "1"]).ok();
    host.signal("TERM");
    let (ended, _dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.err.contains("the configuration was reloaded"),
        "{}",
        ended.err
    );
}
