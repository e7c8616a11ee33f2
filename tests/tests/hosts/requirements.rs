//! A host checks the requirements on its database when it starts.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Lifecycle;
use quipu::store::{self, Error, StoreUrl};
use quipu_tests::postgres::{self, Server, server};
use quipu_tests::{PATIENCE, Place, build, examples, loan_documents, log, place};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

async fn refused(url: &str) -> String {
    let url: StoreUrl = url.parse().unwrap();
    match store::open(&url).await {
        Err(Error::Url(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_database_that_cannot_store_every_text_is_refused() {
    let name = postgres::fresh_schema();
    let mut connection = server().connect().await;
    let sql = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    let making = sqlx::raw_sql(AssertSqlSafe(sql));
    making.execute(&mut connection).await.unwrap();
    let mut url = reqwest::Url::parse(&server().url("store")).unwrap();
    url.set_path(&name);
    let why = refused(url.as_str()).await;
    assert!(why.contains("LATIN1") && why.contains("UTF8"), "{why}");
    let sql = format!("DROP DATABASE {name} WITH (FORCE)");
    let dropping = sqlx::raw_sql(AssertSqlSafe(sql));
    dropping.execute(&mut connection).await.unwrap();
}

/// The first message of a client without its `options`, which poolers can be configured to leave
/// out.
fn without_options(message: &[u8]) -> Vec<u8> {
    let (version, rest) = message.split_at(4);
    let words: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
    let mut content = version.to_vec();
    for pair in words.chunks(2) {
        if let [name, value] = pair
            && !name.is_empty()
            && *name != b"options"
        {
            for word in [name, value] {
                content.extend_from_slice(word);
                content.push(0);
            }
        }
    }
    content.push(0);
    let length = u32::try_from(content.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &content].concat()
}

/// The start of a request for TLS; the answer is no.
const TLS: [u8; 4] = 80_877_103u32.to_be_bytes();

async fn pass_on(mut client: TcpStream, to: String) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    loop {
        let length = client.read_u32().await?;
        let mut message = vec![0; length as usize - 4];
        client.read_exact(&mut message).await?;
        if message.starts_with(&TLS) {
            client.write_all(b"N").await?;
            continue;
        }
        server.write_all(&without_options(&message)).await?;
        break;
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The address of a store through a pooler that leaves out the `options` of its clients.
async fn pooled(url: &str) -> reqwest::Url {
    let mut url = reqwest::Url::parse(url).unwrap();
    let to = format!("127.0.0.1:{}", url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, to.clone()));
        }
    });
    url.set_port(Some(own)).unwrap();
    url
}

/// Executes statements as superuser.
async fn run(connection: &mut PgConnection, sql: String) {
    let running = sqlx::raw_sql(AssertSqlSafe(sql));
    running.execute(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_leaves_a_weaker_setting_of_the_user_in_effect_is_refused() {
    let weaker = [
        ("synchronous_commit", "off"),
        ("default_transaction_isolation", "serializable"),
    ];
    let mut connection = server().connect().await;
    for (setting, value) in weaker {
        let schema = postgres::fresh_schema();
        let user = format!("user_of_{schema}");
        // The tables would be in the right schema.
        let sql = format!(
            "CREATE ROLE {user} LOGIN PASSWORD 'few'; \
             CREATE SCHEMA {schema} AUTHORIZATION {user}; \
             ALTER ROLE {user} SET search_path = {schema}; \
             ALTER ROLE {user} SET {setting} = '{value}'"
        );
        run(&mut connection, sql).await;
        let mut url = pooled(&server().url(&schema)).await;
        url.set_username(&user).unwrap();
        url.set_password(Some("few")).unwrap();
        let why = refused(url.as_str()).await;
        for word in [setting, value, "pooler"] {
            assert!(why.contains(word), "{word}: {why}");
        }
        let made = sqlx::query("SELECT 1 FROM pg_tables WHERE schemaname = $1").bind(&schema);
        assert!(
            made.fetch_optional(&mut connection)
                .await
                .unwrap()
                .is_none()
        );
        let sql = format!("DROP SCHEMA {schema} CASCADE; DROP ROLE {user}");
        run(&mut connection, sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weaker_setting_of_the_user_or_the_address_has_no_effect() {
    let (server, schema) = (Server::start(), postgres::fresh_schema());
    let mut connection = server.connect().await;
    let weaker = "ALTER ROLE CURRENT_USER SET synchronous_commit = 'off'; \
        ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'serializable'";
    run(&mut connection, weaker.to_owned()).await;
    let url = server.url(&schema) + "&options[synchronous_commit]=off";
    let mut store = store::open(&url.parse().unwrap()).await.unwrap();
    let watching = format!(
        "CREATE TABLE {schema}.seen (isolation TEXT, durable TEXT); \
         CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO {schema}.seen VALUES (current_setting('transaction_isolation'), \
                 current_setting('synchronous_commit')); RETURN NULL; END $$; \
         CREATE TRIGGER seen AFTER INSERT ON {schema}.events \
             FOR EACH STATEMENT EXECUTE FUNCTION {schema}.see()"
    );
    run(&mut connection, watching).await;
    let noted = [build::noted("note-1", Any, 2)];
    store.writer.commit(&noted, None).await.unwrap();
    let seen = format!("SELECT DISTINCT isolation, durable FROM {schema}.seen");
    let seen = sqlx::query_as(AssertSqlSafe(seen));
    let seen: Vec<(String, String)> = seen.fetch_all(&mut connection).await.unwrap();
    assert_eq!(seen, [("read committed".to_owned(), "on".to_owned())]);
    store.writer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_commits_do_not_reach_the_disk_is_named_in_the_log() {
    let server = Server::start();
    server.set("fsync", "off").await;
    let reloading = async {
        // The server reads its settings a little later.
        loop {
            let mut connection = server.connect().await;
            let row = connection.fetch_one("SHOW fsync").await.unwrap();
            if row.get::<String, _>(0) == "off" {
                return;
            }
            connection.close().await.unwrap();
        }
    };
    let reloaded = timeout(PATIENCE, reloading).await;
    reloaded.expect("the setting is in force");
    let url = server.url(&postgres::fresh_schema());
    let mut child = Command::new(env!("CARGO_BIN_EXE_quipu-program"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = child.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.unwrap().success());
    let log = child.wait_with_output().unwrap().stderr;
    let log = String::from_utf8(log).unwrap();
    assert!(line.starts_with("ready "), "{log}");
    assert!(log.contains("fsync = off"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_drops_the_session_options_is_refused() {
    let place = Place::postgres();
    let url = pooled(place.url()).await;
    let why = refused(url.as_str()).await;
    assert!(
        why.contains("search_path") && why.contains("pooler"),
        "{why}"
    );
    // No tables were created.
    let mut connection = server().connect().await;
    let made = sqlx::query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'");
    let made = made.fetch_optional(&mut connection).await.unwrap();
    assert!(made.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_few_connections_is_only_slower() {
    const LIMIT: usize = 4;
    let (schema, mut connection) = (postgres::fresh_schema(), server().connect().await);
    let user = format!("user_of_{schema}");
    let sql = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'few' CONNECTION LIMIT {LIMIT}; \
         CREATE SCHEMA {schema} AUTHORIZATION {user}"
    );
    let making = sqlx::raw_sql(AssertSqlSafe(sql));
    making.execute(&mut connection).await.unwrap();
    let mut url = reqwest::Url::parse(&server().url(&schema)).unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("few")).unwrap();
    let readers = LIMIT - 1;
    let url = format!("{url}&readers_max={readers}&reader_wait_max_ms=180000");
    let host = quipu::Host::builder()
        .store(url)
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    loan_documents::keep(&host, Lifecycle::Async).await;
    let clients = (0..32).map(async |number| {
        let account = build::stream(&format!("account-{number}"));
        host.execute(&account, build::open_account()).await.unwrap();
        for _ in 0..5 {
            host.execute(&account, build::deposit(1)).await.unwrap();
            host.state(&account).await.unwrap();
        }
    });
    join_all(clients).await;
    assert_eq!(log::whole(&host).await.len(), 32 * 6);
    host.shutdown().await.unwrap();
    let sql = format!("DROP SCHEMA {schema} CASCADE; DROP ROLE {user}");
    let dropping = sqlx::raw_sql(AssertSqlSafe(sql));
    dropping.execute(&mut connection).await.unwrap();
}
