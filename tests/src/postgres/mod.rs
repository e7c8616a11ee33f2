//! PostgreSQL for tests: one server per test process. It starts at first use and stops with the
//! process, however the process ends.

mod cluster;
mod template;
mod user;

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use xtask::postgres::{self, Postgres};

use crate::PATIENCE;

use cluster::{Cluster, Stop};

static SERVER: OnceLock<Server> = OnceLock::new();

/// A server.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// None if somebody else runs it.
    cluster: Option<Mutex<Cluster>>,
}

/// The server that the tests of this process share. No test may stop it.
pub fn server() -> &'static Server {
    SERVER.get_or_init(|| match found(postgres::find()) {
        Postgres::Url(url) => Server { url, cluster: None },
        Postgres::Programs(programs) => Server::of(Cluster::start(programs)),
    })
}

/// A schema name that is not in use.
pub fn fresh_schema() -> String {
    format!("test_{:032x}", rand::random::<u128>())
}

impl Server {
    /// A server for one test, which may stop it. It is removed when this value is dropped.
    pub fn start() -> Self {
        Self::of(Cluster::start(found(postgres::programs())))
    }

    fn of(cluster: Cluster) -> Self {
        Self {
            url: cluster.url(),
            cluster: Some(Mutex::new(cluster)),
        }
    }

    /// The address of a store in a schema.
    pub fn url(&self, schema: &str) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}schema={schema}", self.url)
    }

    /// A connection as superuser, for statements that no store executes.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Stops the server gracefully, and starts it at the same port.
    pub fn restart(&self) {
        self.owned(|cluster| {
            cluster.stop(Stop::Fast);
            cluster.start_again();
        });
    }

    /// Stops the server like a crash. Returns when all its processes have ended.
    pub fn stop_immediately(&self) {
        self.owned(|cluster| cluster.stop(Stop::Immediate));
    }

    /// Makes a standby of this server, which receives its log until it is promoted.
    pub fn standby(&self) -> Self {
        Self::of(self.owned(|cluster| cluster.standby()))
    }

    /// Dumps a schema.
    pub fn dump(&self, schema: &str) -> Vec<u8> {
        self.owned(|cluster| cluster.dump(schema))
    }

    /// Makes a schema with its content from a dump.
    pub fn restore(&self, dump: &[u8]) {
        self.owned(|cluster| cluster.restore(dump));
    }

    /// Acknowledges commits from now on only after a standby has them. Returns when one
    /// confirms them.
    ///
    /// # Panics
    /// When no standby is connected.
    pub async fn wait_for_standby(&self) {
        const STATE: &str = "SELECT coalesce(string_agg(format('%s: %s, %s', application_name, \
            state, sync_state), '; '), 'none') FROM pg_stat_replication";
        self.set("synchronous_standby_names", "*").await;
        let mut connection = self.connect().await;
        let begun = std::time::Instant::now();
        loop {
            let state: String = connection.fetch_one(STATE).await.unwrap().get(0);
            if state.ends_with("streaming, sync") {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "standbys of the server: {state}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a standby take writes.
    pub async fn promote(&self) {
        let mut connection = self.connect().await;
        let promoted = connection.fetch_one("SELECT pg_promote(true, 120)").await;
        assert!(promoted.unwrap().get::<bool, _>(0), "not promoted in 120 s");
    }

    /// Changes a setting of the server while it runs.
    pub async fn set(&self, name: &str, value: &str) {
        let mut connection = self.connect().await;
        let change = format!("ALTER SYSTEM SET {name} = '{value}'");
        for sql in [&change, "SELECT pg_reload_conf()"] {
            let sql = sqlx::AssertSqlSafe(sql.to_owned());
            connection.execute(sql).await.unwrap();
        }
    }

    /// Starts a stopped server at its previous port.
    pub fn start_again(&self) {
        self.owned(Cluster::start_again);
    }

    /// Ends the connection of every client.
    pub async fn kill_backends(&self) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let mut connection = self.connect().await;
        connection.execute(kill).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Whether the server's files are kept after the tests.
    pub fn outlives_tests(&self) -> bool {
        self.cluster.is_none()
    }

    /// Drops a schema with everything in it.
    pub async fn drop_schema(&self, schema: &str) {
        let drop = format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE");
        let mut connection = self.connect().await;
        let dropped = connection.execute(sqlx::AssertSqlSafe(drop)).await;
        dropped.unwrap();
        connection.close().await.unwrap();
    }

    /// Drops all schemas whose names begin so.
    pub async fn drop_schemas(&self, beginning: &str) {
        let mut connection = self.connect().await;
        let find = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, $1)";
        let find = sqlx::query_scalar(find).bind(beginning);
        let found: Vec<String> = find.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        for schema in found {
            self.drop_schema(&schema).await;
        }
    }

    fn owned<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        let cluster = self.cluster.as_ref();
        let cluster = cluster.expect("the server is not ours; use Server::start()");
        act(&mut cluster.lock().unwrap())
    }
}

/// Ends the test run: tests are never skipped because the server is missing.
fn found<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

#[cfg(test)]
mod tests;
