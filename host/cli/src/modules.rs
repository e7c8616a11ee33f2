//! `--modules DIR`: components that a host starts with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::access::LocalDeed;
use super::signing;
use quipu::access::LOCAL_OPERATOR;
use quipu::model::Digest;
use quipu::proof::Preflight;
use quipu::runtime::Module;
use quipu::{Demand, Deploy, DeployError, Host, Upload, deploy};
use quipu_api::Problem;

/// Uploads every component of a folder and activates those whose name never had an active module;
/// with `force` also those that differ from the active module.
pub async fn bring(host: &Host, dir: &Path, force: bool) -> Result<()> {
    for file in components(dir)? {
        add(host, &file, force).await.with_context(|| {
            let (path, dir) = (file.display(), dir.display());
            format!(
                "{path}: the host does not start with this file; replace it by a component that \
                 `quipu inspect` accepts, or move it out of {dir}"
            )
        })?;
    }
    Ok(())
}

/// Uploads a component, and activates it under the same conditions.
async fn add(host: &Host, file: &Path, force: bool) -> Result<()> {
    let path = file.display();
    let bytes = std::fs::read(file)?;
    if host.plan().serves(Digest::of(&bytes)) {
        // The file unchanged, even if keys were configured since.
        return Ok(());
    }
    let module = upload(host, file, bytes).await?;
    let name = &module.manifest().name;
    let digest = module.digest();
    match host.plan().active(name) {
        Some(active) if active == digest => {}
        Some(active) if !force => {
            tracing::warn!(
                "{name}: {active} stays active, {path} is {digest}; \
                 `quipu deploy {path}` or --modules-force activates it"
            );
        }
        active => {
            // With force, objections are shown and do not stop the activation.
            let demand = match active {
                Some(_) => Demand::Report,
                None => Demand::Usual,
            };
            let deploy = Deploy::new(digest).preflight(demand).by(LOCAL_OPERATOR);
            let prepared = host.prepare(deploy, &mut |_| {}).await?;
            for text in prepared
                .preflight()
                .into_iter()
                .flat_map(Preflight::blocking)
            {
                tracing::warn!("{name}: {text}");
            }
            let object = format!("{name} {digest}");
            let deed = LocalDeed::begin(host.audit().clone(), "activate", &object, None).await?;
            match prepared.activate().await {
                Ok(deployment) => {
                    deed.done().await?;
                    let plan = deployment.plan;
                    tracing::info!("{name}: {digest} is active by plan {plan}");
                }
                Err(DeployError::Blocked(_)) => {
                    deed.withdraw().await?;
                    tracing::warn!(
                        "{name}: {path} was not activated; `quipu deploy {path}` shows \
                         examples, and --allow lets kinds of objections pass"
                    );
                }
                Err(error) => {
                    let may_be_done = match &error {
                        DeployError::Activation(error) => may_be_done(error),
                        _ => false,
                    };
                    deed.failed(may_be_done).await;
                    return Err(error.into());
                }
            }
        }
    }
    Ok(())
}

/// Uploads a component with its signature, and records that if the store did not have both.
async fn upload(host: &Host, file: &Path, bytes: Vec<u8>) -> Result<Arc<Module>> {
    let digest = Digest::of(&bytes);
    let signature = signing::read_signature(file)?;
    let is_signature_new = match &signature {
        Some(new) => {
            let known = host.signatures(digest).await?;
            !known.iter().any(|known| known.key == new.key)
        }
        None => false,
    };
    let object = format!("{digest} from {}", file.display());
    let deed = LocalDeed::begin(host.audit().clone(), "upload", &object, None).await?;
    match host.upload(Upload::new(bytes).signed(signature)).await {
        Ok(uploaded) => {
            match uploaded.is_new || is_signature_new {
                true => deed.done().await?,
                false => deed.withdraw().await?,
            }
            Ok(uploaded.module)
        }
        Err(error) => {
            deed.failed(may_be_done(&error)).await;
            Err(error.into())
        }
    }
}

/// Whether something may have been done although it failed: the store did not answer.
fn may_be_done(error: &deploy::Error) -> bool {
    Box::<Problem>::from(error).is_passing()
}

/// In the order of their names, so that every start does the same.
fn components(dir: &Path) -> Result<Vec<PathBuf>> {
    let shown = dir.display();
    let entries = std::fs::read_dir(dir).with_context(|| format!("{shown}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("{shown}"))?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
