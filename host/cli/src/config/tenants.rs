//! The settings of tenants: a share of those of the main store.

use super::Config;
use super::sections::TenantSettings;
use quipu::access::TENANT_BYTES_MAX;
use quipu::store::StoreUrl;
use quipu::{engine, projection, subscribe};

impl Config {
    /// Where tenants are, and how many may be open.
    pub fn tenants(&self) -> TenantSettings {
        let mut settings = TenantSettings::default();
        super::Section::apply(&self.tenants, &mut settings);
        settings
    }

    /// The configuration of a tenant's host: a share of every bound that all tenants together could
    /// exceed. Without a share of its own it has the one of all tenants.
    pub fn of_tenant(
        &self,
        own_share: Option<usize>,
    ) -> (engine::Options, subscribe::Options, projection::Options) {
        let share = own_share.unwrap_or(self.tenants().share);
        let of = |bound: usize| (bound / share.max(1)).max(1);
        let mut engine = self.engine();
        engine.workers = of(engine.workers);
        engine.in_flight_max = of(engine.in_flight_max);
        engine.warm_aggregates_max = of(engine.warm_aggregates_max);
        engine.warm_bytes_max = of(engine.warm_bytes_max);
        let mut subscriptions = self.subscriptions();
        subscriptions.subscriptions_max = of(subscriptions.subscriptions_max);
        subscriptions.ring_events_max = of(subscriptions.ring_events_max);
        subscriptions.ring_bytes_max = of(subscriptions.ring_bytes_max);
        subscriptions.catch_up_bytes_max = of(subscriptions.catch_up_bytes_max);
        let mut projections = self.projections();
        projections.cache_bytes = of(projections.cache_bytes);
        projections.folding_max = of(projections.folding_max);
        projections.threads = of(projections.threads);
        projections.verify_bytes = of(projections.verify_bytes);
        (engine, subscriptions, projections)
    }

    /// Rejects a place in which no tenant can have a store.
    pub(super) fn check_tenants(&self) -> Result<(), String> {
        let place = self.tenants().place;
        if place.is_empty() {
            return Ok(());
        }
        let store = self.general().store.reveal().parse::<StoreUrl>();
        let longest = "a".repeat(TENANT_BYTES_MAX + "-12345678".len());
        // A wrong address of the store is reported elsewhere.
        match store.map(|store| store.of_tenant(&place, &longest)) {
            Ok(Err(error)) => Err(format!("tenants.place is {place:?}: {error}")),
            _ => Ok(()),
        }
    }
}
