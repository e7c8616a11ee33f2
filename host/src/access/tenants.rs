//! Tenants: which other stores a host serves.

use std::collections::HashMap;
use std::sync::Arc;

use super::cached::Cached;
use super::error::Error;
use crate::model::{Clock, Invalid, Timestamp};
use crate::store::{self, StoredTenant, TENANTS_MAX, TenantStore};
use rand::RngCore;

/// Longest name of a tenant.
pub const TENANT_BYTES_MAX: usize = 40;

/// Random bytes that distinguish the stores of tenants with the same name.
const DATA_BYTES: usize = 4;

/// The tenants that a store lists.
pub struct Tenants {
    store: Arc<dyn TenantStore>,
    clock: Arc<dyn Clock>,
    known: Cached<TenantMap>,
}

/// All tenants by name, as they were read from the store.
type TenantMap = HashMap<Box<str>, Arc<StoredTenant>>;

impl Tenants {
    /// The tenants that a store lists.
    pub fn new(store: Arc<dyn TenantStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            known: Cached::default(),
        }
    }

    /// Checks a tenant's name: 1 to 40 lower-case letters, digits and hyphens. It begins with a
    /// letter and does not end with a hyphen.
    ///
    /// # Errors
    /// When it is not well-formed.
    pub fn check_name(name: &str) -> Result<(), Invalid> {
        let is_well_formed = (1..=TENANT_BYTES_MAX).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match is_well_formed {
            true => Ok(()),
            false => Err(Invalid(format!(
                "a tenant's name has 1 to {TENANT_BYTES_MAX} of a-z, 0-9 and -, begins with a \
                 letter and does not end with -"
            ))),
        }
    }

    /// A new tenant, which is not listed yet, with the name of a store that no tenant had before.
    ///
    /// # Errors
    /// When the name is not well-formed.
    pub fn prepare(&self, name: &str, by: Option<&str>) -> Result<StoredTenant, Invalid> {
        Self::check_name(name)?;
        let mut random = [0; DATA_BYTES];
        rand::rng().fill_bytes(&mut random);
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(StoredTenant {
            name: name.into(),
            data: format!("{name}-{random}").into(),
            created_at: self.clock.now(),
            created_by: by.map(Into::into),
            suspended_at: None,
        })
    }

    /// Lists a tenant, whose store exists by now.
    ///
    /// # Errors
    /// When there is a tenant of this name, there are 10,000 tenants, or the store fails.
    pub async fn add(&self, tenant: &StoredTenant) -> Result<(), Error> {
        let added = self.store.add(tenant).await;
        self.known.forget();
        match added? {
            true => Ok(()),
            false => Err(Error::TenantNotAdded(format!(
                "there is a tenant {:?} already, or there are {TENANTS_MAX} tenants",
                tenant.name
            ))),
        }
    }

    /// Suspends a tenant. Every host refuses its callers within 5 s. A tenant that is suspended
    /// already stays as it is.
    ///
    /// # Errors
    /// When there is no such tenant, or the store fails.
    pub async fn suspend(&self, name: &str) -> Result<StoredTenant, Error> {
        self.set_suspended(name, Some(self.clock.now())).await
    }

    /// Resumes a tenant. A tenant that is not suspended stays as it is.
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend).
    pub async fn resume(&self, name: &str) -> Result<StoredTenant, Error> {
        self.set_suspended(name, None).await
    }

    async fn set_suspended(
        &self,
        name: &str,
        at: Option<Timestamp>,
    ) -> Result<StoredTenant, Error> {
        // No tenant has a name that is not well-formed, and a database may not even take it.
        if Self::check_name(name).is_err() {
            return Err(Error::TenantNotFound(name.to_owned()));
        }
        let changed = self.store.suspend(name, at).await;
        self.known.forget();
        let found = match changed? {
            true => self.find(name).await?,
            false => None,
        };
        let found = found.ok_or_else(|| Error::TenantNotFound(name.to_owned()))?;
        Ok(StoredTenant::clone(&found))
    }

    /// Removes a tenant from the list, for good. Its store stays as it is. Returns the tenant.
    ///
    /// # Errors
    /// When there is no such tenant, or the store fails.
    pub async fn remove(&self, name: &str) -> Result<StoredTenant, Error> {
        let not_found = || Error::TenantNotFound(name.to_owned());
        let tenants = self.store.tenants().await?;
        let found = tenants.into_iter().find(|tenant| &*tenant.name == name);
        let found = found.ok_or_else(not_found)?;
        let removed = self.store.remove(name).await;
        self.known.forget();
        match removed? {
            true => Ok(found),
            false => Err(not_found()),
        }
    }

    /// Returns all tenants, in the order of their names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> store::Result<Vec<StoredTenant>> {
        self.store.tenants().await
    }

    /// Returns a tenant, as it was at most 4 s ago; changes through this host count at once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, name: &str) -> store::Result<Option<Arc<StoredTenant>>> {
        Ok(self.known.get(|_| self.read()).await?.get(name).cloned())
    }

    async fn read(&self) -> store::Result<TenantMap> {
        let tenants = self.store.tenants().await?.into_iter();
        let by_name = tenants.map(|tenant| (tenant.name.clone(), Arc::new(tenant)));
        Ok(by_name.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_short_and_can_be_part_of_a_file_name() {
        let longest = "a".repeat(TENANT_BYTES_MAX);
        for good in ["a", "acme", "a-1", "shop--2", &longest] {
            assert!(Tenants::check_name(good).is_ok(), "{good}");
        }
        let longer = format!("{longest}a");
        for bad in [
            "", "-a", "a-", "1a", "A", "a_b", "a.b", "../a", "a/b", "a b", "é", "a\n", &longer,
        ] {
            assert!(Tenants::check_name(bad).is_err(), "{bad}");
        }
    }
}
