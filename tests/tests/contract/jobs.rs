//! When backups and verifications were last done.

use quipu::model::Timestamp;
use quipu::proof::Scope;
use quipu::store::{self, Job, LastJobs, StoreUrl};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    the_last_time_of_each_job_counts,
    a_job_is_reported_to_a_store_that_a_host_has_open,
    a_verification_of_the_whole_history_is_recorded,
}

async fn the_last_time_of_each_job_counts(place: Place) {
    let store = place.open().await;
    let jobs = &store.jobs;
    assert_eq!(jobs.last().await.unwrap(), LastJobs::default());
    jobs.done(Job::Backup, Timestamp(300)).await.unwrap();
    jobs.done(Job::Backup, Timestamp(200)).await.unwrap();
    jobs.done(Job::Ship, Timestamp(1 << 40)).await.unwrap();
    let expected = LastJobs {
        backup: Some(Timestamp(300)),
        ship: Some(Timestamp(1 << 40)),
        verify: None,
    };
    assert_eq!(jobs.last().await.unwrap(), expected);
    jobs.done(Job::Backup, Timestamp(1 << 50)).await.unwrap();
    let last = jobs.last().await.unwrap();
    assert_eq!(last.of(Job::Backup), Some(Timestamp(1 << 50)));
    store.writer.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.jobs.last().await.unwrap(), last);
    store.writer.close().await.unwrap();
}

async fn a_job_is_reported_to_a_store_that_a_host_has_open(place: Place) {
    let url: StoreUrl = place.url().parse().unwrap();
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    store::report(&url, Job::Backup, Timestamp(7))
        .await
        .unwrap();
    let last = host.last_jobs().await.unwrap();
    assert_eq!(last.backup, Some(Timestamp(7)));
    let figures = host.figures().await.unwrap();
    assert_eq!(figures.last_jobs, last);
    host.execute(&account, build::deposit(1)).await.unwrap();
    host.shutdown().await.unwrap();
    let memory: StoreUrl = "memory:".parse().unwrap();
    let refused = store::report(&memory, Job::Backup, Timestamp(7)).await;
    assert!(refused.unwrap_err().to_string().contains("memory:"));
    if let StoreUrl::Sqlite(path) = &url {
        let other = StoreUrl::Sqlite(path.with_file_name("other.db"));
        let refused = store::report(&other, Job::Backup, Timestamp(7)).await;
        assert!(refused.unwrap_err().to_string().contains("no store"));
        assert!(!path.with_file_name("other.db").exists());
    }
}

async fn a_verification_of_the_whole_history_is_recorded(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for scope in [
        Scope {
            only_digests: true,
            ..Scope::default()
        },
        Scope {
            sample: Some(1),
            ..Scope::default()
        },
    ] {
        host.verify(&scope, &mut |_| {}).await.unwrap();
        assert_eq!(host.last_jobs().await.unwrap().verify, None);
    }
    host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    let verified = host.last_jobs().await.unwrap().verify;
    assert!(verified.is_some());
    host.shutdown().await.unwrap();
    // The next host knows it, too.
    let host = place.host().await;
    assert_eq!(host.last_jobs().await.unwrap().verify, verified);
}
