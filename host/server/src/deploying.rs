//! Which modules a caller may deploy. Requests name them in the body or by what was active before,
//! so each handler checks them by the names in their manifests.

use super::App;
use super::access;
use super::failure::Result;
use quipu::access::{Action, Caller, Object};
use quipu::deploy::Release;
use quipu::model::Digest;
use quipu::store::RELEASE_MAX;

/// Checks whether a caller may deploy a module.
///
/// # Errors
/// `forbidden` when it may not.
pub fn check(app: &App, caller: &Caller, module: &str) -> Result<()> {
    let checked = access::check(app, caller, Action::Deploy, Object::Module(module));
    checked.map_err(|mut failure| {
        failure.0.detail = format!("module {module}: {}", failure.0.detail);
        failure
    })
}

/// Checks whether a caller may deploy a stored module.
///
/// # Errors
/// `forbidden` when it may not, `module-not-found` when there is no such module.
pub async fn check_stored(app: &App, caller: &Caller, digest: Digest) -> Result<()> {
    if is_about_all(app, caller) {
        return access::check(app, caller, Action::Deploy, Object::Store);
    }
    let module = app.host.module(digest).await?;
    check(app, caller, &module.manifest().name)
}

/// Checks whether a caller may deploy everything that a release changes: the modules that become
/// active, those that become inactive, and those that get a projection back.
///
/// # Errors
/// `forbidden` when it may not, `module-not-found` when a module is not in the store.
pub async fn check_release(app: &App, caller: &Caller, release: &Release) -> Result<()> {
    // A release of more is refused whatever it has.
    for digest in release.digests.iter().take(RELEASE_MAX) {
        check_stored(app, caller, *digest).await?;
    }
    for name in release.retired.iter().chain(release.owners.values()) {
        check(app, caller, name)?;
    }
    Ok(())
}

/// Checks whether a caller may deploy the modules whose projections a release takes over.
///
/// # Errors
/// `forbidden` when it may not.
pub fn check_owners(app: &App, caller: &Caller, projections: &[String]) -> Result<()> {
    let plan = app.host.plan();
    for name in projections {
        if let Some(projection) = plan.projection(name) {
            check(app, caller, &projection.module.manifest().name)?;
        }
    }
    Ok(())
}

/// Whether the answer is the same for all modules, so that nobody has to read what a module is named.
fn is_about_all(app: &App, caller: &Caller) -> bool {
    caller.grant().is_none() || app.options.rules.current().policy.is_none()
}
