use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceAny;

use super::bindings::decider::{self, SnapshotParam, SnapshotResult};
use super::bindings::types::{self as wit, BodyParam};
use super::bindings::{projection, upcaster};
use super::fault::{Broken, FaultKind};
use super::sandbox::Sandbox;
use super::validate::{self, Answers};
use super::{Decision, Failure, Fault, Fuel, Limits, Module, Outcome, processor_time};
use quipu_model::{
    Annotations, Body, CommandRecord, Name, NewEvent, RecordedEvent, Timestamp, Version,
};

/// A running component. It contains many aggregates and is one fault domain.
///
/// It belongs to one thread at a time. Dropping it drops all its aggregates without running the
/// guest.
pub struct Instance {
    module: Arc<Module>,
    sandbox: Sandbox,
    decider: Option<decider::Guest>,
    upcaster: Option<upcaster::Guest>,
    projection: Option<projection::Guest>,
    id: u64,
    /// Limits that replace the host's.
    limits: Option<Arc<Limits>>,
    /// Memory that the module's usage contains.
    counted_bytes: usize,
}

/// The state of one stream in the memory of the instance that opened it.
///
/// [`Instance::close`] returns its memory to the guest. An aggregate that is only dropped uses
/// memory until the instance is dropped.
#[derive(Debug)]
#[must_use = "the guest keeps it until it is closed"]
pub struct Aggregate {
    resource: ResourceAny,
    instance: u64,
}

/// The state of a decider at some version, as written by its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the body's format, from the manifest.
    pub state_schema_version: u32,
    /// The state.
    pub body: Body,
}

/// An event to be folded: recorded, or just decided.
#[derive(Debug, Clone, Copy)]
pub struct FoldEvent<'a> {
    /// Canonical type.
    pub name: &'a Name,
    /// Schema version of the body, after lifting to the version that the guest reads.
    pub schema_version: u32,
    /// Number of the event in its stream. Parts of one stored event share it.
    pub version: Version,
    /// Time at which the event was, or will be, recorded.
    pub recorded_at: Timestamp,
    /// The data.
    pub body: &'a Body,
}

impl<'a> FoldEvent<'a> {
    /// Creates a fold event from an event that this guest decided itself, before or after it is
    /// recorded.
    pub fn decided(event: &'a NewEvent, version: Version, recorded_at: Timestamp) -> Self {
        Self {
            name: &event.name,
            schema_version: event.schema_version,
            version,
            recorded_at,
            body: &event.body,
        }
    }
}

