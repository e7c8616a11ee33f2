//! A stream that begins between the reading of its events and of its head.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use quipu::Host;
use quipu::model::{Position, StreamId, Version};
use quipu::store::{
    Direction, EventReader, Filter, Head, LoadPage, LogPage, Result, StoredPage, StreamFilter,
    StreamPage, StreamsPage,
};
use quipu_tests::{Place, build, examples, on_every_store};

on_every_store!(a_head_that_is_newer_than_the_read_events_is_not_trusted);

/// Returns, once, no events together with the current head of the stream.
struct Between {
    inner: Arc<dyn EventReader>,
    is_due: AtomicBool,
}

#[async_trait]
impl EventReader for Between {
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        self.inner.head(stream).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>> {
        self.inner.read_stream(stream, from, direction, limit).await
    }

    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        self.inner.read_log(after, direction, limit, filter).await
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        let page = self.inner.load(stream, after, limit).await?;
        if !self.is_due.swap(false, Ordering::SeqCst) {
            return Ok(page);
        }
        Ok(LoadPage {
            events: Vec::new(),
            is_last: true,
            ..page
        })
    }

    async fn log_head(&self) -> Result<Position> {
        self.inner.log_head().await
    }

    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        self.inner.streams(after, limit, filter).await
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        self.inner.read_stored(after, limit).await
    }
}

/// Another host opens the account while this host reads that it has no events.
async fn a_head_that_is_newer_than_the_read_events_is_not_trusted(place: Place) {
    let mut store = place.open().await;
    let reader = Arc::new(Between {
        inner: Arc::clone(&store.reader),
        is_due: AtomicBool::new(false),
    });
    store.reader = reader.clone();
    let host = Host::builder().opened_store(store).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    let opened = build::event("opened", r#"{"owner":"bob"}"#);
    host.append(&account, build::foreign(vec![opened]))
        .await
        .unwrap();
    reader.is_due.store(true, Ordering::SeqCst);
    let answer = host.execute(&account, build::open_account()).await;
    assert_eq!(answer.unwrap_err().code(), "rejected");
    assert!(!reader.is_due.load(Ordering::SeqCst));
    let head = host.read_stream(&account, Version(1), Direction::Forward, 9);
    assert_eq!(head.await.unwrap().version, Version(1));
}
