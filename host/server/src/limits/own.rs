//! Limits that one tenant has of its own.

use std::sync::{Arc, PoisonError, RwLock};

use super::Limits;

/// Limits of one tenant. What is missing is as for all tenants; 0 means no limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Requests of all callers of the tenant in a second, and as many at once.
    pub requests_per_second: Option<u32>,
    /// Bytes of the bodies that all callers of the tenant send in a second.
    pub bytes_per_second: Option<u64>,
    /// Subscriptions and other long answers that all callers of the tenant have open.
    pub subscriptions: Option<u32>,
}

impl TenantLimits {
    /// The limits in the tenant: its own, and for the others those of all tenants.
    fn over(self, limits: Limits) -> Limits {
        let Self {
            requests_per_second,
            bytes_per_second,
            subscriptions,
        } = self;
        Limits {
            tenant_requests_per_second: requests_per_second
                .unwrap_or(limits.tenant_requests_per_second),
            tenant_bytes_per_second: bytes_per_second.unwrap_or(limits.tenant_bytes_per_second),
            tenant_subscriptions: subscriptions.unwrap_or(limits.tenant_subscriptions),
            ..limits
        }
    }
}

/// The limits that a tenant has of its own. Cheap to clone; all clones have the same limits, also after
/// these were replaced. They outlive the time in which the tenant is open.
#[derive(Debug, Default, Clone)]
pub struct TenantLimiter(Arc<RwLock<Own>>);

#[derive(Debug, Default, Clone, Copy)]
struct Own {
    limits: TenantLimits,
    /// How often they were replaced.
    changes: u64,
}

impl TenantLimiter {
    /// Changes the limits, also while the tenant is open.
    pub fn replace(&self, limits: TenantLimits) {
        let mut own = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if own.limits != limits {
            *own = Own {
                limits,
                changes: own.changes + 1,
            };
        }
    }

    /// The limits in the tenant, and how often its own were replaced.
    pub(super) fn over(&self, limits: Limits) -> (Limits, u64) {
        let own = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        (own.limits.over(limits), own.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Key, Limiter, TenantUse};
    use super::*;

    /// The limit of requests that a tenant reaches; none without one.
    fn reached(tenant: &Limiter) -> Option<u64> {
        let take = |_| tenant.take_request(&Key::Name("ann".into()), None).err();
        (0..1_000).find_map(take).map(|excess| excess.value)
    }

    #[test]
    fn two_tenants_have_limits_of_their_own_and_a_third_those_of_all() {
        let main = Limiter::new(Limits {
            tenant_requests_per_second: 3,
            tenant_bytes_per_second: 7,
            ..Limits::default()
        });
        let uses = [(); 3].map(|()| TenantUse::default());
        let [acme, beta, other] = uses.each_ref().map(|used| main.of_tenant(used));
        let own = |requests_per_second| TenantLimits {
            requests_per_second: Some(requests_per_second),
            ..TenantLimits::default()
        };
        uses[0].own.replace(own(1));
        uses[1].own.replace(own(0));
        assert_eq!(
            [&acme, &beta, &other].map(reached),
            [Some(1), None, Some(3)]
        );
        // What a tenant does not have of its own follows the limits of all.
        assert_eq!(acme.limits().tenant_bytes_per_second, 7);
        main.replace(Limits {
            tenant_bytes_per_second: 8,
            ..Limits::default()
        });
        assert_eq!(acme.limits().tenant_bytes_per_second, 8);
        assert_eq!([&acme, &beta, &other].map(reached), [Some(1), None, None]);
        assert_eq!(reached(&main), None);
    }

    #[test]
    fn other_limits_of_a_tenant_end_its_waits_and_the_same_ones_do_not() {
        let (main, used) = (Limiter::new(Limits::default()), TenantUse::default());
        let slow = TenantLimits {
            bytes_per_second: Some(1),
            ..TenantLimits::default()
        };
        used.own.replace(slow);
        let tenant = main.of_tenant(&used);
        let take = |limiter: &Limiter, bytes| {
            let taken = limiter.take_bytes(&Key::Name("ann".into()), bytes);
            taken.map_err(|excess| (excess.name, excess.value))
        };
        let refused = Err(("tenant_bytes_per_second", 1));
        assert_eq!(take(&tenant, 5_000), Ok(()));
        assert_eq!(take(&tenant, 1), refused);
        // A tenant that is closed and opened reads the same limits a second time.
        used.own.replace(slow);
        let tenant = main.of_tenant(&used);
        assert_eq!(take(&tenant, 1), refused);
        used.own.replace(TenantLimits {
            bytes_per_second: Some(2),
            ..TenantLimits::default()
        });
        assert_eq!(take(&tenant, 1), Ok(()));
    }
}