impl<'a> From<&'a RecordedEvent> for FoldEvent<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            name: &event.name,
            schema_version: event.schema_version,
            version: event.version,
            recorded_at: event.recorded_at,
            body: &event.body,
        }
    }
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl Instance {
    /// Creates an instance under the limits of a call. This may run guest code.
    ///
    /// # Errors
    /// When the guest faults during creation.
    pub fn new(module: &Arc<Module>) -> Result<Self, Fault> {
        Self::under(module, None)
    }

    /// Creates an instance with other limits than the host's. The limit of the stack can't be
    /// changed.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn under(module: &Arc<Module>, limits: Option<Arc<Limits>>) -> Result<Self, Fault> {
        let own = limits.as_deref().unwrap_or(module.limits());
        let name = &module.manifest.name;
        let fault = |broken: Broken| {
            module.usage.faulted(broken.kind);
            broken.of(name, module.digest)
        };
        let calls = module.runtime.calls();
        let sandbox = Sandbox::new(&module.before, calls, own, name.as_str().into());
        let mut sandbox = sandbox.map_err(fault)?;
        let instance = sandbox.instance;
        let broken = |error: wasmtime::Error| fault(Broken::by(&error, None));
        let indices = module.decider.as_ref();
        let decider = indices.map(|indices| indices.load(sandbox.store(), &instance));
        let indices = module.upcaster.as_ref();
        let upcaster = indices.map(|indices| indices.load(sandbox.store(), &instance));
        let indices = module.projection.as_ref();
        let projection = indices.map(|indices| indices.load(sandbox.store(), &instance));
        let mut created = Self {
            module: Arc::clone(module),
            sandbox,
            decider: decider.transpose().map_err(broken)?,
            upcaster: upcaster.transpose().map_err(broken)?,
            projection: projection.transpose().map_err(broken)?,
            id: INSTANCES.fetch_add(1, Ordering::Relaxed),
            limits,
            counted_bytes: 0,
        };
        created.count_memory();
        Ok(created)
    }

    /// Opens the aggregate of the stream with this key, from the beginning or from a snapshot,
    /// which is first migrated to the current version.
    ///
    /// # Errors
    /// When the guest faults or can't read the snapshot.
    pub fn open(&mut self, key: &str, snapshot: Option<&Snapshot>) -> Result<Aggregate, Failure> {
        let migrated = snapshot.map(|old| self.migrated(old)).transpose()?;
        let snapshot = migrated.as_ref().map(snapshot_param);
        let (answer, fuel) =
            self.call(|guest, store| guest.aggregate().call_open(store, key, snapshot))?;
        let error = match answer {
            Ok(resource) => {
                return Ok(Aggregate {
                    resource,
                    instance: self.id,
                });
            }
            Err(error) => self.failure(error, fuel),
        };
        Err(match error {
            // Whatever the guest reports, it can only be about the snapshot: it has read nothing
            // else.
            Failure::UnknownEvent(text) | Failure::BadEvent(text) if migrated.is_some() => {
                Failure::BadSnapshot(text)
            }
            other => other,
        })
    }

    /// Migrates a snapshot to the current version.
    fn migrated(&mut self, snapshot: &Snapshot) -> Result<Snapshot, Failure> {
        let current = self.module.manifest.state_schema_version;
        let mut snapshot = snapshot.clone();
        while snapshot.state_schema_version != current {
            let found = snapshot.state_schema_version;
            snapshot = self.migrate(&snapshot)?.ok_or_else(|| {
                Failure::BadSnapshot(format!(
                    "it has state schema version {found}, from which it is not migrated to {current}"
                ))
            })?;
        }
        Ok(snapshot)
    }

    /// Folds events, in order, each once.
    ///
    /// A long list is split into several calls, each with its own limits. The parts of one stored
    /// event stay together.
    ///
    /// # Errors
    /// When the guest faults or can't read an event. The state is then undefined, and the aggregate
    /// must be closed.
    pub fn apply(
        &mut self,
        aggregate: &Aggregate,
        events: &[FoldEvent<'_>],
    ) -> Result<Fuel, Failure> {
        let begun = processor_time();
        let applied = self.apply_in_batches(aggregate, events);
        applied.map_err(|failure| failure.since(begun))
    }

    fn apply_in_batches(
        &mut self,
        aggregate: &Aggregate,
        events: &[FoldEvent<'_>],
    ) -> Result<Fuel, Failure> {
        let resource = self.own(aggregate);
        let limits = self.limits();
        let (count_max, bytes_max) = (limits.events_per_call_max, limits.call_bytes_max);
        let budget = limits.fuel_per_call / 2;
        let (mut rest, mut total) = (events, 0);
        let mut few = match events.len() {
            one_commit if one_commit <= TOGETHER => one_commit,
            _ => 1,
        };
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest, count_max.min(few), bytes_max));
            let batch: Vec<_> = batch.iter().map(event_param).collect();
            let (answer, fuel) =
                self.call(|guest, store| guest.aggregate().call_apply(store, resource, &batch))?;
            answer.map_err(|error| self.failure(error, fuel))?;
            total += fuel;
            rest = after;
            few = next_batch(batch.len(), fuel, budget);
        }
        Ok(total)
    }

    /// Folds events like [`apply`](Self::apply), but with separate limits for each event. Events
    /// that the guest folded one by one can always be folded a second time.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_each(
        &mut self,
        aggregate: &Aggregate,
        events: &[FoldEvent<'_>],
    ) -> Result<Fuel, Failure> {
        let (begun, mut total) = (processor_time(), 0);
        let mut rest = events;
        while !rest.is_empty() {
            let (one, after) = rest.split_at(batch_len(rest, 1, usize::MAX));
            let applied = self.apply_in_batches(aggregate, one);
            total += applied.map_err(|failure| failure.since(begun))?;
            rest = after;
        }
        Ok(total)
    }

    /// Decides a command. The aggregate does not change.
    ///
    /// If the content type of the command differs from the manifest, the result is a bad command,
    /// and the guest is not called.
    ///
    /// # Errors
    /// When the guest faults; never one of the other failures.
    pub fn decide(
        &mut self,
        aggregate: &Aggregate,
        command: &CommandRecord,
        annotations: &Annotations,
    ) -> Result<Decision, Failure> {
        let resource = self.own(aggregate);
        if let Some(text) = self.wrong_content_type(command) {
            return Ok(Decision {
                outcome: Outcome::BadCommand(text),
                fuel: 0,
            });
        }
        let annotations: Vec<_> = annotations
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let [a, b, c, d] = command.seed;
        let command = wit::Command {
            id: command.id.as_str(),
            type_: command.name.as_str(),
            schema_version: command.schema_version,
            body: body_param(&command.body),
            accepted_at: command.accepted_at.0,
            seed: (a, b, c, d),
            annotations: &annotations,
        };
        let (answer, fuel) =
            self.call(|guest, store| guest.aggregate().call_decide(store, resource, command))?;
        let outcome = self
            .answers()
            .outcome(answer)
            .map_err(|broken| self.fault(broken, fuel))?;
        Ok(Decision { outcome, fuel })
    }

    /// Returns a snapshot of the state. `None` if the guest has no snapshots.
    ///
    /// # Errors
    /// When the guest faults; never one of the other failures.
    pub fn snapshot(&mut self, aggregate: &Aggregate) -> Result<Option<Snapshot>, Failure> {
        let resource = self.own(aggregate);
        let (answer, fuel) =
            self.call(|guest, store| guest.aggregate().call_snapshot(store, resource))?;
        let current = self.module.manifest.state_schema_version;
        self.checked_snapshot(current, answer, fuel)
    }

    /// Migrates a snapshot to the next version in the manifest's chain. `None` if it can't be
    /// migrated, or no migration starts at its version.
    ///
    /// # Errors
    /// When the guest faults; never one of the other failures.
    pub fn migrate(&mut self, old: &Snapshot) -> Result<Option<Snapshot>, Failure> {
        let mut chain = self.module.manifest.migrations.iter();
        let Some((_, to)) = chain.find(|(from, _)| *from == old.state_schema_version) else {
            return Ok(None);
        };
        let (to, old) = (*to, snapshot_param(old));
        let (answer, fuel) = self.call(|guest, store| guest.call_migrate(store, old))?;
        self.checked_snapshot(to, answer, fuel)
    }

    /// Returns the state as JSON for people and programs. `None` if the guest does not show it.
    ///
    /// # Errors
    /// When the guest faults; never one of the other failures.
    pub fn view(&mut self, aggregate: &Aggregate) -> Result<Option<String>, Failure> {
        let resource = self.own(aggregate);
        let (answer, fuel) =
            self.call(|guest, store| guest.aggregate().call_view(store, resource))?;
        let view = answer.map(|view| self.answers().view(view)).transpose();
        view.map_err(|broken| self.fault(broken, fuel))
    }

    /// Returns an aggregate's memory to the guest. A fault of the guest here spends the instance.
    /// Nothing happens if the instance is spent already.
    pub fn close(&mut self, aggregate: Aggregate) {
        let resource = self.own(&aggregate);
        drop(aggregate);
        if self.sandbox.is_spent() {
            return;
        }
        if let Err(broken) = self.sandbox.call(|store| resource.resource_drop(store)) {
            let fault = broken.of(&self.module.manifest.name, self.module.digest);
            tracing::warn!(%fault, "closing an aggregate failed");
        }
    }

    /// Whether a fault ended the instance. Every further call fails, so the instance must be
    /// dropped and its aggregates opened elsewhere. Other faults leave it usable.
    pub fn is_spent(&self) -> bool {
        self.sandbox.is_spent()
    }

    /// Guest memory in bytes. It never shrinks, so a large instance is better replaced.
    pub fn memory_bytes(&self) -> usize {
        self.sandbox.memory_bytes()
    }

    /// The module of this instance.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    fn call<R>(
        &mut self,
        call: impl FnOnce(
            &decider::Guest,
            &mut wasmtime::Store<super::sandbox::State>,
        ) -> wasmtime::Result<R>,
    ) -> Result<(R, Fuel), Failure> {
        let module = &self.module;
        let fault = |broken: Broken| broken.of(&module.manifest.name, module.digest);
        let Some(guest) = &self.decider else {
            let text = "the component exports no decider";
            return Err(fault(Broken::new(FaultKind::Contract, text)).into());
        };
        let called = self.sandbox.call(|store| call(guest, store));
        self.counted(called)
    }

    pub(super) fn call_upcaster<R>(
        &mut self,
        call: impl FnOnce(
            &upcaster::Guest,
            &mut wasmtime::Store<super::sandbox::State>,
        ) -> wasmtime::Result<R>,
    ) -> Result<(R, Fuel), Failure> {
        let module = &self.module;
        let fault = |broken: Broken| broken.of(&module.manifest.name, module.digest);
        let Some(guest) = &self.upcaster else {
            return Err(fault(super::steps::no_upcaster()).into());
        };
        let called = self.sandbox.call(|store| call(guest, store));
        self.counted(called)
    }

    pub(super) fn call_projection<R>(
        &mut self,
        call: impl FnOnce(
            &projection::Guest,
            &mut wasmtime::Store<super::sandbox::State>,
        ) -> wasmtime::Result<R>,
    ) -> Result<(R, Fuel), Failure> {
        let module = &self.module;
        let fault = |broken: Broken| broken.of(&module.manifest.name, module.digest);
        let Some(guest) = &self.projection else {
            return Err(fault(super::documents::no_projection()).into());
        };
        let called = self.sandbox.call(|store| call(guest, store));
        self.counted(called)
    }

    /// Counts what a call has used.
    fn counted<R>(&mut self, called: Result<(R, Fuel), Broken>) -> Result<(R, Fuel), Failure> {
        self.count_memory();
        let usage = &self.module.usage;
        match called {
            Ok((answer, fuel)) => {
                usage.used(fuel);
                Ok((answer, fuel))
            }
            Err(broken) => {
                // A call of a spent instance uses nothing, and its fault was counted.
                if let Some(fuel) = broken.fuel {
                    usage.used(fuel);
                    usage.faulted(broken.kind);
                }
                let name = &self.module.manifest.name;
                Err(broken.of(name, self.module.digest).into())
            }
        }
    }

    fn count_memory(&mut self) {
        let bytes = self.sandbox.memory_bytes();
        if bytes != self.counted_bytes {
            self.module.usage.resized(self.counted_bytes, bytes);
            self.counted_bytes = bytes;
        }
    }

    /// Returns the resource of an aggregate, which must have been opened by this instance.
    fn own(&self, aggregate: &Aggregate) -> ResourceAny {
        assert_eq!(
            aggregate.instance, self.id,
            "an aggregate is used with the instance that opened it"
        );
        aggregate.resource
    }

    fn answers(&self) -> Answers<'_> {
        Answers {
            manifest: &self.module.manifest,
            limits: self.limits(),
        }
    }

    fn limits(&self) -> &Limits {
        self.limits.as_deref().unwrap_or(self.module.limits())
    }

    fn checked_snapshot(
        &self,
        version: u32,
        answer: Option<SnapshotResult>,
        fuel: Fuel,
    ) -> Result<Option<Snapshot>, Failure> {
        let snapshot = answer.map(|snapshot| self.answers().snapshot(version, snapshot));
        let snapshot = snapshot.transpose();
        snapshot.map_err(|broken| self.fault(broken, fuel))
    }

    pub(super) fn failure(&self, error: wit::FoldError, fuel: Fuel) -> Failure {
        validate::failure(error, self.limits()).unwrap_or_else(|broken| self.fault(broken, fuel))
    }

    pub(super) fn fault(&self, mut broken: Broken, fuel: Fuel) -> Failure {
        broken.fuel = Some(fuel);
        broken.took = self.sandbox.took();
        self.module.usage.faulted(broken.kind);
        broken
            .of(&self.module.manifest.name, self.module.digest)
            .into()
    }

    fn wrong_content_type(&self, command: &CommandRecord) -> Option<String> {
        let known = self.module.manifest.command(command.name.as_str())?;
        let (name, found, named) = (
            &known.name,
            command.body.content_type(),
            &known.content_type,
        );
        (found != named).then(|| format!("command {name} is {named}, this one is {found}"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.module.usage.resized(self.counted_bytes, 0);
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}#{}", self.module, self.id)
    }
}

