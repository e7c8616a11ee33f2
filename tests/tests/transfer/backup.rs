//! Copies of a SQLite store, and migrations.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu::Host;
use quipu::store::{self, Backup, StoreUrl};
use quipu_tests::{Place, build, log, on_every_store, place};

on_every_store! {
    a_store_is_migrated_once,
}

async fn backup(url: &str, folder: &Path) -> store::Result<Backup> {
    let url: StoreUrl = url.parse().unwrap();
    store::backup(&url, folder, &mut |_| {}).await
}

async fn refused(url: &str, folder: &Path) -> String {
    backup(url, folder).await.unwrap_err().to_string()
}

fn url(backup: &Backup) -> String {
    format!("sqlite:{}", backup.path.display())
}

async fn secret(url: &str) -> [u8; 32] {
    store::open(&url.parse().unwrap()).await.unwrap().secret
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let names = entries.map(|entry| name(entry).into_string().unwrap());
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_consistent_at_one_moment() {
    let place = Place::sqlite();
    let host = place.bank().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut loads = Vec::new();
    for number in 0..8 {
        let (host, is_over) = (host.clone(), Arc::clone(&is_over));
        let account = build::stream(&format!("account-{number}"));
        loads.push(tokio::spawn(async move {
            host.execute(&account, build::open_account()).await.unwrap();
            while !is_over.load(Ordering::SeqCst) {
                host.execute(&account, build::deposit(1)).await.unwrap();
            }
        }));
    }
    let mut copies = Vec::new();
    for number in 0..3 {
        let folder = place.path(&format!("backup-{number}"));
        copies.push(backup(place.url(), &folder).await.unwrap());
        assert_eq!(names(&folder), ["store.db"]);
    }
    is_over.store(true, Ordering::SeqCst);
    for load in loads {
        load.await.unwrap();
    }
    let whole = log::whole(&host).await;
    host.shutdown().await.unwrap();

    for copy in &copies {
        assert_eq!(secret(&url(copy)).await, secret(place.url()).await);
        let builder = Host::builder().store(url(copy));
        let host = builder.cache_dir(place::compiled()).build().await.unwrap();
        let copied = log::whole(&host).await;
        log::check(&copied);
        assert!(whole.starts_with(&copied), "a copy is no beginning");
        let new = build::stream("account-new");
        let opened = host.execute(&new, build::open_account()).await.unwrap();
        assert_eq!(opened.position.unwrap().0, copied.len() as u64 + 1);
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_no_partial_file() {
    let place = Place::sqlite();
    let host = place.host().await;
    let folder = place.path("backup");
    let copy = backup(place.url(), &folder).await.unwrap();
    let before = std::fs::read(&copy.path).unwrap();
    let append = build::append(build::events(3));
    host.append(&build::stream("note-1"), append).await.unwrap();

    let why = refused(place.url(), &folder).await;
    assert!(why.contains("is there already"), "{why}");
    assert!(std::fs::read(&copy.path).unwrap() == before);
    // A path that is a file cannot be the folder.
    let why = refused(place.url(), &copy.path).await;
    assert!(why.contains("store.db"), "{why}");
    // A store whose pages cannot be read cannot be copied.
    host.shutdown().await.unwrap();
    let path = place.path("store.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&path, bytes).unwrap();
    let other = place.path("other");
    refused(place.url(), &other).await;
    assert!(!other.exists() || names(&other).is_empty());
}

#[tokio::test]
async fn a_backup_has_the_permissions_of_the_store() {
    let place = Place::sqlite();
    place.host().await.shutdown().await.unwrap();
    for mode in [0o600, 0o644] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("store.db"), permissions).unwrap();
        let copy = backup(place.url(), &place.path(&format!("{mode:o}"))).await;
        let copied = copy.unwrap().path.metadata().unwrap();
        assert_eq!(copied.permissions().mode() & 0o777, mode);
    }
}

#[tokio::test]
async fn the_backup_of_another_kind_of_store_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite:{}/no.db", folder.path().display());
    for (url, hint) in [
        ("memory:", "export it"),
        ("postgres://ann:secret@127.0.0.1:1/bank", "pg_dump"),
        (&missing, "there is no store at"),
    ] {
        let why = refused(url, &folder.path().join("backup")).await;
        assert!(why.contains(hint) && !why.contains("secret"), "{why}");
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

async fn a_store_is_migrated_once(place: Place) {
    let url: StoreUrl = place.url().parse().unwrap();
    let first = store::migrate(&url).await.unwrap();
    assert_eq!(first.from, 0);
    let second = store::migrate(&url).await.unwrap();
    assert_eq!((second.from, second.to), (first.to, first.to));
    place.host().await.shutdown().await.unwrap();
}
