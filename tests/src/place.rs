//! Places where a store can live.

use std::sync::LazyLock;

use quipu::Host;
use quipu::app::Builder;
use quipu::runtime::Functions;
use quipu::store::{self, Store, StoreUrl};
use tempfile::TempDir;

use crate::{examples, postgres};

/// Tests deploy hundreds of components that differ by some bytes. The functions of all of them are
/// compiled once in a process.
static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| Functions::of_last(u64::MAX));

/// Makes a test of each rule on every store: `sqlite::rule` and `postgres::rule`. A rule is an
/// `async fn(Place)` next to the call. A `memory:` store is SQLite in a temporary folder;
/// `contract/temporary.rs` has the rules that only it has.
#[macro_export]
macro_rules! on_every_store {
    ($($rule:ident),* $(,)?) => {
        mod sqlite {
            $($crate::rule!($rule, $crate::Place::sqlite());)*
        }
        mod postgres {
            $($crate::rule!($rule, $crate::Place::postgres());)*
        }
    };
}

/// Makes a test of each rule about SQLite files.
#[macro_export]
macro_rules! on_sqlite {
    ($($rule:ident),* $(,)?) => {
        mod sqlite {
            $($crate::rule!($rule, $crate::Place::sqlite());)*
        }
    };
}

/// A test of one rule at a place.
#[doc(hidden)]
#[macro_export]
macro_rules! rule {
    ($rule:ident, $place:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            super::$rule($place).await;
        }
    };
}

/// A place for one store, with a folder that lives as long as the place.
pub struct Place {
    folder: TempDir,
    url: String,
    schema: Option<String>,
}

impl Place {
    /// Temporary: every opening finds an empty store.
    pub fn memory() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: "memory:".to_owned(),
            schema: None,
        }
    }

    /// A SQLite file that does not exist yet.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.db").display());
        Self {
            folder,
            url,
            schema: None,
        }
    }

    /// A schema that does not exist yet, on the server that tests share.
    pub fn postgres() -> Self {
        let schema = postgres::fresh_schema();
        // However busy the machine is, a read gets its connection.
        let url = postgres::server().url(&schema);
        let url = url.replace("schema=", "reader_wait_max_ms=180000&schema=");
        Self {
            folder: tempfile::tempdir().unwrap(),
            url,
            schema: Some(schema),
        }
    }

    /// A store at this address of a PostgreSQL server that the test owns.
    pub fn at(url: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
            schema: None,
        }
    }

    /// Another place of the same kind.
    #[must_use]
    pub fn another(&self) -> Self {
        if self.url == "memory:" {
            Self::memory()
        } else if self.schema.is_some() {
            Self::postgres()
        } else {
            Self::sqlite()
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The schema of a PostgreSQL store.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Executes a statement that no host would execute, on a store that no host has open.
    pub async fn tamper(&self, sql: &'static str) {
        let done = if let Some(schema) = &self.schema {
            let mut connection = postgres::server().connect().await;
            let path = format!("SET search_path TO {schema}");
            let path = sqlx::raw_sql(sqlx::AssertSqlSafe(path));
            path.execute(&mut connection).await.unwrap();
            sqlx::raw_sql(sql)
                .execute(&mut connection)
                .await
                .map(|_| ())
        } else {
            let file = self.url.strip_prefix("sqlite:").unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            let done = sqlx::raw_sql(sql)
                .execute(&mut connection)
                .await
                .map(|_| ());
            sqlx::Connection::close(connection).await.unwrap();
            done
        };
        done.unwrap();
    }

    /// The number that a query returns, also while a host has the store open.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let Some(schema) = &self.schema else {
            let file = self.url.strip_prefix("sqlite:").unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let options = options.read_only(true);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            let found = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
            sqlx::Connection::close(connection).await.unwrap();
            return found.unwrap();
        };
        let mut connection = postgres::server().connect().await;
        let path = sqlx::AssertSqlSafe(format!("SET search_path TO {schema}"));
        let path = sqlx::raw_sql(path);
        path.execute(&mut connection).await.unwrap();
        let found = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        found.unwrap()
    }

    /// The rows that a view of a projection shows to another program: key, document, change.
    pub async fn view(&self, name: &str) -> Vec<(String, String, i64)> {
        let sql = format!(
            "SELECT key, CAST(document AS text), change FROM \"view_{name}\" ORDER BY change, key"
        );
        let sql = sqlx::AssertSqlSafe(sql);
        if let Some(schema) = &self.schema {
            let mut connection = postgres::server().connect().await;
            let path = format!("SET search_path TO {schema}");
            let path = sqlx::raw_sql(sqlx::AssertSqlSafe(path));
            path.execute(&mut connection).await.unwrap();
            let rows = sqlx::query_as(sql).fetch_all(&mut connection).await;
            rows.unwrap()
        } else {
            let file = self.url.strip_prefix("sqlite:").unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let options = options.read_only(true);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            let rows = sqlx::query_as(sql).fetch_all(&mut connection).await;
            sqlx::Connection::close(connection).await.unwrap();
            rows.unwrap()
        }
    }

    /// Where the stores of tenants are, if a host has its main store here.
    pub fn of_tenants(&self) -> String {
        match &self.schema {
            // The names of schemas are short.
            Some(schema) => format!("t{}_", &schema["test_".len()..][..12]),
            None => self.path("tenants").display().to_string(),
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Opens the store.
    pub async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    /// Opens the store, or returns the error.
    pub async fn try_open(&self) -> store::Result<Store> {
        let url: StoreUrl = self.url.parse().unwrap();
        store::open(&url).await
    }

    /// Starts a host on the store.
    pub fn builder(&self) -> Builder {
        // On a busy machine each attempt takes long, and others come first more often.
        let engine = quipu::engine::Options {
            deadline: std::time::Duration::from_secs(30),
            ..Default::default()
        };
        Host::builder()
            .store(self.url.clone())
            .engine(engine)
            .cache_dir(compiled())
            .functions(FUNCTIONS.clone())
    }

    /// A host without deciders.
    pub async fn host(&self) -> Host {
        self.builder().build().await.unwrap()
    }

    /// A host on which the guest `account` is active.
    pub async fn bank(&self) -> Host {
        let host = self.host().await;
        examples::deploy(&host, examples::account()).await;
        host
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let of_tenants = self.of_tenants();
        if let Some(schema) = self.schema.take()
            && postgres::server().outlives_tests()
        {
            // This is dropped in a task of a runtime, where waiting is not possible.
            let dropping = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    postgres::server().drop_schema(&schema).await;
                    postgres::server().drop_schemas(&of_tenants).await;
                });
            });
            if dropping.join().is_err() {
                eprintln!("a schema of the tests was not removed");
            }
        }
    }
}

/// Compiled components, stored between test runs next to the tests' binaries.
pub fn compiled() -> std::path::PathBuf {
    let binary = std::env::current_exe().unwrap();
    binary.parent().unwrap().join("compiled-guests")
}
