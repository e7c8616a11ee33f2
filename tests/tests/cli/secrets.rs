//! Secrets of a host and of its callers, and everything that must not show them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quipu::Host;
use quipu::model::Digest;
use quipu::store;
use quipu_tests::certificates::Authority;
use quipu_tests::{Place, build, examples, guest, on_every_store, place};

use crate::configuration::{run_in, written};
use crate::program::{Said, Served, quipu, run, text};

on_every_store!(no_secret_is_in_an_output_or_in_the_log);

/// A secret that must not be seen anywhere.
pub const CANARY: &str = "c4n4ry-of-the-tests";
/// Other secrets. Each has a part that the others lack.
const WRONG_TOKEN: &str = "c4n4ry-of-a-wrong-token";
const HEADER: &str = "c4n4ry-of-a-header";
const WRONG_KEY: &str = "c4n4ryOfAWrongKey";

async fn no_secret_is_in_an_output_or_in_the_log(place: Place) {
    without_a_host();
    let mut secrets = Secrets::new();
    let (address, user) = with_password(&place).await;
    damaged(&place, &address).await;
    let of_store = secret_of(&address).await;
    secrets.add("the secret of the store", &Digest(of_store).to_string());
    secrets.add("the secret of the store", &STANDARD.encode(of_store));
    let running = Running::start(&place, &address, secrets);
    let tenant = running.work();
    running.http(&tenant).await;
    running.failing_reload().await;
    if let Some(user) = &user {
        // The store fails for a moment.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"
        );
        execute(end).await;
        running.run(&running.root, &["append", "note-2", "noted", "2"]);
        running.run(&running.root, &["stream", "note-2"]);
    }
    running.end(&tenant);
    if let Some(user) = user {
        execute(format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}")).await;
    }
}

/// Commands and hosts that find no store.
fn without_a_host() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing listens on this port.
    let address = format!("postgres://ann:{CANARY}@127.0.0.1:1/bank?schema=x&password={CANARY}");
    let file = written(dir.path(), "address", &address);
    let token = written(dir.path(), "token", CANARY);
    let config = written(
        dir.path(),
        "quipu.toml",
        &format!("store = \"{address}\"\n"),
    );
    let broken = written(
        dir.path(),
        "broken.toml",
        &format!("store = \"{address}\" x\n"),
    );
    let listen = ("QUIPU_LISTEN", "127.0.0.1:0");
    let log = ("QUIPU_LOG", "trace");
    let store = ("QUIPU_STORE", &*address);
    let file = ("QUIPU_STORE_FILE", &*file);
    let nowhere = ("QUIPU_URL", "http://127.0.0.1:1");
    let joined = format!("--token={CANARY}");
    let given = ("QUIPU_TOKEN", CANARY);
    let token = ("QUIPU_TOKEN_FILE", &*token);
    for (variables, args) in [
        (&[store][..], &["config"][..]),
        (&[store], &["config", "--sources"]),
        (&[store], &["config", "--json"]),
        (&[store], &["config", "--sources", "--json"]),
        (&[file], &["config", "--sources"]),
        (&[file], &["config", "--json"]),
        (&[], &["config", "--config", &config]),
        (&[], &["config", "--check", "--config", &broken]),
        (&[], &["config", "--reference"]),
        (&[store, listen, log], &["serve"]),
        (&[file, listen, log], &["serve"]),
        (&[listen, log], &["serve", "--config", &config]),
        (&[listen, log], &["serve", "--store", &address]),
        (&[store, listen, log], &["serve", "--help"]),
        (&[], &["backup", "--store", &address, "x"]),
        (&[given, nowhere], &["status"]),
        (&[token, nowhere], &["status"]),
        (&[given, token], &["status"]),
        (&[given], &["status", "--help"]),
        (&[nowhere], &["status", "--token", CANARY]),
        (&[nowhere], &["status", "--json", &joined]),
        (&[nowhere], &["can", "ann", "read", "note", &joined]),
        (&[nowhere], &["status", &joined, "--unknown"]),
        (&[nowhere, token], &["status", &joined]),
    ] {
        let said = run_in(variables, args);
        assert!(!said.err.contains(CANARY), "{args:?}: {}", said.err);
        assert!(!said.out.contains(CANARY), "{args:?}: {}", said.out);
    }
}

