use std::fmt;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::process::{Resource, getrlimit};

use crate::{Rules, TenantLimiter};
use quipu::Host;
use quipu::store::StoreUrl;

/// Opens a host on the store of a tenant, and reads the rules of the tenant. It gets the address of the
/// store, the tenant's name, and where to set limits that the tenant has of its own.
pub type Opener = Arc<
    dyn Fn(StoreUrl, String, TenantLimiter) -> BoxFuture<'static, anyhow::Result<OpenedTenant>>
        + Send
        + Sync,
>;

/// What a tenant is served with.
pub struct OpenedTenant {
    /// The host on its store.
    pub host: Host,
    /// Its rules.
    pub rules: Arc<Rules>,
    /// Its share of the host's budgets, if that is not the one of all tenants: see
    /// [`TenantOptions::share`].
    pub share: Option<usize>,
}

/// Files that one open tenant on SQLite uses at most.
const FILES: u64 = 24;

/// How tenants are served.
#[derive(Clone)]
pub struct TenantOptions {
    /// The address of the main store.
    pub store: StoreUrl,
    /// Where the stores of tenants are: see [`StoreUrl::of_tenant`].
    pub place: String,
    /// Maximum number of tenants whose stores are open. One more closes the one that has been idle
    /// longest; while none is idle, it is refused as `overloaded`.
    pub open_max: usize,
    /// One tenant may use one part of this many of the host's budgets for bodies, answers and
    /// requests in flight, unless it has a share of its own.
    pub share: usize,
    /// Whether a tenant may know callers that have no token of its store.
    pub identities: bool,
    /// Opens a host on a store that exists. The names of a tenant's callers are its own: its rules are
    /// not those of the main store.
    pub open: Opener,
}

impl TenantOptions {
    /// How many of the files that the process may open are for tenants: at most half.
    pub(crate) fn files_max(&self, files: u64) -> u64 {
        match self.store {
            StoreUrl::Postgres(_) => 0,
            _ => (self.open_max as u64).saturating_mul(FILES).min(files / 2),
        }
    }

    /// How many tenants may be open, fewer if the process may not open enough files.
    pub(crate) fn open_max_within_files(&self) -> usize {
        let wanted = self.open_max.max(1);
        let max = match (&self.store, getrlimit(Resource::Nofile).current) {
            (StoreUrl::Postgres(_), _) | (_, None) => wanted,
            (_, Some(files)) => {
                let within = (self.files_max(files) / FILES).max(1);
                wanted.min(usize::try_from(within).unwrap_or(usize::MAX))
            }
        };
        if max < wanted {
            tracing::warn!(
                max,
                wanted,
                "fewer tenants can be open than configured: the process may not open more files"
            );
        }
        max
    }
}

impl fmt::Debug for TenantOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("TenantOptions");
        options.field("place", &self.place);
        options.field("open_max", &self.open_max);
        options.field("share", &self.share);
        options.finish_non_exhaustive()
    }
}

/// Makes the folder of tenants, which only the host may read.
pub(super) fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
