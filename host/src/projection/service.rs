use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inline::Inline;
use super::owner::Runner;
use super::page_cache::Pages;
use super::queries::CHANGED_PAGES_MAX;
use super::rules::Guests;
use super::shared::{Options, Shared};
use super::{Error, reconcile};
use crate::deploy::Registry;
use crate::meters::Meters;
use crate::model::{Clock, Lifecycle};
use crate::store::{BuildId, DocumentStore, EventReader, ProjectionPlan, TypeStore};
use crate::supervise::Supervisor;

/// How long an activation waits until its projections are inline.
const SETTLED_IN: Duration = Duration::from_secs(5);

/// Runs the projections of a store, and answers reads of them. The projections stop when the
/// service is dropped.
pub struct Service {
    pub(super) shared: Arc<Shared>,
}

impl Service {
    /// Starts to run the deployed projections. Must be called within a tokio runtime.
    pub fn start(
        options: Options,
        (reader, documents, types): (
            Arc<dyn EventReader>,
            Arc<dyn DocumentStore>,
            Arc<dyn TypeStore>,
        ),
        grown: watch::Receiver<u64>,
        registry: &Arc<Registry>,
        inline: &Arc<Inline>,
        (clock, meters): (Arc<dyn Clock>, Arc<Meters>),
        supervisor: &Supervisor,
    ) -> Self {
        let guests = Arc::new(Guests::new(registry.lifter()));
        inline.begin(
            registry.reading(),
            Arc::clone(&guests),
            Arc::clone(&documents),
        );
        let folding_max = options.folding_max.clamp(1, Semaphore::MAX_PERMITS);
        let (running, limit) = (TaskTracker::new(), options.page_events);
        let pages = Pages::new(Arc::clone(&reader), grown.clone(), running.clone(), limit);
        let shared = Arc::new(Shared {
            options,
            reader,
            pages,
            documents,
            types,
            registry: Arc::clone(registry),
            guests,
            inline: Arc::clone(inline),
            log_throttle: std::sync::Mutex::default(),
            history: tokio::sync::Mutex::new((0, [].into())),
            clock,
            meters,
            grown,
            progress: watch::Sender::new(0),
            control: watch::Sender::new(0),
            folding: Semaphore::new(folding_max),
            changed_pages: Arc::new(Semaphore::new(CHANGED_PAGES_MAX)),
            ending: CancellationToken::new(),
            running,
            runtime: Handle::current(),
            supervisor: supervisor.clone(),
        });
        let state = Arc::clone(&shared);
        let begin = move || keep_going(Arc::clone(&state));
        let keeping = supervisor.restarting("keeper of projections", begin);
        shared.running.spawn_on(keeping, &shared.runtime);
        Self { shared }
    }

    /// Waits a moment until the projections that should be inline are inline.
    pub async fn settled(&self, projections: &ProjectionPlan) {
        let wanted = projections.settings.iter();
        let wanted: Vec<_> = wanted
            .filter(|(_, settings)| settings.lifecycle == Lifecycle::Inline)
            .collect();
        let is_settled = || {
            let plan = self.shared.registry.plan();
            wanted
                .iter()
                .all(|(name, _)| plan.inline_projection(name).is_some())
        };
        let mut raised = self.shared.registry.raised();
        // The status shows the result either way.
        _ = timeout(SETTLED_IN, raised.wait_for(|_| is_settled())).await;
    }

    /// Stops all projections, and releases the builds that this host owns.
    pub async fn close(&self) {
        self.shared.ending.cancel();
        self.shared.notify();
        self.shared.running.close();
        self.shared.running.wait().await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.ending.cancel();
        self.shared.notify();
    }
}

/// Starts and stops builds as plans and commands require, until the host shuts down.
async fn keep_going(shared: Arc<Shared>) {
    let mut raised = shared.registry.raised();
    let mut control = shared.control.subscribe();
    // Dropped if this task panics: its builds then stop too, and the restarted task starts them
    // from scratch.
    let mut running = Running::default();
    while !shared.ending.is_cancelled() {
        raised.borrow_and_update();
        control.borrow_and_update();
        match reconcile::reconcile(&shared).await {
            Ok(wanted) => run(&shared, &mut running.0, wanted),
            Err(Error::Stopped) => break,
            Err(error) => {
                if let Some(left_out) = shared.may_say("check", &error.to_string()) {
                    let why = "could not check the projections; retrying";
                    tracing::warn!(%error, left_out, "{why}");
                }
            }
        }
        // A dropped build may be large, and no new one waits for it.
        let begun = Instant::now();
        let is_due = || {
            raised.has_changed().unwrap_or(true)
                || control.has_changed().unwrap_or(true)
                || begun.elapsed() >= shared.options.poll
        };
        let has_more = reconcile::sweep(&shared, is_due).await;
        let has_more = has_more.unwrap_or_else(|error| {
            if let Some(left_out) = shared.may_say("sweep", &error.to_string()) {
                tracing::warn!(%error, left_out, "could not remove a dropped build; retrying");
            }
            true
        });
        let has_projections = shared.registry.plan().projections().next().is_some();
        let is_idle = running.0.is_empty() && !has_projections && !has_more;
        let pause = async {
            match is_idle {
                true => std::future::pending().await,
                false => sleep(shared.options.poll).await,
            }
        };
        tokio::select! {
            changed = raised.changed() => if changed.is_err() { break },
            _ = control.changed() => {}
            () = pause => {}
            () = shared.ending.cancelled() => {}
        }
    }
}

/// The builds that run. They stop when this is dropped.
#[derive(Default)]
struct Running(HashMap<BuildId, CancellationToken>);

impl Drop for Running {
    fn drop(&mut self) {
        for stop in self.0.values() {
            stop.cancel();
        }
    }
}

/// Starts the wanted builds, and stops all others.
fn run(
    shared: &Arc<Shared>,
    running: &mut HashMap<BuildId, CancellationToken>,
    wanted: Vec<reconcile::Wanted>,
) {
    running.retain(|build, stop| {
        let stays = wanted.iter().any(|it| it.build.id == *build) && !stop.is_cancelled();
        if !stays {
            stop.cancel();
        }
        stays
    });
    for wanted in wanted {
        let id = wanted.build.id;
        running.entry(id).or_insert_with(|| {
            let stop = shared.ending.child_token();
            let part = format!("projection {}, build {}", wanted.name, wanted.build.id.0);
            let (state, name, stopping) = (Arc::clone(shared), wanted.name, stop.clone());
            let begin = move || {
                let runner = Runner {
                    shared: Arc::clone(&state),
                    name: name.as_str().into(),
                    build: wanted.build.clone(),
                    stop: stopping.clone(),
                };
                runner.run()
            };
            let (running, stopping) = (shared.supervisor.restarting(part, begin), stop.clone());
            let running = async move {
                running.await;
                stopping.cancel();
            };
            shared.running.spawn_on(running, &shared.runtime);
            stop
        });
    }
}
