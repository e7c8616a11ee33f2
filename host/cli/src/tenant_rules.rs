//! The rules of tenants: who is known besides the holders of tokens, what a policy says, and whose
//! modules are accepted. Each tenant has a folder with its name.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::config::{AccessFiles, TlsFiles};
use super::exit::WrongUse;
use super::rules;
use super::tls::read_small;
use quipu::deploy::Signing;
use quipu::model::PublicKey;
use quipu_server::{InForce, Rules};

/// The rules of the tenants that are open, and where they come from.
pub struct TenantRules {
    folder: Option<PathBuf>,
    tls: TlsFiles,
    /// The keys of the main store, which also apply in tenants without a file.
    signing: Signing,
    open: Mutex<HashMap<String, Opened>>,
}

/// What is in force in a tenant that is open.
struct Opened {
    rules: Weak<Rules>,
    signing: Signing,
    own_keys: Option<Vec<PublicKey>>,
}

/// What the files of open tenants say now. No tenant is opened before it applies or is dropped.
pub struct Reread<'a> {
    open: MutexGuard<'a, HashMap<String, Opened>>,
    tenants: Vec<RereadTenant>,
}

/// What the files of one tenant say now.
struct RereadTenant {
    name: String,
    rules: Arc<Rules>,
    read: InForce,
    own_keys: Option<Vec<PublicKey>>,
}

impl TenantRules {
    /// Rules in a folder. Without it no tenant has any.
    pub fn new(folder: Option<PathBuf>, tls: TlsFiles, signing: Signing) -> Self {
        Self {
            folder,
            tls,
            signing,
            open: Mutex::default(),
        }
    }

    /// Whether there is a folder.
    pub fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Reads the rules and the keys of a tenant that is being opened, and keeps them up to date.
    ///
    /// # Errors
    /// When a file can't be read, or something in it is wrong.
    pub fn open(&self, tenant: &str) -> Result<(Arc<Rules>, Signing), WrongUse> {
        // Before the files are read: a reload in between would miss this tenant.
        let mut open = self.opened();
        let read = self.read(tenant, &self.tls, None)?;
        let own_keys = self.keys(tenant)?;
        let keys = own_keys.clone();
        let signing = Signing::by(keys.unwrap_or_else(|| self.signing.keys().to_vec()));
        let rules = Arc::new(Rules::new(read));
        let opened = Opened {
            rules: Arc::downgrade(&rules),
            signing: signing.clone(),
            own_keys,
        };
        open.retain(|_, opened| opened.rules.strong_count() > 0);
        open.insert(tenant.to_owned(), opened);
        Ok((rules, signing))
    }

    /// Reads the files of all open tenants a second time. The keys are those of the main store from
    /// now on.
    ///
    /// # Errors
    /// When something is wrong with one of them.
    pub fn read_again(&self, tls: &TlsFiles, keys: &[PublicKey]) -> Result<Reread<'_>, WrongUse> {
        let open = self.opened();
        let mut tenants = Vec::new();
        for (name, opened) in open.iter() {
            let Some(rules) = opened.rules.upgrade() else {
                continue;
            };
            let in_force = rules.current();
            let read = self.read(name, tls, Some(&in_force))?;
            rules::check_replaced(&in_force, &read, &section(name))?;
            let own_keys = self.keys(name)?;
            let accepted = own_keys.as_deref().unwrap_or(keys);
            rules::check_keys_replaced(&opened.signing.keys(), accepted, &section(name))?;
            tenants.push(RereadTenant {
                name: name.clone(),
                rules,
                read,
                own_keys,
            });
        }
        Ok(Reread { open, tenants })
    }

    /// The keys whose modules a tenant accepts; none if it has no file, and those of the host apply.
    ///
    /// # Errors
    /// When the file can't be read, or a key in it is wrong.
    fn keys(&self, tenant: &str) -> Result<Option<Vec<PublicKey>>, WrongUse> {
        let Some(path) = self.existing(tenant, "keys.txt")? else {
            return Ok(None);
        };
        let named = |why: String| WrongUse(format!("{}keys: {why}", section(tenant)));
        let wrong = |why: &str| named(format!("{}: {why}", path.display()));
        let text = String::from_utf8(read_small(&path).map_err(named)?);
        let text = text.map_err(|_| wrong("it is not UTF-8"))?;
        let lines = text.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<PublicKey>, _> = keys.map(str::parse).collect();
        let keys = keys.map_err(|error| wrong(&error.to_string()))?;
        match keys.is_empty() {
            // An empty file must not mean that everything is accepted.
            true => Err(wrong("it has no key; delete it to use those of the host")),
            false => Ok(Some(keys)),
        }
    }

    /// Reads the rules and the keys of every tenant that has a folder.
    ///
    /// # Errors
    /// When the folder can't be read, or something in it is wrong.
    pub fn check_all(&self) -> Result<(), WrongUse> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let wrong =
            |error: io::Error| WrongUse(format!("tenants.rules: {}: {error}", folder.display()));
        for entry in folder.read_dir().map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            if let Some(tenant) = name.to_str()
                && folder.join(tenant).is_dir()
            {
                self.read(tenant, &self.tls, None)?;
                self.keys(tenant)?;
            }
        }
        Ok(())
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(
        &self,
        tenant: &str,
        tls: &TlsFiles,
        before: Option<&InForce>,
    ) -> Result<InForce, WrongUse> {
        let files = AccessFiles {
            identities: self.existing(tenant, "identities.toml")?,
            policy: self.existing(tenant, "policy.cedar")?,
        };
        let section = section(tenant);
        let read = rules::read(&files, &section, before)?;
        rules::check(&read, &section, tls)?;
        Ok(read)
    }

    /// The path of a file of a tenant; none if it does not exist.
    fn existing(&self, tenant: &str, name: &str) -> Result<Option<PathBuf>, WrongUse> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        // A folder that is missing as a whole is a mistake, or is not mounted.
        let path = folder.join(tenant).join(name);
        let found = folder.metadata().and_then(|_| match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(|_| Some(path.clone())),
        });
        found.map_err(|error| {
            let section = section(tenant);
            WrongUse(format!("{section}{}: {error}", path.display()))
        })
    }
}

impl Reread<'_> {
    /// Puts into force what has changed. Returns whether a file of a tenant says something else than
    /// before.
    pub fn apply(self, keys: &[PublicKey]) -> bool {
        let Self { mut open, tenants } = self;
        let mut has_changed = false;
        for tenant in tenants {
            let Some(opened) = open.get_mut(&tenant.name) else {
                continue;
            };
            if !tenant.rules.current().is_same(&tenant.read) {
                tenant.rules.replace(tenant.read);
                has_changed = true;
            }
            has_changed |= opened.own_keys != tenant.own_keys;
            opened.own_keys = tenant.own_keys;
            let accepted = opened.own_keys.as_deref().unwrap_or(keys);
            opened.signing.replace(accepted);
        }
        has_changed
    }
}

/// How errors about the rules of a tenant begin.
fn section(tenant: &str) -> String {
    format!("tenants.rules: {tenant}: ")
}
