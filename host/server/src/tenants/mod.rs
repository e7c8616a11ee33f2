//! Tenants: stores of their own, which the same process serves.
//!
//! Each tenant has a [`Host`] and a router of its own: its own log, modules, projections, tokens and
//! audit. A request names its tenant in `Quipu-Tenant`; [`dispatch`] passes it to the tenant's
//! router, and nothing else of the server connects two of them. Stores are opened at the first
//! request ([`slots`]).

mod dispatch;
pub mod operations;
mod options;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::dispatch::HEADER;
pub(crate) use self::slots::TenantRequest;
use self::slots::{Opened, Served, Slots};
use super::access::Access;
use super::administration::Serves;
use super::budget::{Bodies, Budget};
use super::failure::{Failure, Result};
use super::pending::PendingRequests;
use super::{App, Options, domain, metrics, router};
use quipu::Host;
use quipu::access::{Grant, NewToken, Role, Secret, Tokens};
use quipu::model::SystemClock;
use quipu::store::{self, StoreUrl, StoredTenant};
use quipu_api::Code;

pub(crate) use dispatch::call;
pub use dispatch::in_front;
pub use options::{OpenedTenant, Opener, TenantOptions};

/// Name of a tenant's first token.
const FIRST_TOKEN: &str = "admin";
/// Pause between two checks of the open tenants.
const TEND: Duration = Duration::from_secs(2);
/// Large bodies of one tenant that are executed at the same time.
const LARGE_MAX: usize = 1;

/// Whether a host has tenants, and whether it is one.
#[derive(Clone)]
pub(crate) enum Tenancy {
    /// There are no tenants.
    None,
    /// This is the main store, and there are tenants.
    Main(Arc<Tenants>),
    /// This is a tenant.
    Tenant,
}

impl Tenancy {
    pub fn of(tenants: Option<Arc<Tenants>>) -> Self {
        tenants.map_or(Self::None, Self::Main)
    }

    /// The tenants of a main store.
    pub fn tenants(&self) -> Option<Arc<Tenants>> {
        match self {
            Self::Main(tenants) => Some(Arc::clone(tenants)),
            Self::None | Self::Tenant => None,
        }
    }

