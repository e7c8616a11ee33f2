//! Places where a store can be.

use quipu::Host;
use quipu::app::Builder;
use quipu::store::{self, Store, StoreUrl};
use tempfile::TempDir;

use crate::examples;

/// Makes a test of each rule on every store: `memory::rule` and `sqlite::rule`. A
/// rule is an `async fn(Place)` beside the call.
#[macro_export]
macro_rules! on_every_store {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule($crate::Place::memory()).await;
            })*
        }
        $crate::on_every_durable_store!($($rule),*);
    };
}

/// The same for rules about what outlives a host.
#[macro_export]
macro_rules! on_every_durable_store {
    ($($rule:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule($crate::Place::sqlite()).await;
            })*
        }
    };
}

/// A place for one store, and a folder that lasts as long.
pub struct Place {
    folder: TempDir,
    url: String,
}

impl Place {
    /// In memory: every opening finds an empty store.
    pub fn memory() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: "memory:".to_owned(),
        }
    }

    /// A SQLite file that isn't there yet.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.db").display());
        Self { folder, url }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Opens the store.
    pub async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    /// Opens the store, or says why not.
    pub async fn try_open(&self) -> store::Result<Store> {
        let url: StoreUrl = self.url.parse().unwrap();
        store::open(&url).await
    }

    /// Begins a host on the store.
    pub fn builder(&self) -> Builder {
        Host::builder()
            .store(self.url.clone())
            .cache_dir(compiled())
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

/// Compiled components, kept from one test to the next beside the tests' binaries.
pub fn compiled() -> std::path::PathBuf {
    let binary = std::env::current_exe().unwrap();
    binary.parent().unwrap().join("compiled-guests")
}