/// Number of events in the first call, before their cost is known. Events of one commit were
/// decided together.
const TOGETHER: usize = 8;
/// Highest factor by which the next call has more events.
const GROWTH: usize = 8;

/// Returns the number of events for the next call, so that it probably uses only a part of its
/// fuel.
fn next_batch(events: usize, fuel: Fuel, budget: Fuel) -> usize {
    let each = (fuel / events.max(1) as u64).max(1);
    let fitting = usize::try_from(budget / each).unwrap_or(usize::MAX);
    fitting.clamp(1, events.saturating_mul(GROWTH).max(1))
}

/// Returns the number of events for the next call: within both limits, at least one stored event,
/// and never only a part of one.
pub(super) fn batch_len(events: &[FoldEvent<'_>], count_max: usize, bytes_max: usize) -> usize {
    let (mut whole, mut bytes) = (0, 0usize);
    for (index, event) in events.iter().enumerate() {
        let begins_an_event = index > 0 && event.version != events[index - 1].version;
        if begins_an_event {
            whole = index;
        }
        bytes = bytes.saturating_add(event.body.len());
        if whole > 0 && (index >= count_max || bytes > bytes_max) {
            return whole;
        }
    }
    events.len()
}

pub(super) fn event_param<'a>(event: &FoldEvent<'a>) -> wit::Event<'a> {
    wit::Event {
        type_: event.name.as_str(),
        schema_version: event.schema_version,
        version: event.version.0,
        recorded_at: event.recorded_at.0,
        body: body_param(event.body),
    }
}

fn snapshot_param(snapshot: &Snapshot) -> SnapshotParam<'_> {
    SnapshotParam {
        state_schema_version: snapshot.state_schema_version,
        body: body_param(&snapshot.body),
    }
}

fn body_param(body: &Body) -> BodyParam<'_> {
    match body.as_json() {
        Some(text) => BodyParam::Json(text),
        None => BodyParam::Binary(body.bytes()),
    }
}