    /// Refuses a request for a tenant where there are none. It must not reach the main store.
    pub fn check(&self, headers: &HeaderMap) -> Result<()> {
        match self {
            Self::None if headers.contains_key(&HEADER) => Err(Failure::new(
                Code::Forbidden,
                "this host has no tenants: leave out Quipu-Tenant (--tenant), or set `place` in \
                 [tenants] and restart it",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses what only the main store may do.
    pub fn check_main(&self) -> Result<()> {
        match self {
            Self::Tenant => Err(Failure::new(
                Code::Forbidden,
                "this is done in the main store: leave out Quipu-Tenant (--tenant), with a token of \
                 the main store",
            )),
            _ => Ok(()),
        }
    }
}

/// The tenants of a host.
pub(crate) struct Tenants {
    main: Host,
    options: TenantOptions,
    /// What tenants share with the main store.
    shared: (Options, Bodies, Budget),
    slots: Slots,
    /// The server was asked to shut down.
    ending: CancellationToken,
    /// One tenant is created at a time.
    creating: Mutex<()>,
}

impl Tenants {
    pub fn new(
        main: Host,
        options: TenantOptions,
        shared: (Options, Bodies, Budget),
        ending: CancellationToken,
    ) -> Self {
        let open_max = options.open_max_within_files();
        let requests_max = requests_max(&shared.0, options.share);
        Self {
            main,
            options,
            shared,
            slots: Slots::new(open_max, requests_max),
            ending,
            creating: Mutex::default(),
        }
    }

    /// Whether tenants may know callers that have no token of their stores.
    fn take_identities(&self) -> bool {
        self.options.identities
    }

    /// The address of a tenant's store.
    fn url(&self, tenant: &StoredTenant) -> store::Result<StoreUrl> {
        let TenantOptions { store, place, .. } = &self.options;
        store.of_tenant(place, &tenant.data)
    }

    /// Creates a tenant: first its store with an admin token, then its entry in the list. If the
    /// host dies in between, a store is left that nobody uses.
    async fn create(&self, name: &str, by: Option<&str>) -> Result<(StoredTenant, Secret)> {
        let _one = self.creating.lock().await;
        let registry = self.main.tenants();
        let tenant = registry.prepare(name, by)?;
        if registry.find(name).await?.is_some() {
            let detail = format!("there is a tenant {name:?} already");
            return Err(Failure::new(Code::TenantRefused, detail));
        }
        let url = self.url(&tenant)?;
        let secret = self.make(&url, by).await.map_err(|error| {
            tracing::error!(tenant = name, %url, "the store of a tenant could not be created: {error:#}");
            let detail = "the store of the tenant could not be created; the host's log says why";
            Failure::new(Code::StoreUnavailable, detail)
        })?;
        registry.add(&tenant).await?;
        tracing::info!(tenant = name, %url, "a tenant was created");
        Ok((tenant, secret))
    }

    /// Makes a store with an admin token.
    async fn make(&self, url: &StoreUrl, by: Option<&str>) -> anyhow::Result<Secret> {
        if let StoreUrl::Sqlite(file) = url
            && let Some(folder) = file.parent()
        {
            options::make_folder(folder)?;
        }
        let store = store::open(url).await?;
        let tokens = Tokens::new(store.tokens, Arc::new(SystemClock));
        let new = NewToken {
            name: FIRST_TOKEN.to_owned(),
            grant: Grant::of(Role::Admin),
            expires_at: None,
            by: by.map(str::to_owned),
        };
        let created = tokens.create(new).await;
        store.writer.close().await?;
        Ok(created?.1)
    }

    /// Enters a tenant: opens its store if it is not open. Waits while it is being closed.
    async fn enter(self: &Arc<Self>, tenant: &StoredTenant) -> Result<TenantRequest> {
        let (permit, opened) = self.slots.visit(&tenant.data)?;
        let opened = match opened {
            Some(opened) => opened,
            None => {
                let (this, tenant) = (Arc::clone(self), tenant.clone());
                // In a task of its own, because a client that leaves must not leave half a host.
                let opening = tokio::spawn(async move { this.open(&tenant).await });
                let opened = opening.await;
                opened.unwrap_or_else(|error| Err(Failure::internal(&error)))?
            }
        };
        Ok(TenantRequest::new(opened, permit))
    }

    async fn open(&self, tenant: &StoredTenant) -> Result<Arc<Opened>> {
        let _turn = self.slots.turn(&tenant.data).await;
        if let Some(opened) = self.slots.opened(&tenant.data) {
            return Ok(opened);
        }
        // It may have been suspended or removed since the request came.
        let listed = self.main.tenants().find(&tenant.name).await?;
        let is_listed =
            listed.is_some_and(|it| it.data == tenant.data && it.suspended_at.is_none());
        if !is_listed || self.ending.is_cancelled() {
            let detail = "the tenant is being closed; try again";
            return Err(Failure::new(Code::Overloaded, detail));
        }
        self.slots.check_failed(&tenant.data)?;
        let seat = self.slots.seat().await?;
        match self.build(tenant, seat).await {
            Ok(opened) => {
                tracing::info!(tenant = &*tenant.name, "a tenant was opened");
                Ok(self.slots.set_open(&tenant.data, opened))
            }
            Err(error) => Err(self.failed(tenant, &error)),
        }
    }

    fn failed(&self, tenant: &StoredTenant, error: &anyhow::Error) -> Failure {
        tracing::error!(
            tenant = &*tenant.name,
            "a tenant could not be opened: {error:#}"
        );
        self.slots.set_failed(&tenant.data);
        slots::unavailable()
    }

    /// Refuses to go on if a store is missing. Opening it would make an empty one.
    async fn existing(&self, tenant: &StoredTenant) -> anyhow::Result<StoreUrl> {
        let url = self.url(tenant)?;
        match store::is_there(&url).await? {
            true => Ok(url),
            false => anyhow::bail!(
                "there is no store at {url}: restore it, or set `place` in [tenants] as it was"
            ),
        }
    }

    async fn build(&self, tenant: &StoredTenant, seat: slots::Seat) -> anyhow::Result<Opened> {
        let url = self.existing(tenant).await?;
        let used = self.slots.used(&tenant.data);
        let opening = (self.options.open)(url, tenant.name.to_string(), used.own.clone());
        let OpenedTenant { host, rules, share } = opening.await?;
        let (options, bodies, answers) = &self.shared;
        let share = share.unwrap_or(self.options.share);
        let requests_max = requests_max(options, share);
        // A tenant has no configuration to read again, and is never open to everybody.
        let options = Options {
            allow_unauthenticated: false,
            reload: None,
            logs: None,
            tenants: None,
            rules: Arc::clone(&rules),
            limits: Arc::new(options.limits.of_tenant(&used)),
            ..options.clone()
        };
        let (router, description) = router::paths().split_for_parts();
        let access = Access::new(&description, false).map_err(anyhow::Error::msg)?;
        let largest = options.body_bytes_max.max(options.module_bytes_max);
        let ending = self.ending.child_token();
        let pending = PendingRequests::default();
        let app = App {
            access: Arc::new(access),
            host: host.clone(),
            // The address at which a request came in says what it answers.
            serves: Serves::Everything,
            meters: Arc::default(),
            sampler: metrics::Sampler::default(),
            bodies: bodies.share(share, largest),
            answers: answers.share(share, store::PAGE_BYTES_MAX),
            readings: Arc::new(tokio::sync::Semaphore::new(LARGE_MAX)),
            options: Arc::new(options),
            domain: domain::Described::default(),
            tenancy: Tenancy::Tenant,
            draining: CancellationToken::new(),
            ending: ending.clone(),
            pending: pending.clone(),
            newest: Arc::default(),
        };
        let router = router::guarded(router, app);
        let served = Served {
            host,
            pending,
            rules,
            router,
            requests_max,
        };
        Ok(Opened::new(tenant.name.clone(), served, ending, seat))
    }

    /// The tokens of a suspended tenant. Its store is closed, and opened once to read them.
    async fn tokens_of(self: &Arc<Self>, tenant: &StoredTenant) -> Result<Arc<Tokens>> {
        if let Some(tokens) = self.slots.tokens(&tenant.data) {
            return Ok(tokens);
        }
        let (this, tenant) = (Arc::clone(self), tenant.clone());
        let reading = tokio::spawn(async move {
            this.close(&tenant.data).await;
            let _turn = this.slots.turn(&tenant.data).await;
            if let Some(tokens) = this.slots.tokens(&tenant.data) {
                return Ok(tokens);
            }
            this.slots.check_failed(&tenant.data)?;
            match this.read_tokens(&tenant).await {
                Ok(tokens) => Ok(this.slots.set_tokens(&tenant.data, tokens)),
                Err(error) => Err(this.failed(&tenant, &error)),
            }
        });
        let read = reading.await;
        read.unwrap_or_else(|error| Err(Failure::internal(&error)))
    }

    async fn read_tokens(&self, tenant: &StoredTenant) -> anyhow::Result<Tokens> {
        let store = store::open(&self.existing(tenant).await?).await?;
        let tokens = store.tokens.tokens().await;
        store.writer.close().await?;
        Ok(Tokens::fixed(tokens?, Arc::new(SystemClock)))
    }

    /// Closes a tenant's store, if it is open.
    async fn close(&self, data: &str) {
        let turn = self.slots.turn(data).await;
        if let Some(opened) = self.slots.take_open(data) {
            slots::close(opened, turn).await;
        }
    }

    /// Closes tenants that were suspended or removed through another host, and those of which a
    /// part has failed. The next request opens the latter a second time.
    pub async fn tend(&self) {
        let checking = async {
            loop {
                tokio::time::sleep(TEND).await;
                for (data, opened) in self.slots.all_open() {
                    let found = self.main.tenants().find(&opened.name).await;
                    let Ok(listed) = found else { break };
                    let is_served =
                        listed.is_some_and(|it| *it.data == *data && it.suspended_at.is_none());
                    let failed = opened.served.host.failed();
                    if let Some(part) = &failed {
                        tracing::error!(tenant = &*opened.name, part = %part.name, cause = part.cause, "a part of a tenant failed; the tenant is closed and opened again");
                    }
                    drop(opened);
                    if !is_served || failed.is_some() {
                        self.close(&data).await;
                    }
                }
            }
        };
        tokio::select! {
            () = checking => {}
            () = self.ending.cancelled() => {}
        }
    }

    /// Closes all tenants at the end of the program.
    pub async fn close_all(&self) {
        let closing = self.slots.names();
        let closing = closing.iter().map(|data| self.close(data));
        futures::future::join_all(closing).await;
    }
}

/// Most requests in flight of a tenant with a share.
fn requests_max(options: &Options, share: usize) -> usize {
    (options.connections_max / share.max(1)).max(1)
}