/// Secrets, each with the name of what it is.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn new() -> Self {
        let mut secrets = Self(Vec::new());
        secrets.add("the password of the store", CANARY);
        secrets.add("a wrong token", WRONG_TOKEN);
        secrets.add("a header of the traces", HEADER);
        secrets.add("a broken key", WRONG_KEY);
        secrets
    }

    fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 16, "{what} is too short to be found");
        self.0.push((what, secret.to_owned()));
    }

    /// Adds the part of a token that only its owner knows.
    fn add_token(&mut self, what: &'static str, token: &str) {
        self.add(what, &token[20..40]);
    }

    /// Adds the first line of a key in PEM.
    fn add_key(&mut self, what: &'static str, pem: &str) {
        self.add(what, pem.lines().nth(1).unwrap());
    }

    /// Checks that an output has none of them.
    fn check(&self, place: &str, output: &str) {
        for (what, secret) in &self.0 {
            assert!(
                !output.contains(secret.as_str()),
                "{what} is in {place}: {output}"
            );
        }
    }
}

/// The address of the store with a password in it, if it is on PostgreSQL, and the user who has
/// that password.
async fn with_password(place: &Place) -> (String, Option<String>) {
    if place.url().starts_with("sqlite") {
        return (place.url().to_owned(), None);
    }
    let mut url = reqwest::Url::parse(place.url()).unwrap();
    let schema = url.query_pairs().find(|(name, _)| name == "schema");
    let schema = schema.unwrap().1.into_owned();
    let user = format!("user_of_{schema}");
    execute(format!(
        "CREATE ROLE {user} LOGIN PASSWORD '{CANARY}'; \
         CREATE SCHEMA {schema} AUTHORIZATION {user}; \
         DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {user}', current_database()); \
         END $$"
    ))
    .await;
    url.set_username(&user).unwrap();
    url.set_password(Some(CANARY)).unwrap();
    (url.to_string(), Some(user))
}

async fn execute(sql: String) {
    let mut connection = quipu_tests::postgres::server().connect().await;
    let executing = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    executing.execute(&mut connection).await.unwrap();
}

/// The key of the seeds of decisions.
async fn secret_of(address: &str) -> [u8; 32] {
    let opened = store::open(&address.parse().unwrap()).await.unwrap();
    let secret = opened.secret;
    opened.writer.close().await.unwrap();
    secret
}

/// Fills a store with an event that does not have its digest any more.
async fn damaged(place: &Place, address: &str) {
    let builder = Host::builder().store(address);
    let host = builder.cache_dir(place::compiled()).build().await.unwrap();
    let append = build::append(build::events(1));
    host.append(&build::stream("note-1"), append).await.unwrap();
    host.shutdown().await.unwrap();
    let sql = match address.starts_with("sqlite") {
        true => "UPDATE events SET data = CAST('7' AS BLOB)",
        false => "UPDATE events SET data = convert_to('7', 'UTF8')",
    };
    place.tamper(sql).await;
}

/// A host in a process of its own, with a secret wherever it can have one.
struct Running {
    host: Served,
    secrets: Secrets,
    /// The file of its authority.
    ca: String,
    config: String,
    /// The token of an admin.
    root: String,
    /// The file of its log.
    log: PathBuf,
}

impl Running {
    fn start(place: &Place, address: &str, mut secrets: Secrets) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let address = written(dir.path(), "address", address);
        let create = ["token", "create", "root", "--role", "admin"];
        let made = run(&[&create[..], &["--store-file", &address]].concat());
        secrets.check("the log of a command", &made.err);
        let root = made.ok().trim_end().to_owned();
        secrets.add_token("the token of an admin", &root);

