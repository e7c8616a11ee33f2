//! From an uploaded component to its activation. One rule decides whether a preflight comes
//! first and whether it may stop the activation: for programs, `serve --modules`, and HTTP.

use std::time::Duration;

use super::Host;
use crate::deploy::{self, Entry, ProjectionChanges, Release};
use crate::model::Signature;
use crate::proof::{self, Policy, Preflight, Progress, Scope};
use crate::store::Deployment;

/// Whether a preflight comes before an activation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// As [`Require`](Self::Require) where a component takes the place of another one, has
    /// projections, or is retired; otherwise as [`Skip`](Self::Skip).
    #[default]
    Usual,
    /// The release becomes active only if its preflight passes.
    Require,
    /// The release becomes active whatever its preflight finds.
    Report,
    /// No preflight is made.
    Skip,
}

/// A component to store.
///
/// ```no_run
/// use quipu::model::Signature;
/// use quipu::{Host, Upload};
///
/// # async fn example(host: Host, signature: Signature) -> anyhow::Result<()> {
///
/// let component = std::fs::read("account.wasm")?;
/// let uploaded = host.upload(Upload::new(component).signed(signature)).await?;
/// println!("{}", uploaded.module.digest());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Upload {
    pub(super) component: Vec<u8>,
    pub(super) signature: Option<Signature>,
}

impl Upload {
    /// The bytes of a component.
    #[must_use]
    pub fn new(component: Vec<u8>) -> Self {
        Self {
            component,
            signature: None,
        }
    }

    /// A signature of the component's bytes, which is stored with it.
    #[must_use]
    pub fn signed(mut self, signature: impl Into<Option<Signature>>) -> Self {
        self.signature = signature.into();
        self
    }
}

impl From<Vec<u8>> for Upload {
    fn from(component: Vec<u8>) -> Self {
        Self::new(component)
    }
}

/// A release that is to become active.
///
/// ```no_run
/// # async fn example(host: quipu::Host) -> anyhow::Result<()> {
/// use quipu::Deploy;
///
/// let module = host.upload(std::fs::read("account.wasm")?).await?.module;
/// let deployment = host.deploy(Deploy::new(module.digest()).by("ann")).await?;
/// println!("plan {}", deployment.plan);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Deploy {
    release: Release,
    projections: ProjectionChanges,
    demand: Demand,
    policy: Policy,
    time: Option<Duration>,
    by: Option<String>,
    preflight: Option<Preflight>,
}

impl Deploy {
    /// A release of one component, by its digest, or of several.
    #[must_use]
    pub fn new(release: impl Into<Release>) -> Self {
        Self {
            release: release.into(),
            projections: ProjectionChanges::default(),
            demand: Demand::default(),
            policy: Policy::default(),
            time: None,
            by: None,
            preflight: None,
        }
    }

    /// The release that a preflight has checked. Its summary is stored in the history of the
    /// plan. Whether it passed is the caller's decision; the activation fails when another plan
    /// is in force by then.
    #[must_use]
    pub fn checked(preflight: Preflight) -> Self {
        Self {
            demand: Demand::Report,
            preflight: Some(preflight.clone()),
            ..Self::new(preflight.release)
        }
    }

    /// Changes of how projections are maintained; the default changes nothing.
    #[must_use]
    pub fn projections(mut self, changes: ProjectionChanges) -> Self {
        self.projections = changes;
        self
    }

    /// Whether a preflight comes first.
    #[must_use]
    pub fn preflight(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    /// Kinds of objections that do not stop the activation.
    #[must_use]
    pub fn allowing(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The longest time during which the preflight reads events; without it, the whole history
    /// is read.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Who activates it, for the history.
    #[must_use]
    pub fn by(mut self, principal: impl Into<String>) -> Self {
        self.by = Some(principal.into());
        self
    }
}

/// Why a release did not become active.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// Its preflight was required and found objections.
    #[error("nothing was activated: {}", .0.blocking().collect::<Vec<_>>().join("; "))]
    Blocked(Box<Preflight>),
    /// The preflight could not be made.
    #[error(transparent)]
    Preflight(#[from] proof::Error),
    /// The activation failed.
    #[error(transparent)]
    Activation(#[from] deploy::Error),
}

impl DeployError {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Blocked(_) => "preflight-failed",
            Self::Preflight(error) => error.code(),
            Self::Activation(error) => error.code(),
        }
    }
}

/// A release whose preflight, if one was demanded, has been made.
pub struct Prepared<'a> {
    host: &'a Host,
    deploy: Deploy,
    demand: Demand,
}

