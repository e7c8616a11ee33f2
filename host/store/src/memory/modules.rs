//! Components and the history of the plan.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{Log, Shared};
use crate::{Deployment, ModuleStore, Result, SIGNATURES_MAX, StoredCommit, StoredModule};
use quipu_model::{Digest, PublicKey, Signature, Timestamp};

/// A component.
pub struct Kept {
    pub module: StoredModule,
    bytes: Vec<u8>,
    /// In the order of their keys.
    signatures: Vec<Signature>,
}

impl Log {
    fn module(&mut self, digest: Digest) -> Option<&mut Kept> {
        let mut modules = self.modules.iter_mut();
        modules.find(|kept| kept.module.digest == digest)
    }

    /// Whether an activation or an event needs it.
    fn needs(&self, digest: Digest) -> bool {
        let decided = |commit: &StoredCommit| {
            commit
                .decided
                .is_some_and(|decided| decided.module == digest)
        };
        self.deployments.iter().any(|it| it.activates(digest))
            || self
                .events
                .iter()
                .any(|event| event.stored.commit.as_ref().is_some_and(decided))
    }
}

impl ModuleStore for Shared {
    fn put<'a>(
        &'a self,
        digest: Digest,
        bytes: &'a [u8],
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let is_new = log.module(digest).is_none();
        if !is_new
            && !log.needs(digest)
            && let Some(kept) = log.module(digest)
        {
            kept.module.uploaded_at = at;
        }
        if is_new {
            log.modules.push(Kept {
                module: StoredModule {
                    digest,
                    bytes: bytes.len() as u64,
                    uploaded_at: at,
                },
                bytes: bytes.to_vec(),
                signatures: Vec::new(),
            });
        }
        ready(Ok(is_new)).boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        let mut log = self.lock();
        let bytes = log.module(digest).map(|kept| kept.bytes.clone());
        ready(Ok(bytes)).boxed()
    }

    fn sign(&self, digest: Digest, signature: Signature) -> BoxFuture<'_, Result<()>> {
        if let Some(kept) = self.lock().module(digest) {
            kept.signatures.retain(|other| other.key != signature.key);
            if kept.signatures.len() < SIGNATURES_MAX {
                kept.signatures.push(signature);
                kept.signatures.sort_by_key(|signature| signature.key);
            }
        }
        ready(Ok(())).boxed()
    }

    fn unsign(&self, digest: Digest, key: PublicKey) -> BoxFuture<'_, Result<()>> {
        if let Some(kept) = self.lock().module(digest) {
            kept.signatures.retain(|signature| signature.key != key);
        }
        ready(Ok(())).boxed()
    }

    fn signatures(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<Signature>>> {
        let mut log = self.lock();
        let signatures = log.module(digest).map(|kept| kept.signatures.clone());
        ready(Ok(signatures.unwrap_or_default())).boxed()
    }

    fn prune(&self, before: Timestamp, for_real: bool) -> BoxFuture<'_, Result<Vec<StoredModule>>> {
        let mut log = self.lock();
        let old = log.modules.iter().map(|kept| kept.module.clone());
        let mut pruned: Vec<StoredModule> = old.filter(|it| it.uploaded_at <= before).collect();
        pruned.retain(|module| !log.needs(module.digest));
        if for_real {
            log.modules.retain(|kept| !pruned.contains(&kept.module));
        }
        ready(Ok(pruned)).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<StoredModule>>> {
        let log = self.lock();
        let modules = log.modules.iter().map(|kept| kept.module.clone());
        ready(Ok(modules.collect())).boxed()
    }

    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>>> {
        ready(Ok(self.lock().deployments.clone())).boxed()
    }
}