        let authority = Authority::new();
        let issued = authority.issue();
        issued.write(dir.path());
        secrets.add_key("the key of the certificate", &issued.key);
        let ca = written(dir.path(), "ca.crt", &authority.pem);
        let signer = text(&path("signer.pem"));
        let public = run(&["key", &signer]).ok();
        let signing = std::fs::read_to_string(&signer).unwrap();
        secrets.add_key("the key that signs", &signing);
        for (name, component) in [
            ("account.wasm", examples::account()),
            ("panic.wasm", guest::component("panic")),
        ] {
            let file = text(&path(name));
            std::fs::write(&file, component).unwrap();
            for (key, code) in [("tls.key", 1), (&*signer, 0)] {
                let signed = run(&["sign", &file, "--key", &text(&path(key))]);
                secrets.check("the output of sign", &(signed.out + &signed.err));
                assert_eq!(signed.code, code, "{key}");
            }
        }
        let config = format!(
            "store_file = \"{address}\"\nlisten = \"127.0.0.1:0\"\nkeys = [\"{}\"]\n\n\
             [tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\n[engine]\ncheck_reads = true\n\n\
             [limits]\nfailed_logins_per_minute = 0\n",
            public.trim_end(),
            text(&path("tls.crt")),
            text(&path("tls.key")),
        );
        let config = written(dir.path(), "quipu.toml", &config);
        let log = path("log");
        let mut command = logged_in(&log, &quipu(&["serve", "--config", &config]));
        command.env("QUIPU_LOG", "trace");
        command.env("QUIPU_TENANTS__PLACE", place.of_tenants());
        // Nobody takes the traces.
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        let header = format!("authorization=Bearer%20{HEADER}\n");
        let header = written(dir.path(), "headers", &header);
        command.env("OTEL_EXPORTER_OTLP_HEADERS_FILE", header);
        Self {
            host: Served::ready(dir, command),
            secrets,
            ca,
            config,
            root,
            log,
        }
    }

    /// Runs a client command, whose output has no secret. It warns of the token in its arguments.
    fn run(&self, token: &str, args: &[&str]) -> Said {
        let all = [args, &["--token", token, "--ca", &self.ca]].concat();
        let said = self.host.run(&all);
        let is_warned = said.err.contains("list of processes");
        assert!(is_warned, "{args:?}: {}", said.err);
        for output in [&said.out, &said.err] {
            self.secrets
                .check(&format!("the output of {args:?}"), output);
        }
        said
    }

    /// Commands that succeed and fail. Returns the token of a tenant.
    fn work(&self) -> String {
        let root = |args: &[&str]| self.run(&self.root, args);
        for file in ["account.wasm", "panic.wasm"] {
            root(&["deploy", &text(&self.host.path(file))]).ok();
        }
        root(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"]).ok();
        assert_ne!(root(&["execute", "probe-1", "go", "{}"]).code, 0);
        root(&["stream", "note-1"]).fails(1, "store-damaged");
        root(&["export"]);
        self.run(WRONG_TOKEN, &["status"])
            .fails(1, "not one of this store");
        for args in [&["status"][..], &["append", "note-2", "noted", "1"]] {
            self.run(CANARY, args).fails(1, "not one of this store");
        }
        // Here a token is shown, once.
        let create = ["tenant", "create", "acme", "--token", &self.root];
        let created = self.host.run(&[&create[..], &["--ca", &self.ca]].concat());
        self.secrets.check("the log of a command", &created.err);
        let tenant = created.ok().trim_end().to_owned();
        let inside = |args: &[&str]| self.run(&tenant, &[args, &["--tenant", "acme"]].concat());
        inside(&["append", "note-1", "noted", "1"]).ok();
        inside(&["status"]);
        assert!(inside(&["export"]).ok().contains("note-1"));
        assert_ne!(self.run(&tenant, &["status"]).code, 0);
        for args in [
            &["status"][..],
            &["status", "--json"],
            &["token", "list", "--json"],
            &["tenant", "list", "--json"],
            &["audit", "--json"],
            &["logs", "--json", "--limit", "1000"],
            &["deployments", "--json"],
        ] {
            let shown = root(args).ok();
            self.check_tenant(&tenant, &format!("the output of {args:?}"), &shown);
        }
        for args in [&["config"][..], &["config", "--sources", "--json"]] {
            let shown = run(&[args, &["--config", &self.config]].concat()).ok();
            self.secrets.check("the configuration", &shown);
            assert!(shown.contains("tls.key"), "{shown}");
        }
        let pid = self.host.child.id();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.contains("serve"), "{line}");
        self.secrets.check("the list of processes", &line);
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let variables = String::from_utf8_lossy(&variables).into_owned();
        assert!(variables.contains("HEADERS_FILE="), "{variables}");
        self.secrets.check("the environment", &variables);
        tenant
    }

    /// Requests with the token of the admin, with a wrong one and without one.
    async fn http(&self, tenant: &str) {
        let client = self.client();
        for token in [Some(&*self.root), Some(WRONG_TOKEN), None] {
            for path in [
                "/metrics",
                "/openapi.json",
                "/readyz",
                "/v1/status",
                "/v1/domain/openapi.json",
                "/v1/streams/note-1/events",
                "/v1/nothing",
                "/console",
            ] {
                let mut request = client.get(format!("{}{path}", self.host.url));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.unwrap();
                let output = format!("{:?} ", answer.headers()) + &answer.text().await.unwrap();
                self.secrets.check(path, &output);
                self.check_tenant(tenant, path, &output);
                if path == "/metrics" && token == Some(&*self.root) {
                    assert!(output.contains("quipu_"), "{output}");
                }
            }
        }
    }

    /// Reloads the configuration with a key that can't be used.
    async fn failing_reload(&self) {
        let key = self.host.path("tls.key");
        let before = std::fs::read(&key).unwrap();
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        std::fs::write(&key, format!("{begin}\n{WRONG_KEY}\n{end}\n")).unwrap();
        let request = self.client().post(format!("{}/v1/reload", self.host.url));
        let answer = request.bearer_auth(&self.root).send().await.unwrap();
        let is_refused = answer.status().as_u16() != 200;
        let answer = answer.text().await.unwrap();
        self.secrets.check("the answer to a reload", &answer);
        assert!(is_refused, "{answer}");
        std::fs::write(&key, before).unwrap();
    }

    fn client(&self) -> reqwest::Client {
        let authority = std::fs::read(&self.ca).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let client = reqwest::Client::builder().no_proxy();
        client.add_root_certificate(authority).build().unwrap()
    }

    /// Ends the host, and checks everything that it has logged.
    fn end(self, tenant: &str) {
        self.host.signal("TERM");
        let (ended, _dir) = self.host.ended();
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(log.contains("shutting down"), "{log}");
        assert!(log.contains("a guest failed"), "{log}");
        for output in [&ended.out, &log] {
            self.secrets.check("the log of the host", output);
        }
        assert!(!log.contains(&tenant[20..40]), "a token is in the log");
    }

    /// Checks that an output does not have the token of the tenant.
    fn check_tenant(&self, tenant: &str, place: &str, output: &str) {
        let mut secrets = Secrets(Vec::new());
        secrets.add_token("the token of a tenant", tenant);
        secrets.check(place, output);
    }
}

/// The same command, with its log in a file, which never makes it wait for a reader.
fn logged_in(file: &Path, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>\"$FILE_OF_THE_LOG\""]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("FILE_OF_THE_LOG", file).stdin(Stdio::null());
    shell
}
