//! A writer that fails on demand, lets other writers' events in first, or pauses.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use quipu::store::{Error, EventWriter, Import, InlineFold, Item, Outcome, Result, Store};
use tokio::sync::{Semaphore, mpsc};

/// What happens to a batch.
pub enum Injection {
    /// It is committed.
    Pass,
    /// Nothing of it is stored.
    Fail(Error),
    /// These items are committed before it.
    Precede(Vec<Item>),
}

/// Decides what happens to a batch.
pub type Script = Box<dyn FnMut(&[Item]) -> Injection + Send>;

/// Controls a writer.
#[derive(Clone)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
    gate: Arc<Semaphore>,
    entered: Arc<Mutex<Option<mpsc::UnboundedSender<usize>>>>,
    inline: Arc<Mutex<Option<Arc<dyn InlineFold>>>>,
}

impl Faults {
    /// Wraps a store's writer.
    pub fn before(store: Store, script: Script) -> (Store, Self) {
        let faults = Self {
            script: Arc::new(Mutex::new(script)),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            entered: Arc::default(),
            inline: Arc::default(),
        };
        let writer = Box::new(Writer {
            inner: store.writer,
            faults: faults.clone(),
        });
        (Store { writer, ..store }, faults)
    }

    /// A script that takes its injections from a list, and passes all later batches.
    pub fn listed(injections: impl IntoIterator<Item = Injection>) -> Script {
        let mut injections: VecDeque<_> = injections.into_iter().collect();
        Box::new(move |_| injections.pop_front().unwrap_or(Injection::Pass))
    }

    /// Uses another script from now on.
    pub fn script(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// Sets the inline projections from now on, where the host has none.
    pub fn inline(&self, inline: Arc<dyn InlineFold>) {
        *self.inline.lock().unwrap() = Some(inline);
    }

    /// From now on every batch waits at the gate until the gate lets it through. The receiver gets
    /// the number of items of each batch.
    pub fn hold(&self) -> mpsc::UnboundedReceiver<usize> {
        let (entered, arrivals) = mpsc::unbounded_channel();
        *self.entered.lock().unwrap() = Some(entered);
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
        arrivals
    }

    /// Lets this number of batches through.
    pub fn let_through(&self, batches: usize) {
        self.gate.add_permits(batches);
    }

    /// Opens the gate permanently.
    pub fn open(&self) {
        *self.entered.lock().unwrap() = None;
        let missing = Semaphore::MAX_PERMITS - self.gate.available_permits();
        self.gate.add_permits(missing);
    }
}

struct Writer {
    inner: Box<dyn EventWriter>,
    faults: Faults,
}

impl Writer {
    async fn pass(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        let is_held = match &*self.faults.entered.lock().unwrap() {
            Some(entered) => entered.send(items.len()).is_ok(),
            None => false,
        };
        if is_held {
            let permit = self.faults.gate.acquire().await.unwrap();
            permit.forget();
        }
        let injection = self.faults.script.lock().unwrap()(items);
        match injection {
            Injection::Pass => {}
            Injection::Fail(error) => return Err(error),
            Injection::Precede(foreign) => _ = self.inner.commit(&foreign, None).await?,
        }
        let injected = self.faults.inline.lock().unwrap().clone();
        let inline = inline.or(injected.as_deref());
        self.inner.commit(items, inline).await
    }
}

#[async_trait]
impl EventWriter for Writer {
    async fn commit(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        self.pass(items, inline).await
    }

    async fn import(&mut self, part: &Import) -> Result<()> {
        self.inner.import(part).await
    }

    async fn check(&mut self) -> Result<()> {
        self.inner.check().await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