impl Host {
    /// Deploys a release: a preflight, if one is demanded, then the activation. From one
    /// position on, its components decide everything of their categories.
    ///
    /// # Errors
    /// See [`DeployError`]. The plan is unchanged then.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Deployment, DeployError> {
        self.prepare(deploy, &mut |_| {}).await?.activate().await
    }

    /// Makes the preflight of a release, if one is demanded. Dropping the future ends it.
    ///
    /// # Errors
    /// When the release could not be activated, another preflight or verification is running,
    /// or the store fails.
    pub async fn prepare(
        &self,
        mut deploy: Deploy,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Prepared<'_>, DeployError> {
        let demand = match deploy.demand {
            Demand::Usual => self.usual(&deploy.release).await?,
            demand => demand,
        };
        if demand != Demand::Skip && deploy.preflight.is_none() {
            let scope = Scope {
                time: deploy.time,
                ..Scope::default()
            };
            let given = (&deploy.projections, &deploy.policy);
            let found = self.check_release(&deploy.release, given, &scope, progress);
            deploy.preflight = Some(found.await?);
        }
        Ok(Prepared {
            host: self,
            deploy,
            demand,
        })
    }

    /// Makes a module the active one under its manifest's name, or those of a release under
    /// theirs, without a preflight.
    ///
    /// It is hidden because programs use [`deploy`](Self::deploy) or [`prepare`](Self::prepare),
    /// which decide by one rule whether a preflight comes first. Tests and the benchmark need an
    /// activation without that rule.
    ///
    /// # Errors
    /// When a module is not in the store, the modules contradict each other or what is active,
    /// or the store fails.
    #[doc(hidden)]
    pub async fn activate(
        &self,
        release: impl Into<Release>,
        by: Option<String>,
    ) -> Result<Deployment, deploy::Error> {
        self.enter(
            &release.into(),
            Entry::by(by),
            &ProjectionChanges::default(),
        )
        .await
    }

    async fn usual(&self, release: &Release) -> Result<Demand, deploy::Error> {
        let plan = self.plan();
        for digest in &release.digests {
            let module = self.module(*digest).await?;
            let active = plan.active(module.manifest().name.as_str());
            let replaces = active.is_some_and(|active| active != *digest);
            if replaces || !module.projections().is_empty() {
                return Ok(Demand::Require);
            }
        }
        Ok(match release.retired.is_empty() {
            true => Demand::Skip,
            false => Demand::Require,
        })
    }

    /// A projection that is to become inline is built first; the activation waits for that, 5 s
    /// at most.
    async fn enter(
        &self,
        release: &Release,
        entry: Entry,
        projections: &ProjectionChanges,
    ) -> Result<Deployment, deploy::Error> {
        let registry = &self.tenant.registry;
        let activated = registry.activate(release, entry, projections).await;
        let result = if activated.is_ok() { "done" } else { "failed" };
        self.meters().activations.count(result);
        let deployment = activated?;
        let changed = &deployment.projections;
        self.tenant.projections.settled(changed).await;
        Ok(deployment)
    }
}

impl Prepared<'_> {
    /// Returns the result of the preflight; none when none was demanded.
    pub fn preflight(&self) -> Option<&Preflight> {
        self.deploy.preflight.as_ref()
    }

    /// Activates the release.
    ///
    /// # Errors
    /// See [`DeployError`]. The plan is unchanged then.
    pub async fn activate(self) -> Result<Deployment, DeployError> {
        let Deploy {
            release,
            projections,
            by,
            preflight,
            ..
        } = self.deploy;
        let summary = preflight.as_ref().map(Preflight::summary);
        if let Some(found) = preflight
            && self.demand == Demand::Require
            && !found.passes()
        {
            self.host.meters().activations.count("blocked");
            return Err(DeployError::Blocked(Box::new(found)));
        }
        let entry = Entry {
            by,
            preflight: summary,
        };
        Ok(self.host.enter(&release, entry, &projections).await?)
    }
}
