use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::diagnostics::Diagnostics;
use super::fault::{Broken, FaultKind};
use super::memory::Memory;
use super::ticker::{self, Calls};
use super::{Fuel, Limits};

/// Data that the host stores for an instance.
pub(super) struct State {
    pub memory: Memory,
    pub diagnostics: Diagnostics,
}

/// One store with one instance of a component. Whatever happens in it, nothing else has to be
/// dropped.
pub(super) struct Sandbox {
    store: Store<State>,
    pub instance: Instance,
    calls: Arc<Calls>,
    fuel_per_call: Fuel,
    ticks: u64,
    /// Processor time of the thread when the last call began.
    begun: Duration,
    spent: bool,
}

impl Sandbox {
    /// Creates the instance under the limits of a call. This may run guest code.
    pub(super) fn new(
        before: &InstancePre<State>,
        calls: &Arc<Calls>,
        limits: &Limits,
        component: Arc<str>,
    ) -> Result<Self, Broken> {
        let state = State {
            memory: Memory::new(limits),
            diagnostics: Diagnostics::new(component, limits),
        };
        let mut store = Store::new(before.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.output_bytes_max);
        store.set_max_component_handles(limits.handles_max);
        let ticks = ticker::ticks(limits.deadline);
        let (running, begun) = (calls.begin(), processor_time());
        arm(&mut store, limits.fuel_per_call, ticks).map_err(|error| Broken::by(&error, None))?;
        let instantiated = before.instantiate(&mut store);
        drop(running);
        match instantiated {
            Ok(instance) => Ok(Self {
                store,
                instance,
                calls: Arc::clone(calls),
                fuel_per_call: limits.fuel_per_call,
                ticks,
                begun,
                spent: false,
            }),
            Err(error) => Err(broken(&mut store, limits.fuel_per_call, begun, &error)),
        }
    }

    /// Calls the guest under the limits. An error spends the sandbox: the guest's stack was cut
    /// off, so its state is unreliable, and the engine would refuse further calls.
    pub(super) fn call<R>(
        &mut self,
        call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<(R, Fuel), Broken> {
        if self.spent {
            let text = "the instance was spent by an earlier fault";
            return Err(Broken::new(FaultKind::Trap, text));
        }
        let running = self.calls.begin();
        self.begun = processor_time();
        let outcome = arm(&mut self.store, self.fuel_per_call, self.ticks)
            .and_then(|()| call(&mut self.store));
        drop(running);
        match outcome {
            Ok(answer) => Ok((answer, used(&self.store, self.fuel_per_call))),
            Err(error) => {
                self.spent = true;
                Err(broken(
                    &mut self.store,
                    self.fuel_per_call,
                    self.begun,
                    &error,
                ))
            }
        }
    }

    /// Processor time since the last call began.
    pub(super) fn took(&self) -> Duration {
        processor_time().saturating_sub(self.begun)
    }

    /// The store, for operations that do not run the guest.
    pub(super) fn store(&mut self) -> &mut Store<State> {
        &mut self.store
    }

    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }
}

/// Sets the limits of a call. The deadline of the previous call would trap at once.
fn arm(store: &mut Store<State>, fuel: Fuel, ticks: u64) -> wasmtime::Result<()> {
    store.data_mut().diagnostics.begin_call();
    store.set_epoch_deadline(ticks);
    store.set_fuel(fuel)
}

fn used(store: &Store<State>, given: Fuel) -> Fuel {
    given.saturating_sub(store.get_fuel().unwrap_or(0))
}

fn broken(
    store: &mut Store<State>,
    given: Fuel,
    begun: Duration,
    error: &wasmtime::Error,
) -> Broken {
    let last_error = store.data_mut().diagnostics.take_last_error();
    let mut broken = Broken::by(error, last_error.as_deref());
    broken.fuel = Some(used(store, given));
    broken.took = processor_time().saturating_sub(begun);
    broken
}

/// Processor time that this thread has used. How busy the machine is does not count.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
