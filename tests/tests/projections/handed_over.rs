//! A build that is handed to another module between two steps of a host that claims it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use quipu::model::{Digest, Lifecycle, OnError, Position, Timestamp};
use quipu::projection::{Action, State};
use quipu::store::{
    BatchOutcome, Build, BuildBatch, BuildClaim, BuildCounts, BuildId, ChangedDocument,
    DocumentStore, DroppedEvent, FailedEvent, LostDocuments, ParkedDocument, ParkedFilter,
    ParkedHeads, Result, Role, Scan, ScannedDocument, Steer, Store, StoredDocument,
    StoredProjection, Subject,
};
use quipu_tests::{Place, on_every_store};
use serde_json::json;
use tokio::sync::Notify;

use super::parking::{broken, healed};
use super::support::{
    NOTES, active, build_of, builder, deploy, document, note, settings, until, until_state,
};

on_every_store!(
    a_build_that_is_handed_over_during_a_claim_is_folded_by_its_new_module,
    a_build_starts_while_a_dropped_one_is_removed,
);

/// Once, holds a claim back until the build has been handed to another module.
struct Slow {
    inner: Arc<dyn DocumentStore>,
    /// Whether a dropped build always has more contents to remove.
    has_more: bool,
    is_due: AtomicBool,
    is_waiting: AtomicBool,
    was_handed_over: Notify,
}

impl Slow {
    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>> {
        if self.is_due.swap(false, Ordering::SeqCst) {
            let mut handing_over = pin!(self.was_handed_over.notified());
            handing_over.as_mut().enable();
            self.is_waiting.store(true, Ordering::SeqCst);
            handing_over.await;
        }
        self.inner.claim(build, lease).await
    }

    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()> {
        self.inner.hand_over(build, module).await?;
        self.was_handed_over.notify_waiters();
        Ok(())
    }

    async fn sweep(&self) -> Result<bool> {
        Ok(self.inner.sweep().await? || self.has_more)
    }

    /// Takes the place of the documents of a store.
    fn in_place_of(store: &mut Store, has_more: bool) -> Arc<Self> {
        let slow = Arc::new(Self {
            inner: Arc::clone(&store.documents),
            has_more,
            is_due: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
            was_handed_over: Notify::new(),
        });
        store.documents = slow.clone();
        slow
    }
}

/// Implements [`DocumentStore`] by the methods of the inner store, and by the own ones of [`Slow`].
macro_rules! document_store {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl DocumentStore for Slow {
            async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>> {
                self.claim(build, lease).await
            }

            async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()> {
                self.hand_over(build, module).await
            }

            async fn sweep(&self) -> Result<bool> {
                self.sweep().await
            }

            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer> {
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

document_store! {
    fn projections() -> Vec<StoredProjection>;
    fn projection(name: &str) -> Option<StoredProjection>;
    fn begin(name: &str, role: Role, version: u32, module: Digest, begun: (Timestamp, u64)) -> Option<Build>;
    fn judge(build: BuildId, plans: (u64, u64), stale: Option<&str>) -> ();
    fn steer(name: &str, steer: Steer) -> ();
    fn switch(name: &str, next: BuildId, comparison: Option<&str>) -> bool;
    fn confirm(build: BuildId) -> bool;
    fn lost(active: BuildId, next: BuildId, up_to: Option<u64>) -> LostDocuments;
    fn roll_back(name: &str) -> bool;
    fn drop_build(name: &str, role: Role) -> bool;
    fn keep(build: BuildId, token: u64, batch: &BuildBatch, lease: Duration) -> BatchOutcome;
    fn release(build: BuildId, token: u64) -> ();
    fn documents(build: BuildId, keys: &[Arc<str>]) -> Vec<Option<StoredDocument>>;
    fn scan(build: BuildId, scan: &Scan) -> Vec<ScannedDocument>;
    fn changed(build: BuildId, after: u64, limit: usize) -> Vec<ChangedDocument>;
    fn parked(build: BuildId, after: Option<&(Subject, Position)>, limit: usize) -> Vec<FailedEvent>;
    fn skipped(build: BuildId, after: Option<&(Subject, Position)>, limit: usize) -> Vec<FailedEvent>;
    fn parked_for(build: BuildId, key: &str) -> Option<ParkedDocument>;
    fn parked_heads(build: BuildId) -> ParkedHeads;
    fn drop_parked(name: &str, which: &ParkedFilter, reason: &str, at: Timestamp) -> u64;
    fn retry_parked(name: &str, of: Option<&Subject>) -> u64;
    fn retries(build: BuildId, limit: usize) -> Vec<(Subject, u64)>;
    fn record_drop(name: &str, event: &DroppedEvent) -> ();
    fn dropped_from() -> Vec<String>;
    fn dropped(name: &str, after: Option<&(Subject, Position)>, limit: usize) -> Vec<DroppedEvent>;
    fn counts(build: BuildId) -> BuildCounts;
}

async fn a_build_that_is_handed_over_during_a_claim_is_folded_by_its_new_module(place: Place) {
    let mut store = place.open().await;
    let slow = Slow::in_place_of(&mut store, false);
    let host = builder(&place).opened_store(store).build().await.unwrap();
    let park = settings(Lifecycle::Async, OnError::Park);
    deploy(&host, &broken(), park).await;
    let bad = json!({"n": 1, "keys": ["a"], "bad": {"apply": "trap"}});
    note(&host, "note-1", &bad).await;
    until(&host, "parked", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.counts.parked == 1)
    })
    .await;
    let control = |action| host.control_projection(NOTES, action);
    control(Action::Pause).await.unwrap();
    until(&host, "paused", |status| {
        build_of(status, Role::Active)
            .is_some_and(|build| build.state == State::Paused && !build.is_owned)
    })
    .await;
    slow.is_due.store(true, Ordering::SeqCst);
    control(Action::Resume).await.unwrap();
    until(&host, "claimed", |_| slow.is_waiting.load(Ordering::SeqCst)).await;
    deploy(&host, &healed(), park).await;
    until_state(&host, State::CaughtUp).await;
    control(Action::RetryParked).await.unwrap();
    until(&host, "retried", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.counts.parked == 0)
    })
    .await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    assert_eq!(active(&host).await.counts.documents, 1);
    host.shutdown().await.unwrap();
}

/// A large build is removed in many parts, and nothing waits for the last one: neither a build nor a
/// read.
async fn a_build_starts_while_a_dropped_one_is_removed(place: Place) {
    let mut store = place.open().await;
    Slow::in_place_of(&mut store, true);
    let host = builder(&place).opened_store(store).build().await.unwrap();
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    until_state(&host, State::CaughtUp).await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    host.shutdown().await.unwrap();
}
