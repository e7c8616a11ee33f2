//! Wrong behaviour of guests, and that it affects only the guest. Limits are tested in pairs: the
//! same guest obeys one limit and exceeds another.
#![allow(clippy::unwrap_used)]

mod calls;
mod loading;
mod manifests;
mod projections;

use std::sync::Arc;
use std::time::Duration;

use quipu::model::{
    Annotations, Body, Command, CommandId, CommandRecord, Context, Name, Timestamp, Version,
};
use quipu::runtime::{
    Aggregate, Decision, Failure, Fault, FaultKind, FoldEvent, Instance, Limits, Module, Options,
    Outcome, Runtime,
};
use quipu_tests::guest;

/// A runtime with these limits and no cache.
pub fn runtime(limits: Limits) -> Runtime {
    Runtime::new(Options {
        limits,
        ..Options::default()
    })
    .unwrap()
}

/// Enough for every valid guest here, and soon used up by the others.
pub fn tight() -> Limits {
    Limits {
        fuel_per_call: 20_000_000,
        deadline: Duration::from_secs(60),
        memory_bytes_max: 4 << 20,
        ..Limits::default()
    }
}

/// Loads a guest's file.
pub fn load(name: &str, limits: Limits) -> Arc<Module> {
    runtime(limits).load(&guest::component(name)).unwrap()
}

/// A fresh instance with an aggregate in it.
pub fn open(module: &Arc<Module>) -> (Instance, Aggregate) {
    let mut instance = Instance::new(module).unwrap();
    let aggregate = instance.open("1", None).unwrap();
    (instance, aggregate)
}

/// The command `go`.
pub fn go() -> CommandRecord {
    let command = Command::new("go", "{}").unwrap();
    CommandRecord {
        id: CommandId::new("c-1").unwrap(),
        name: command.name,
        schema_version: 1,
        body: command.body,
        metadata: None,
        context: Context::default(),
        accepted_at: Timestamp(1),
        seed: [1, 2, 3, 4],
    }
}

/// Decides `go`.
pub fn decide(instance: &mut Instance, aggregate: &Aggregate) -> Result<Decision, Failure> {
    instance.decide(aggregate, &go(), &Annotations::new())
}

/// Folds some events `went`.
pub fn apply(instance: &mut Instance, aggregate: &Aggregate, count: usize) -> Result<u64, Failure> {
    let (name, body) = (Name::new("went").unwrap(), Body::empty());
    let events: Vec<_> = (1..=count as u64)
        .map(|version| FoldEvent {
            name: &name,
            schema_version: 1,
            version: Version(version),
            recorded_at: Timestamp(version),
            body: &body,
        })
        .collect();
    instance.apply(aggregate, &events)
}

/// The fault that ended a call.
pub fn fault<T: std::fmt::Debug>(answer: Result<T, Failure>) -> Fault {
    match answer {
        Err(Failure::Fault(fault)) => fault,
        other => panic!("expected a fault, found {other:?}"),
    }
}

/// Decides in a fresh instance and expects a fault of a kind with these words in its text. Then
/// checks that another instance, of a valid guest, works.
pub fn check_fault(name: &str, limits: Limits, kind: FaultKind, words: &str, is_spent: bool) {
    let runtime = runtime(limits);
    let module = runtime.load(&guest::component(name)).unwrap();
    let (mut instance, aggregate) = open(&module);
    let found = fault(decide(&mut instance, &aggregate));
    assert_eq!(
        (found.kind, instance.is_spent()),
        (kind, is_spent),
        "{name}: {found}"
    );
    assert!(found.text.contains(words), "{name}: {}", found.text);
    assert_eq!(
        (&*found.component, found.digest),
        ("probe", module.digest())
    );
    let again = decide(&mut instance, &aggregate);
    assert!(again.is_err(), "{name}: {again:?}");
    instance.close(aggregate);
    check_obedient(&runtime);
}

/// A valid guest, from opening to closing.
pub fn check_obedient(runtime: &Runtime) {
    let module = runtime.load(&guest::component("skeleton")).unwrap();
    let (mut instance, aggregate) = open(&module);
    assert!(apply(&mut instance, &aggregate, 3).unwrap() > 0);
    let decision = decide(&mut instance, &aggregate).unwrap();
    let Outcome::Events(events) = decision.outcome else {
        panic!("expected events, found {:?}", decision.outcome);
    };
    assert_eq!((events.len(), events[0].name.as_str()), (1, "went"));
    assert_eq!(
        instance.view(&aggregate).unwrap().as_deref(),
        Some("{\"count\":3}")
    );
    instance.close(aggregate);
    assert!(!instance.is_spent());
}
