use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::bindings::{decider, manifest, projection, upcaster};
use super::code_cache::{Cache, compiled_by};
use super::compiler::NO_PROCESS;
use super::fault::bounded;
use super::interfaces::Surface;
use super::sandbox::{Sandbox, State};
use super::ticker::{Calls, Ticker};
use super::{
    Compiler, Definition, Error, Export, Functions, Limits, Manifest, Module, Options, Refused,
    Step, Usage, diagnostics, projections, steps,
};
use quipu_model::Digest;

/// The compiler and sandbox, shared by all modules of a process.
///
/// Clones share the same runtime. It has one thread, which measures deadlines and ends with the
/// last clone, module and instance.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    engine: Engine,
    linker: Linker<State>,
    limits: Limits,
    cache: Option<Cache>,
    functions: Option<Functions>,
    compiler: Option<Compiler>,
    loaded: Mutex<HashMap<Digest, Weak<Module>>>,
    /// Locked during compilation, so that only one component is compiled at a time. Contains the
    /// components rejected last, so that the same bytes are not compiled a second time.
    compiling: Mutex<VecDeque<(Digest, Refused)>>,
    ticker: Ticker,
}

/// Stack size of the compiling thread. Deeply nested code needs a lot.
const COMPILER_STACK_BYTES: usize = 16 << 20;
/// Highest number of rejected components that are remembered.
const REFUSED_MAX: usize = 16;
/// Longest part of the compiler's report that is returned.
const REPORT_BYTES_MAX: usize = 4 << 10;

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// When the machine or the options don't allow it.
    pub fn new(options: Options) -> Result<Self, Error> {
        let Options {
            limits,
            cache_dir,
            functions,
            compiler,
        } = options;
        let broken = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let mut configuration = configuration(&limits);
        if let Some(functions) = &functions {
            let done = configuration.enable_incremental_compilation(functions.store());
            done.map_err(broken)?;
        }
        let engine = Engine::new(&configuration).map_err(broken)?;
        let mut linker = Linker::new(&engine);
        diagnostics::link(&mut linker).map_err(broken)?;
        let cache = match cache_dir {
            None => None,
            Some(path) => match Cache::open(&path, &engine) {
                Ok(cache) => Some(cache),
                Err(error) => return Err(Error::Cache { path, error }),
            },
        };
        Ok(Self(Arc::new(Shared {
            ticker: Ticker::start(&engine).map_err(Error::Ticker)?,
            engine,
            linker,
            limits,
            cache,
            functions,
            compiler,
            loaded: Mutex::default(),
            compiling: Mutex::default(),
        })))
    }

    /// Checks and compiles a component: its imports and exports, then its manifest, under the
    /// limits of a call. Bytes that are already loaded return the same module.
    ///
    /// Blocks, for seconds when a large component is compiled for the first time.
    ///
    /// # Errors
    /// The first reason why the component is rejected.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Module>, Refused> {
        self.check_bytes(bytes)?;
        let digest = Digest::of(bytes);
        if let Some(module) = self.loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(module);
        }
        let begun = Instant::now();
        if let Some(component) = self.load_cached(digest) {
            return self.loaded_of(digest, bytes, &component, begun);
        }
        let mut refused = self
            .0
            .compiling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Another thread may have compiled it in the meantime.
        if let Some(module) = self.loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(module);
        }
        if let Some((_, why)) = refused.iter().find(|(known, _)| *known == digest) {
            return Err(why.clone());
        }
        // Without the time in which others were compiled.
        let begun = Instant::now();
        let component = self.compiled(bytes).inspect_err(|why| {
            if !why.to_string().contains(NO_PROCESS) {
                refused.truncate(REFUSED_MAX - 1);
                refused.push_front((digest, why.clone()));
            }
        })?;
        let module = self.loaded_of(digest, bytes, &component, begun)?;
        // Only now, because rejected components are not stored.
        if let Some(cache) = &self.0.cache {
            cache.keep(digest, &component);
        }
        Ok(module)
    }

    fn loaded_of(
        &self,
        digest: Digest,
        bytes: &[u8],
        component: &Component,
        begun: Instant,
    ) -> Result<Arc<Module>, Refused> {
        let mut module = self.module(digest, bytes.len(), component)?;
        module.usage = Usage::new(begun.elapsed());
        let module = Arc::new(module);
        let mut loaded = self.loaded();
        loaded.retain(|_, module| module.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }

    /// Asks a component to describe itself several times in one instance. Returns whether the
    /// descriptions are all the same.
    ///
    /// # Errors
    /// When a description would be rejected.
    pub fn describes_alike(&self, module: &Module, times: usize) -> Result<bool, Refused> {
        let (before, digest) = (&module.before, module.digest);
        let mut sandbox = Sandbox::new(before, self.calls(), &self.0.limits, "?".into())
            .map_err(|broken| broken.of("?", digest))?;
        let known = check_types(before, &mut sandbox, &module.exports).map_err(wrong_type)?;
        for _ in 0..times {
            let (manifest, steps, projections) =
                described(before, &mut sandbox, &known, &module.exports, digest)?;
            let is_same = manifest == module.manifest
                && steps == module.steps
                && projections == module.projections;
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Limits of every call.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The calls of guests that run now.
    pub(super) fn calls(&self) -> &Arc<Calls> {
        self.0.ticker.calls()
    }

    fn check_bytes(&self, bytes: &[u8]) -> Result<(), Refused> {
        let (found, max) = (bytes.len(), self.0.limits.component_bytes_max);
        if found > max {
            return Err(Refused::TooLarge { found, max });
        }
        let reason = match bytes.get(..8) {
            Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => return Ok(()),
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
                "a core module; the last step of the build, which makes a component of it, is missing"
            }
            Some([0, b'a', b's', b'm', ..]) => "WebAssembly of an unknown version",
            _ => "not WebAssembly",
        };
        Err(Refused::NotAComponent(reason.to_owned()))
    }

    /// Returns a component that was compiled before.
    fn load_cached(&self, digest: Digest) -> Option<Component> {
        let cache = self.0.cache.as_ref()?;
        cache.load(&self.0.engine, digest)
    }

    fn compiled(&self, bytes: &[u8]) -> Result<Component, Refused> {
        let engine = &self.0.engine;
        let Some(compiler) = &self.0.compiler else {
            if let Some(functions) = &self.0.functions {
                functions.begin();
            }
            return compile(engine, bytes);
        };
        let compiled = compiler.compile(&self.0.limits, bytes);
        let component = compiled.and_then(|bytes| compiled_by(engine, &bytes));
        component.map_err(|why| Refused::DoesNotCompile(bounded(&why, REPORT_BYTES_MAX).to_owned()))
    }

    fn module(
        &self,
        digest: Digest,
        size: usize,
        component: &Component,
    ) -> Result<Module, Refused> {
        let Surface {
            imports,
            exports,
            others,
        } = Surface::of(&self.0.engine, component)?;
        let before = self
            .0
            .linker
            .instantiate_pre(component)
            .map_err(wrong_type)?;
        let mut sandbox = Sandbox::new(&before, self.calls(), &self.0.limits, "?".into())
            .map_err(|broken| broken.of("?", digest))?;
        let known = check_types(&before, &mut sandbox, &exports).map_err(wrong_type)?;
        let (manifest, steps, projections) =
            described(&before, &mut sandbox, &known, &exports, digest)?;
        Ok(Module {
            runtime: self.clone(),
            before,
            decider: known.decider,
            upcaster: known.upcaster,
            steps,
            projection: known.projection,
            projections,
            digest,
            size,
            manifest,
            exports,
            imports,
            other_exports: others,
            usage: Usage::default(),
        })
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Module>>> {
        // No code that could panic runs while the lock is held.
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// Configures the engine. Each setting makes a guest's result a function of its input, or limits
/// it.
pub(super) fn configuration(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .max_wasm_stack(limits.stack_bytes_max)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// Compiles on a separate thread, because the compiler has panicked on unusual input.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, Refused> {
    let compiled = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("quipu-compile".to_owned())
            .stack_size(COMPILER_STACK_BYTES)
            .spawn_scoped(scope, || Component::from_binary(engine, bytes))
            .map(std::thread::ScopedJoinHandle::join)
    });
    let report = match compiled {
        Ok(Ok(Ok(component))) => return Ok(component),
        Ok(Ok(Err(error))) => format!("{error:#}"),
        Ok(Err(_)) => "the compiler panicked".to_owned(),
        Err(error) => format!("no thread for the compiler: {error}"),
    };
    Err(Refused::DoesNotCompile(
        bounded(&report, REPORT_BYTES_MAX).to_owned(),
    ))
}

/// What a component says of itself: its manifest, steps and projections, checked.
fn described(
    before: &InstancePre<State>,
    sandbox: &mut Sandbox,
    known: &Indices,
    exports: &[Export],
    digest: Digest,
) -> Result<(Manifest, Vec<Step>, Vec<Definition>), Refused> {
    let instance = sandbox.instance;
    let guest = manifest::GuestIndices::new(before)
        .and_then(|guest| guest.load(sandbox.store(), &instance))
        .map_err(wrong_type)?;
    let (info, _) = sandbox
        .call(|store| guest.call_describe(store))
        .map_err(|broken| broken.of("?", digest))?;
    let manifest = Manifest::read(info, exports)?;
    let steps = match &known.upcaster {
        None => Vec::new(),
        Some(indices) => {
            let guest = indices
                .load(sandbox.store(), &instance)
                .map_err(wrong_type)?;
            let (answer, _) = sandbox
                .call(|store| guest.call_steps(store))
                .map_err(|broken| broken.of(&manifest.name, digest))?;
            steps::read(answer, &manifest)?
        }
    };
    let projections = match &known.projection {
        None => Vec::new(),
        Some(indices) => {
            let guest = indices
                .load(sandbox.store(), &instance)
                .map_err(wrong_type)?;
            let (answer, _) = sandbox
                .call(|store| guest.call_define(store))
                .map_err(|broken| broken.of(&manifest.name, digest))?;
            projections::read(answer)?
        }
    };
    Ok((manifest, steps, projections))
}

/// Interfaces of a component that the host calls directly.
#[derive(Default)]
struct Indices {
    decider: Option<decider::GuestIndices>,
    upcaster: Option<upcaster::GuestIndices>,
    projection: Option<projection::GuestIndices>,
}

/// Compares the type of every function known to the host with the component's. This needs an
/// instance, so it happens after one was created.
fn check_types(
    before: &InstancePre<State>,
    sandbox: &mut Sandbox,
    exports: &[Export],
) -> wasmtime::Result<Indices> {
    let instance = sandbox.instance;
    let mut known = Indices::default();
    for export in exports {
        match export {
            Export::Decider => {
                let indices = decider::GuestIndices::new(before)?;
                indices.load(sandbox.store(), &instance)?;
                known.decider = Some(indices);
            }
            Export::Projection => {
                let indices = projection::GuestIndices::new(before)?;
                indices.load(sandbox.store(), &instance)?;
                known.projection = Some(indices);
            }
            Export::Upcaster => {
                let indices = upcaster::GuestIndices::new(before)?;
                indices.load(sandbox.store(), &instance)?;
                known.upcaster = Some(indices);
            }
        }
    }
    Ok(known)
}

#[allow(clippy::needless_pass_by_value)] // handed to `map_err`
fn wrong_type(error: wasmtime::Error) -> Refused {
    Refused::WrongType(bounded(&format!("{error:#}"), REPORT_BYTES_MAX).to_owned())
}
