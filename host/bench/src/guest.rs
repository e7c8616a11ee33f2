//! The cost of a component: a warm command in the guest, next to the same Rust code run natively, and
//! to the same rules in other languages.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use super::machine;
use quipu::model::{
    Annotations, Body, Command, CommandId, CommandRecord, Context, Timestamp, Version,
};
use quipu::runtime::{FoldEvent, Instance, Options, Outcome, Runtime};

/// Processor time of one warm command: deciding it and folding its event.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// In the guest, in microseconds.
    pub guest_us: f64,
    /// The same Rust code, including JSON, run natively.
    pub native_us: f64,
    /// Events folded per second in the guest, in lists of 200.
    pub folded_per_second: f64,
    /// The components, that of `--component` first.
    pub components: Vec<Component>,
}

/// What a component costs.
#[derive(Debug, Clone, Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The size of the file.
    pub bytes: usize,
    /// Time in which it is compiled, from nothing.
    pub compile_ms: f64,
    /// Memory of an instance with one aggregate.
    pub instance_bytes: usize,
    /// Processor time of one warm command, in microseconds.
    pub command_us: f64,
    /// Events folded per second, in lists of 200.
    pub folded_per_second: f64,
}

const ROUND: Duration = Duration::from_millis(700);

/// Measures a component and those to compare it with.
pub fn measure(component: &[u8], others: &[PathBuf]) -> Result<Cost> {
    let mut components = vec![of(component)?];
    for file in others {
        let other = of(&super::read(file)?);
        components.push(other.with_context(|| file.display().to_string())?);
    }
    Ok(Cost {
        guest_us: components[0].command_us,
        native_us: native()?,
        folded_per_second: components[0].folded_per_second,
        components,
    })
}

/// Measures three rounds of each and returns the lowest, because disturbances only add time.
fn of(component: &[u8]) -> Result<Component> {
    let runtime = Runtime::new(Options::default())?;
    let begun = Instant::now();
    let module = runtime.load(component)?;
    let compile_ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut instance = Instance::new(&module)?;
    let aggregate = instance.open("1", None)?;
    let submit = record("submit", r#"{"amount":20000}"#)?;
    let schedule = record("schedule-work", &super::host::work())?;
    let annotations = Annotations::new();
    let mut version = 0;
    let mut command = |command: &CommandRecord| -> Result<()> {
        let decision = instance.decide(&aggregate, command, &annotations)?;
        let Outcome::Events(events) = decision.outcome else {
            return Err(anyhow!("{} was not accepted", command.name));
        };
        version += 1;
        let event = FoldEvent::decided(&events[0], Version(version), Timestamp(version));
        instance.apply(&aggregate, &[event])?;
        Ok(())
    };
    command(&submit)?;
    let guest_us = least(|| command(&schedule))?;
    let body = Body::json(super::host::work())?;
    let name = quipu::model::Name::new("work-scheduled")?;
    let events: Vec<FoldEvent<'_>> = (0..200)
        .map(|number| FoldEvent {
            name: &name,
            schema_version: 1,
            version: Version(number + 1),
            recorded_at: Timestamp(1),
            body: &body,
        })
        .collect();
    let list_us = least(|| Ok(_ = instance.apply(&aggregate, &events)?))?;
    Ok(Component {
        name: module.manifest().name.clone(),
        bytes: component.len(),
        compile_ms,
        instance_bytes: instance.memory_bytes(),
        command_us: guest_us,
        folded_per_second: 200.0 * 1e6 / list_us,
    })
}

fn native() -> Result<f64> {
    use quipu_guest::Context;
    use quipu_guest::driver::Driver;

    let failed = |error: &dyn std::fmt::Debug| anyhow!("the native decider failed: {error:?}");
    let mut driver = Driver::<loan::Loan>::open("1", None).map_err(|error| failed(&error))?;
    let mut command = |name: &str, body: &str| -> Result<()> {
        let events = driver
            .decide(name, 1, body, Context::default())
            .map_err(|error| failed(&error))?;
        for event in &events {
            driver
                .apply(event.event_type, event.schema_version, &event.body)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    };
    command("submit", r#"{"amount":20000}"#)?;
    let work = super::host::work();
    least(|| command("schedule-work", &work))
}

/// Processor time of a call in microseconds.
fn least(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let (begin, cpu, mut calls) = (Instant::now(), machine::cpu(), 0u32);
        while begin.elapsed() < ROUND {
            for _ in 0..100 {
                call()?;
            }
            calls += 100;
        }
        let used = (machine::cpu() - cpu).min(begin.elapsed());
        least = least.min(used.as_secs_f64() * 1e6 / f64::from(calls));
    }
    Ok(least)
}

fn record(name: &str, body: &str) -> Result<CommandRecord> {
    let command = Command::new(name, body.to_owned())?;
    Ok(CommandRecord {
        id: CommandId::new("c")?,
        name: command.name,
        schema_version: 1,
        body: command.body,
        metadata: None,
        context: Context::default(),
        accepted_at: Timestamp(1),
        seed: [1, 2, 3, 4],
    })
}
